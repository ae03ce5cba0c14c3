"""What is known of one machine's QEMU from its launch to its end, and what every step of it has in common.

A :class:`Session` starts nothing in the guest: :mod:`rig.machine.steps` and :mod:`rig.machine.host_actions`
do, and keep here what the next step needs to know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rig.deadline import Deadline
from rig.machine import agent, surroundings
from rig.machine.batch import Batch
from rig.machine.build import Build
from rig.machine.errors import MachineError
from rig.machine.execution import ANSWER, Execution
from rig.machine.files import place
from rig.machine.launch import LOGS, Running, launch
from rig.machine.memory import ByDebugger, Mapped, Saved, mapped
from rig.model.environment import Environment, Node, Region
from rig.program import Ending, Event, MachineOptions, Outcome
from rig.target import GuestMemory


class Session:
    """The QEMU that is a machine at present; a restart or a move replaces it by another."""

    def __init__(self, build: Build, options: MachineOptions, directory: Path, image: Path | None) -> None:
        self.build = build
        self.options = options
        self.directory = directory
        #: the build that the state can be moved to, besides its own
        self.newer: Build | None = None
        self.logs: Mapping[str, Path] = {name: directory / name for name in LOGS}
        #: registers at the agent's entry: r1, r3..r7, msr
        self.boot: Mapping[str, int] = {}
        self.command_line: tuple[str, ...] = ()
        #: PNG files by name: what was kept of the screen since the last start or reset
        self.pictures: dict[str, Path] = {}
        #: RAM by every way there is: ``mapping`` (when there is one), ``pmemsave``, ``gdb``
        self.memories: Mapping[str, GuestMemory] = {}
        self.codec = agent.Codec(options.endian)
        self.running: Running | None = None
        self.execution: Execution | None = None
        self.mapped: Mapped | None = None
        #: memory that was plugged, by its back end's id
        self.plugged: dict[str, Region] = {}
        #: by CPU: registers that only a record holds, as they stood at the last stop
        self.carried: dict[int, dict[str, int]] = {}
        #: the batch during which the machine was suspended
        self.asleep: Batch | None = None
        #: events of the step before
        self.recent: tuple[Event, ...] = ()
        self._image = image
        self._environment: Environment | None = None
        self._last_words = ""

    # ---- life ----------------------------------------------------------------------------------------------

    def launch(self, deadline: Deadline, meanwhile: Callable[[], object] | None = None) -> None:
        """Bring QEMU up, its guest not yet running, and call ``meanwhile`` as it comes."""
        options = place(self.options, self.directory)
        running, self.command_line = launch(
            self.build, options, self.directory, self.image, deadline, meanwhile=meanwhile
        )
        self.running = running
        try:
            self.plugged = {}
            self.adopt(running)
        except BaseException:
            self.close()
            raise

    def adopt(self, running: Running) -> None:
        """Reach memory and guest of a QEMU that was launched."""
        size = self.options.memory << 20
        by_debugger = ByDebugger(running.debugger, size)
        saved = Saved(running.monitor, by_debugger, running.copies, size)
        self.mapped = mapped(running.ram, self.options)
        seen: dict[str, GuestMemory] = {} if self.mapped is None else {"mapping": self.mapped}
        self.memories = {**seen, "pmemsave": saved, "gdb": by_debugger}
        self.execution = Execution(running, self.memory, saved, self.codec, self.options)

    def close(self) -> None:
        """End QEMU and everything that belongs to it.  May be called twice."""
        if self.running is not None:
            running, self.running = self.running, None
            try:
                running.close(politely=self.execution is None or self.execution.responsive)
            finally:
                self._last_words = running.process.last_words()

    @property
    def alive(self) -> bool:
        """Whether the QEMU process runs."""
        return self.running is not None and self.running.process.alive

    def last_words(self) -> str:
        """Exit status or signal, and the end of QEMU's stderr."""
        return self._last_words if self.running is None else self.running.process.last_words()

    # ---- parts ---------------------------------------------------------------------------------------------

    @property
    def image(self) -> Path:
        """The image of the agent; raises :class:`LaunchError` unless it is whole."""
        if self._image is not None:
            agent.check_image(self._image, self.options.endian)
            return self._image
        return agent.client() if self.options.firmware == "vof" else agent.image(self.options.endian)

    @property
    def live(self) -> Execution:
        """The guest; raises :class:`MachineError` when there is none."""
        if self.running is None or self.execution is None:
            raise MachineError("the machine is not running: it was closed or never started")
        return self.execution

    @property
    def memory(self) -> GuestMemory:
        """RAM by the best way there is."""
        if self.running is None:
            raise MachineError("the machine's memory is gone: it was closed or never started")
        return self.memories.get("mapping") or self.memories["pmemsave"]

    @property
    def environment(self) -> Environment:
        """Memory map and device tree as of the last start or reset."""
        if self._environment is None:
            raise MachineError("the machine has no environment: it was never started")
        return self._environment

    @environment.setter
    def environment(self, environment: Environment) -> None:
        self._environment = environment

    def look_around(self) -> Environment:
        """Memory map and device tree as the guest that has just booted finds them."""

        def kept() -> Node:
            return surroundings.kept_tree(self.live.live.monitor, self.directory, Deadline(ANSWER))

        at, version = self.boot["r3"], self.build.version
        return surroundings.look(self.memory, at, self.options, version, self.plugged.values(), kept)

    # ---- every step ----------------------------------------------------------------------------------------

    def left(self, began: tuple[float, float], ending: Ending) -> Outcome:
        """The outcome of a step that ``began`` at :func:`now`, registers excepted."""
        live = self.live
        if ending == "died":
            with suppress(MachineError):  # a build that hangs in its end says no more
                live.live.monitor.ended(Deadline(ANSWER))
        self.recent = live.take_events(ending)
        words = {"died": live.live.process.last_words(), "running": live.late}.get(ending, "")
        return Outcome(
            ending,
            events=self.recent,
            console=b"" if live.live.console is None else live.live.console.drain(),
            last_words=words,
            exit_status=live.live.process.popen.poll() if ending == "died" else None,
            seconds=time.monotonic() - began[1],
            clock=(began[0], time.time()),
        )

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Errors leave with the build that they belong to and its last words."""
        try:
            yield
        except MachineError as error:
            died = self.running is not None and not self.running.process.alive
            error.blame(f"{self.build.path} ({self.build.version_text})", self.last_words() if died else "")
            raise


def now() -> tuple[float, float]:
    """UTC in seconds since the epoch, and the monotonic clock."""
    return time.time(), time.monotonic()
