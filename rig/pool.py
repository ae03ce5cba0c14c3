"""Machines that scenarios share: reset between scenarios, thrown away when in doubt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Union

from rig import scratch
from rig.deadline import Deadline
from rig.machine.build import Build
from rig.machine.errors import MachineError
from rig.machine.machine import Machine
from rig.policy import Policy
from rig.program import MachineOptions

if TYPE_CHECKING:  # few scenarios need it
    from rig.machine.slof import SlofMachine

#: what can be shared: our agent makes the calls, or the build's own firmware does
Caller = Union[Machine, "SlofMachine"]

#: machines that one worker keeps alive
KEPT = 2


class Pool:
    """The machines of one worker, by build and options.  A context manager that leaves none behind.

    ``meanwhile`` is called while a QEMU comes up.
    """

    def __init__(self, isolate: bool = False, meanwhile: Callable[[], object] | None = None) -> None:
        self._meanwhile = meanwhile
        self.isolate = isolate
        self._machines: dict[tuple[str, MachineOptions], tuple[Caller, ExitStack]] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._machines):
            self._close(key)

    def take(self, build: Build, options: MachineOptions, seconds: float) -> Machine:
        """A machine at its agent's stop label with pristine memory; raises :class:`MachineError`."""
        machine = self.caller(build, options, seconds)
        if not isinstance(machine, Machine):
            raise MachineError("this needs the agent as the caller, but the program is for SLOF")
        return machine

    def caller(self, build: Build, options: MachineOptions, seconds: float) -> Caller:
        """A machine that is ready for calls, whoever makes them, with pristine memory.

        SLOF needs longer than ``seconds`` to its prompt and is given it.  Raises :class:`MachineError`.
        """
        machine: Caller
        key = (str(build.path), options)
        if self.isolate or not Policy.of(options).resets:  # nor may one that was not even played on be reset
            self._close(key)
        if key in self._machines:
            machine = self._machines[key][0]
            try:
                machine.reset()
            except MachineError:
                self._close(key)
                raise
            return machine
        while len(self._machines) >= KEPT:
            self._close(next(iter(self._machines)))
        with ExitStack() as undo:
            folder = undo.enter_context(scratch.folder())
            if options.firmware == "slof":
                from rig.machine.slof import BOOT, SlofMachine

                machine = SlofMachine(build, options, folder, Deadline(max(seconds, BOOT)))
            else:
                machine = Machine(build, options, folder, Deadline(seconds), meanwhile=self._meanwhile)
            undo.callback(machine.close)
            machine.start()
            self._machines[key] = (machine, undo.pop_all())
        return machine

    def discard(self, machine: Caller) -> None:
        """Close a machine that must not be used again."""
        for key, (held, _) in list(self._machines.items()):
            if held is machine:
                self._close(key)

    def _close(self, key: tuple[str, MachineOptions]) -> None:
        if key in self._machines:
            self._machines.pop(key)[1].close()
