"""The machine: a real QEMU as a :class:`rig.target.Target`.

It moves batches to the agent and turns what comes back into outcomes.  It judges nothing: what may be
different and what must not is the business of model and comparison.  This is what others see of it;
:mod:`rig.machine.session` keeps what is known of the QEMU, :mod:`rig.machine.steps` has the agent work and
:mod:`rig.machine.host_actions` does what comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rig.deadline import Deadline
from rig.machine import agent, command_line, host_actions, steps
from rig.machine.batch import Batch, Outcomes, kind
from rig.machine.build import Build
from rig.machine.debugger import Debugger
from rig.machine.doorbell import Doorbell
from rig.machine.errors import MachineError
from rig.machine.execution import ANSWER, Execution, matches
from rig.machine.memory import Mapped
from rig.machine.sanitizer import Report
from rig.machine.session import Session, now
from rig.model.environment import Environment
from rig.program import Arrive, Await, Call, Ending, Host, MachineOptions, Outcome, Run
from rig.target import GuestMemory

if TYPE_CHECKING:  # imported while QEMU starts
    from rig.machine.console import Console
    from rig.picture import Picture


class Machine:
    """One QEMU of ``build``; a context manager that starts and closes it.

    ``directory`` receives the logs, ``deadline`` bounds the start, ``image`` replaces the agent's image,
    ``meanwhile`` is called while QEMU comes up.  For one thread at a time.  Every method raises
    :class:`MachineError` when rig or build failed to answer.
    """

    def __init__(
        self,
        build: Build,
        options: MachineOptions,
        directory: Path,
        deadline: Deadline | None = None,
        *,
        image: Path | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        self._meanwhile = meanwhile
        self._session = Session(build, options, directory, image)
        self._start_by = deadline or Deadline(steps.PATIENCE)

    # ---- life ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Machine:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Bring QEMU up and run the agent to its first stop.  Leaves nothing behind when it fails."""
        steps.start(self._session, self._start_by, self._meanwhile)

    def close(self) -> None:
        """End QEMU and everything that belongs to it.  May be called twice."""
        self._session.close()

    @property
    def alive(self) -> bool:
        """Whether the QEMU process runs."""
        return self._session.alive

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._live.live.process.pid

    def last_words(self) -> str:
        """Exit status or signal, and the end of QEMU's stderr."""
        return self._session.last_words()

    def reports(self) -> tuple[Report, ...]:
        """What the sanitizers of the running QEMU have said since the last time."""
        return self._live.live.process.reports()

    @property
    def pastable(self) -> str:
        """A command line that a person can paste.

        QEMU then waits for gdb on port 1234; monitor and console are on the terminal.
        """
        words = command_line.compose(self.build, self.options, self._session.image, command_line.BY_HAND)
        return command_line.pastable(words)

    # ---- parts ---------------------------------------------------------------------------------------------

    @property
    def build(self) -> Build:
        """The build that runs; a move may change it."""
        return self._session.build

    @property
    def options(self) -> MachineOptions:
        """What QEMU is started with, here and where the machine is moved to."""
        return self._session.options

    @property
    def newer(self) -> Build | None:
        """The build that the state can be moved to, besides its own."""
        return self._session.newer

    @newer.setter
    def newer(self, build: Build | None) -> None:
        self._session.newer = build

    @property
    def logs(self) -> Mapping[str, Path]:
        """The files that the running QEMU writes, by name."""
        return self._session.logs

    @property
    def boot(self) -> Mapping[str, int]:
        """Registers at the agent's entry: r1, r3..r7, msr."""
        return self._session.boot

    @property
    def command_line(self) -> tuple[str, ...]:
        """The words with which QEMU was started."""
        return self._session.command_line

    @property
    def _live(self) -> Execution:
        return self._session.live

    @property
    def debugger(self) -> Debugger:
        """gdb, for registers and single steps while the guest stands."""
        return self._live.live.debugger

    @property
    def console(self) -> Console:
        """The live end of the guest's console; raises :class:`MachineError` when it has none."""
        console = self._live.live.console
        if console is None:
            raise MachineError("the machine has no console: its options say console=False")
        return console

    def screen(self, name: str) -> Picture:
        """What is on the screen of a machine with a display device; kept as the picture ``name``."""
        from rig.machine.screen import photograph

        with self._session.blamed():
            picture, file = photograph(self._live.live.monitor, self._session.directory, name)
        self.pictures[file.name] = file
        return picture

    @property
    def pictures(self) -> dict[str, Path]:
        """PNG files by name: what :meth:`screen` kept since the last start or reset."""
        return self._session.pictures

    @property
    def memory(self) -> GuestMemory:
        """RAM by the best way there is."""
        return self._session.memory

    @property
    def memories(self) -> Mapping[str, GuestMemory]:
        """RAM by every way there is: ``mapping`` (when there is one), ``pmemsave``, ``gdb``."""
        return self._session.memories

    @property
    def environment(self) -> Environment:
        """Memory map and device tree as of the last start or reset."""
        return self._session.environment

    # ---- the target ----------------------------------------------------------------------------------------

    def call(self, calls: Sequence[Call], *, full: bool = True) -> list[Outcome]:
        """Execute hypercalls in order; fewer outcomes than calls when one ends otherwise than ``returned``.

        Events and console output of a batch are with its last outcome: which call they belong to cannot be
        seen.  Calls that fit no single batch are split.  ``full`` chooses the kind of record; only a full one
        can set and show registers other than r3..r12.
        """
        outcomes: list[Outcome] = []
        translation = self.options.translation
        for _, run in groupby(calls, key=lambda call: kind(call, translation)):
            while part := list(islice(run, agent.capacity(full))):
                outcomes += self.batch(part, full=full)
                if outcomes[-1].ending != "returned":
                    return outcomes
        return outcomes

    def batch(self, calls: Sequence[Call], *, full: bool = True) -> Outcomes:
        """As :meth:`call`, of hypercalls that fit one batch: an outcome is decoded when it is looked at."""
        with self._session.blamed():
            return steps.execute(self._session, calls, self.options.translation, full=full)

    def together(self, parts: Sequence[Call | Run]) -> list[Outcome]:
        """Execute calls and routines of several CPUs at once; one outcome for each part.

        Needs a mapping when there is more than one CPU.  When the ending is not ``returned`` the parts that
        have not ended all have it.
        """
        with self._session.blamed():
            return steps.at_once(self._session, parts)

    def host(self, action: Host) -> Outcome:
        """Carry out a QMP command.

        ``answer`` is what QEMU sent: ``{"return": …}`` or ``{"error": {"class": …, "desc": …}}``.  After
        ``system_reset`` the agent is run to its stop label again (ending ``reset``); after ``system_wakeup``
        the call that suspended the machine is run to its end, and the outcome has its registers; after
        ``inject-nmi`` it has those with which the interrupt was taken.
        """
        return host_actions.act(self._session, action)

    def wait(self, event: Await | Arrive) -> Outcome:
        """Wait for an event.  One that came with the step before satisfies it, and is in that outcome only.

        Or let the guest run until a CPU that was started has arrived.

        Raises :class:`Timeout` when it does not come.  The guest stands still meanwhile, and with it QEMU's
        virtual clock.
        """
        with self._session.blamed():
            if isinstance(event, Arrive):
                return steps.join(self._session, event.cpu, Deadline(event.timeout))
            began = now()
            if not any(matches(seen, event.event, event.data) for seen in self._session.recent):
                self._live.expect_event(event.event, event.data, Deadline(event.timeout))
            return self._session.left(began, "returned" if self.alive else "died")

    def reset(self) -> None:
        """As after a start: RAM zero but for what QEMU puts there, agent at its stop label.

        QEMU keeps NVRAM, the offset of the clock and plugged devices over a reset, and does not clear GPRs.
        """
        with self._session.blamed():
            host_actions.reset(self._session)

    # ---- batches -------------------------------------------------------------------------------------------

    def begin(self, vectors: bytes, count: int, *, full: bool = False) -> None:
        """Let the guest run a batch of ``count`` ready-made vectors and return at once.

        No record is prepared and none is looked at: the fast way, for campaigns.  :meth:`finish` must follow.
        """
        with self._session.blamed():
            self._live.post(Batch(vectors, count, full, 0))
            self._live.resume(Deadline(ANSWER))

    def finish(self, count: int, deadline: Deadline, *, full: bool = False) -> tuple[Ending, bytes]:
        """Wait for the batch that :meth:`begin` started: how it ended, and its records."""
        with self._session.blamed():
            ending = self._live.settle(deadline)
            self._session.recent = self._live.take_events(ending)
            return ending, steps.records(self._session, count, full)

    @contextmanager
    def freely(self) -> Iterator[Doorbell]:
        """Let the guest run without breakpoints meanwhile, so that a batch costs no stop.

        Needs a mapping, and no other method may be used until the end.  A machine whose last batch did not
        end is not brought back: it can only be closed.
        """
        with self._session.blamed():
            memory = self.memory
            if not isinstance(memory, Mapped):
                raise MachineError("only a machine with a mapping of its memory can run freely")
            bell = Doorbell(self._live, memory.mapping())
            bell.release()
            yield bell
            if bell.idle and self.alive:
                bell.recall()
                self._session.recent = self._live.take_events("returned")
