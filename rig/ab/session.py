"""Many scenarios on two builds: what to skip, which machines to use, and what came of each."""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rig.ab.lockstep import Difference, Lockstep
from rig.ab.opinion import Judges, Opinion
from rig.frozen import frozen
from rig.machine.errors import MachineError
from rig.pool import Pool
from rig.runner import START, unmet
from rig.scenario.errors import BadScenario

if TYPE_CHECKING:
    from rig.machine.build import Build
    from rig.scenario.script import Scenario

#: differences of one scenario that are kept
KEPT = 200


@frozen
class Compared:
    """One scenario on both builds.  ``skipped`` and ``error`` say why there is nothing to compare."""

    scenario: str
    differences: tuple[tuple[Difference, Opinion], ...] = ()
    steps: int = 0
    skipped: str = ""
    error: str = ""

    @property
    def unexplained(self) -> bool:
        """Whether a build is wrong in a way that no known deviation explains."""
        return any(not opinion.known for _, opinion in self.differences)

    @property
    def deviates(self) -> bool:
        """Whether a build is wrong at all."""
        return any(opinion.right != "both" for _, opinion in self.differences)


def run(
    scenarios: Sequence[Scenario],
    builds: tuple[Build, Build],
    jobs: int,
    on_compared: Callable[[Compared], None],
) -> None:
    """Compare every scenario on ``jobs`` pairs of machines; ``on_compared`` is called by one at a time."""
    # scenarios of one machine follow each other, so that pairs are used again
    queue = deque(sorted(scenarios, key=lambda scenario: repr(scenario.machine)))
    lock = threading.Lock()
    stop = threading.Event()

    def work() -> None:
        with Pool() as first, Pool() as second, ThreadPoolExecutor(2) as executor:
            while not stop.is_set():
                with lock:
                    if not queue:
                        return
                    scenario = queue.popleft()
                compared = compare(scenario, builds, (first, second), executor)
                with lock:
                    on_compared(compared)

    with ThreadPoolExecutor(jobs, "rig-ab") as workers:
        running = [workers.submit(work) for _ in range(jobs)]
        try:
            for one in running:
                one.result()
        except BaseException:
            stop.set()
            raise


def compare(
    scenario: Scenario,
    builds: tuple[Build, Build],
    pools: tuple[Pool, Pool],
    executor: ThreadPoolExecutor,
) -> Compared:
    """One scenario; every failure of rig or build becomes an error."""
    for build in builds:
        if reason := unmet(scenario, build):
            return Compared(scenario.name, skipped=reason)
    if scenario.machine.firmware != "agent":
        return Compared(scenario.name, skipped="the firmware of two builds does not work in the same memory")
    try:
        first, second = executor.map(
            lambda pool, build: pool.take(build, scenario.machine, START), pools, builds
        )
        for machine, build in ((first, builds[0]), (second, builds[1])):
            missing = sorted(set(scenario.requires.services) - set(machine.environment.tokens))
            if missing:
                return Compared(scenario.name, skipped=f"{build.path} has no {', '.join(missing)}")
        lockstep = Lockstep(scenario, (first, second), executor)
        found = list(lockstep.play())
        if found or not lockstep.reusable:
            pools[0].discard(first)
            pools[1].discard(second)
        # the machines that the model then judges on are fresh, and those of the next scenario
        judges = Judges(scenario, builds, pools, executor) if found else None
    except (MachineError, BadScenario) as error:
        _discard(pools)
        return Compared(scenario.name, error=str(error))
    except Exception:  # noqa: BLE001 - whatever the rig did wrong must not end the run
        _discard(pools)
        return Compared(scenario.name, error=traceback.format_exc())
    if judges is None:
        return Compared(scenario.name, steps=lockstep.steps)
    kept = found[:KEPT]
    opinions = judges.opinions(kept, lockstep.views)
    return Compared(scenario.name, tuple(zip(kept, opinions, strict=True)), lockstep.steps)


def _discard(pools: tuple[Pool, Pool]) -> None:
    """Machines of which nobody knows where they stand."""
    for pool in pools:
        pool.__exit__(None, None, None)
