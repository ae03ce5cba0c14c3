"""The checks of the scenarios that tell releases apart: each must be able to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from rig.model.environment import Region
from rig.model.memory import Memory
from rig.model.rtas.families import SERVICES
from rig.program import Outcome
from rig.scenario.script import Disagreement, Playing, Scenario

from .test_screens import module

LATE = {"ibm,configure-kernel-dump"}
TOKENS = {name: 0x2000 + number for number, name in enumerate(sorted(SERVICES))}
OLD_TOKENS = {name: token for name, token in TOKENS.items() if name not in LATE}


@dataclass
class Environment:
    """QEMU 7.2 as far as the scenarios look at it."""

    version: tuple[int, ...] = (7, 2, 22)
    tokens: Mapping[str, int] = field(default_factory=lambda: OLD_TOKENS)
    ram: tuple[Region, ...] = (Region(0, 0x2000_0000),)
    fdt: Region = field(default_factory=lambda: Region(0x1FE0_0000, 0x1_0000))


@dataclass
class Stage:
    """A machine whose mailbox can be written, and what it answers."""

    environment: Environment = field(default_factory=Environment)
    memory: Memory = field(default_factory=lambda: Memory((Region(0, 0x1_0000),)))
    cpu: str = "power9_v2.0"

    def play(self, scenario: Scenario) -> None:
        """To the end; whatever is asked of the host has the answer to query-machines."""
        playing: Playing = scenario.play(self)  # type: ignore[arg-type]
        machine = {"alias": "pseries", "default-cpu-type": f"{self.cpu}-powerpc64-cpu"}
        step = next(playing)
        while True:
            answer = Outcome(answer={"return": [{"name": "none"}, machine]})
            try:
                step = playing.send([] if step == () else answer)
            except StopIteration:
                return


@pytest.fixture(scope="module")
def known() -> ModuleType:
    return module("releases/known")


def test_each_release_has_the_services_that_it_is_known_to_have(known: ModuleType) -> None:
    Stage().play(known.services)
    Stage(Environment((11, 1, 3), TOKENS)).play(known.services)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (Environment(tokens={k: v for k, v in OLD_TOKENS.items() if k != "event-scan"}), "no event-scan"),
        (Environment(tokens=TOKENS), "ibm,configure-kernel-dump as well"),
        (Environment((11, 1, 3)), "no ibm,configure-kernel-dump"),
        (Environment(tokens=OLD_TOKENS | {"ibm,new": 0x2100}), "ibm,new as well"),
        (Environment(tokens=OLD_TOKENS | {"event-scan": 0x2000}), "token 0x2000 stands for two"),
    ],
)
def test_other_services_are_noticed(known: ModuleType, environment: Environment, says: str) -> None:
    with pytest.raises(Disagreement, match=says):
        Stage(environment).play(known.services)


@pytest.mark.parametrize(
    ("msr", "order", "enabled"),
    [
        (0x3000, "", ""),
        (0x8000_0000_0000_0000, "releases.entry-64-bit", "releases.entry-disabled"),
        (0, "", "releases.entry-disabled"),
        (0x1000, "", "releases.entry-disabled"),
        (0x2000, "", "releases.entry-disabled"),
        (0x3001, "releases.entry-order", ""),
        (0x3030, "releases.entry-order", ""),
        (0xB000, "releases.entry-order", ""),
        (0x7000, "releases.entry-order", ""),
    ],
)
def test_how_the_boot_cpu_begins(known: ModuleType, msr: int, order: str, enabled: str) -> None:
    stage = Stage()
    stage.memory.write(known.ENTRY_MSR, msr.to_bytes(8, "big"))
    assert raised(lambda: stage.play(known.entry_order)) == order
    assert raised(lambda: stage.play(known.entry_enabled)) == enabled


def raised(does: Callable[[], None]) -> str:
    """The check that a scenario breaks, or nothing."""
    try:
        does()
    except Disagreement as difference:
        return difference.check
    return ""


@pytest.mark.parametrize(
    ("stage", "check"),
    [
        (Stage(), ""),
        (Stage(cpu="power10_v2.0"), "releases.default-cpu"),
        (Stage(Environment((10, 0, 13)), cpu="power10_v2.0"), ""),
        (Stage(Environment((11, 1, 3)), cpu="power10_v2.0"), "releases.default-cpu"),
        (Stage(Environment(fdt=Region(0x1FF0_0000, 0x1_0000))), "releases.tree-place"),
        (Stage(Environment((5, 2, 0), fdt=Region(0x1FF0_0000, 0x1_0000))), ""),
        (Stage(Environment((99, 0, 0)), cpu="power99"), ""),
    ],
)
def test_defaults_of_a_release(known: ModuleType, stage: Stage, check: str) -> None:
    assert raised(lambda: stage.play(known.defaults)) == check


@pytest.mark.parametrize(
    ("status", "joined", "says"),
    [
        (2, 0, ""),
        (0, 0, "is 0, not 2"),
        (1, 0, "is 1, not 2"),
        (2, 0xFFFF_FFFF_FFFF_FFFE, "H_JOIN returned 0xfffffffffffffffe"),
    ],
)
def test_a_cpu_that_waits_is_not_stopped(status: int, joined: int, says: str) -> None:
    waiting = module("releases/waiting")
    joins, asks = Outcome(registers={"r3": joined}), Outcome(registers={"r3": 0, "r25": status})
    waiting.check(Outcome(parts=()))  # the machine went away: nothing was seen
    with pytest.raises(Disagreement, match=says) if says else nullcontext():
        waiting.check(Outcome(parts=(joins, asks)))


def registers() -> dict[str, int]:
    """Another value in each."""
    views = module("agreement/views")
    names = (*views.KEPT, *(f"vs{number}" for number in range(64)))
    return {name: number << 64 | number for number, name in enumerate(names)}


def test_two_views_of_a_register() -> None:
    views, stored = module("agreement/views"), registers()
    views.agree(stored, stored, stored)
    with pytest.raises(Disagreement, match=r"r5: the agent stored .*, gdb shows 0x0"):
        views.agree(stored, stored | {"r5": 0}, views.KEPT)


def test_vector_registers_that_are_shown_one_off() -> None:
    """The upper halves of vs0 to vs31 are floating-point registers, which are not."""
    views, stored = module("agreement/views"), registers()
    low = views.LOW_HALF
    shown = {f"vs{n}": stored[f"vs{n}"] & ~low | stored[f"vs{n + 1}"] & low for n in range(31)}
    shown |= {f"vs{n}": stored[f"vs{n + 1}"] for n in range(32, 63)}
    shown = stored | shown
    assert views.shifted(stored, shown)
    assert not views.shifted(stored, stored)
    assert not views.shifted(stored, shown | {"vs7": 0})
    assert not views.shifted(stored, shown | {"vs40": 0})
