"""A machine that notes what is done to it: every seed, call and action of the host, resolved, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rig.machine.machine import Machine
from rig.machine.sanitizer import Report
from rig.model.environment import Environment
from rig.picture import Picture
from rig.program import Arrive, Await, Call, Host, Outcome, Run, Seed
from rig.scenario.errors import BadScenario
from rig.scenario.script import Registers
from rig.target import Data, GuestMemory

Noted = Seed | Call | Host


class _Noted:
    """Guest memory whose writes are noted."""

    def __init__(self, memory: GuestMemory, log: list[Noted]) -> None:
        self._memory = memory
        self._log = log

    def read(self, address: int, length: int) -> bytes:
        return self._memory.read(address, length)

    def write(self, address: int, data: Data) -> None:
        self._log.append(Seed(address, bytes(data)))
        self._memory.write(address, data)

    def extents(self) -> Iterable[tuple[int, int]]:
        return self._memory.extents()


class Recorder:
    """``machine`` as a judge sees it, with a ``log``; implements :class:`rig.check.judge.Subject`."""

    def __init__(self, machine: Machine) -> None:
        self.log: list[Noted] = []
        self._machine = machine

    @property
    def environment(self) -> Environment:
        return self._machine.environment

    @property
    def memory(self) -> GuestMemory:
        return _Noted(self._machine.memory, self.log)

    @property
    def memories(self) -> Mapping[str, GuestMemory]:
        return self._machine.memories

    @property
    def debugger(self) -> Registers:
        return self._machine.debugger

    def screen(self, name: str) -> Picture:
        """What is on the screen."""
        return self._machine.screen(name)

    def reports(self) -> tuple[Report, ...]:
        """What the sanitizers of the running QEMU have said since the last time."""
        return self._machine.reports()

    def call(self, calls: Sequence[Call]) -> list[Outcome]:
        self.log += calls
        return self._machine.call(calls)

    def together(self, parts: Sequence[Call | Run]) -> list[Outcome]:
        raise BadScenario("what several CPUs do at once, and guest code, cannot be exported")

    def host(self, action: Host) -> Outcome:
        self.log.append(action)
        return self._machine.host(action)

    def wait(self, event: Await | Arrive) -> Outcome:
        raise BadScenario("a step that waits for an event, or for a CPU, cannot be exported")
