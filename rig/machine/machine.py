"""The machine: a real QEMU as a :class:`rig.target.Target`.

It moves batches to the agent and turns what comes back into outcomes.  It judges nothing: what may be
different and what must not is the business of model and comparison.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rig.deadline import Deadline
from rig.machine import agent, command_line, surroundings, together, travel
from rig.machine import translation as mmu
from rig.machine.batch import CARRIED, Batch, kind, seconds
from rig.machine.build import Build
from rig.machine.debugger import Debugger
from rig.machine.doorbell import Doorbell
from rig.machine.errors import AgentError, MachineError, Refused
from rig.machine.execution import ANSWER, Execution, matches
from rig.machine.files import place
from rig.machine.interrupt import Interruption
from rig.machine.launch import LOGS, Running, launch
from rig.machine.memory import ByDebugger, Mapped, Saved, mapped
from rig.machine.translation import Translation
from rig.model.environment import Environment, Node, Region
from rig.program import (
    LOAD,
    MOVE,
    RESTART,
    SAVE,
    Arrive,
    Await,
    Call,
    Ending,
    Event,
    Host,
    MachineOptions,
    Outcome,
    Run,
)
from rig.target import GuestMemory

if TYPE_CHECKING:  # imported while QEMU starts
    from rig.machine.console import Console
    from rig.picture import Picture

#: seconds for a call without a limit of its own, and for a reset
PATIENCE = 20.0


class Machine:
    """One QEMU of ``build``; a context manager that starts and closes it.

    ``directory`` receives the logs, ``deadline`` bounds the start, ``image`` replaces the agent's image.  For
    one thread at a time.  Every method raises :class:`MachineError` when rig or build failed to answer.
    """

    def __init__(
        self,
        build: Build,
        options: MachineOptions,
        directory: Path,
        deadline: Deadline | None = None,
        *,
        image: Path | None = None,
    ) -> None:
        self.build = build
        self.options = options
        self.logs: Mapping[str, Path] = {name: directory / name for name in LOGS}
        #: the build that the state can be moved to, besides its own
        self.newer: Build | None = None
        #: PNG files by name: what :meth:`screen` kept since the last start or reset
        self.pictures: dict[str, Path] = {}
        #: registers at the agent's entry: r1, r3..r7, msr
        self.boot: Mapping[str, int] = {}
        self.command_line: tuple[str, ...] = ()
        #: RAM by every way there is: ``mapping`` (when there is one), ``pmemsave``, ``gdb``
        self.memories: Mapping[str, GuestMemory] = {}
        self._directory = directory
        self._start_by = deadline or Deadline(PATIENCE)
        self._image = image
        self._codec = agent.Codec(options.endian)
        self._running: Running | None = None
        self._execution: Execution | None = None
        self._environment: Environment | None = None
        self._mapped: Mapped | None = None
        #: memory that was plugged, by its back end's id
        self._plugged: dict[str, Region] = {}
        #: by CPU: registers that only a record holds, as they stood at the last stop
        self._carried: dict[int, dict[str, int]] = {}
        #: the batch during which the machine was suspended
        self._asleep: Batch | None = None
        #: events of the step before
        self._recent: tuple[Event, ...] = ()
        self._last_words = ""

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
        with self._blamed():
            image = self._image or agent.image(self.options.endian)
            agent.check_image(image, self.options.endian)
            options = place(self.options, self._directory)
            running, self.command_line = launch(self.build, options, self._directory, image, self._start_by)
            self._running = running
            try:
                self._plugged = {}
                self._adopt(running)
                self._arrive(self._start_by)
            except BaseException:
                self.close()
                raise

    def _adopt(self, running: Running) -> None:
        """Reach memory and guest of a QEMU that was launched."""
        size = self.options.memory << 20
        by_debugger = ByDebugger(running.debugger, size)
        saved = Saved(running.monitor, by_debugger, running.copies, size)
        self._mapped = mapped(running.ram, self.options)
        seen: dict[str, GuestMemory] = {} if self._mapped is None else {"mapping": self._mapped}
        self.memories = {**seen, "pmemsave": saved, "gdb": by_debugger}
        self._execution = Execution(running, self.memory, saved, self._codec, self.options)

    def close(self) -> None:
        """End QEMU and everything that belongs to it.  May be called twice."""
        if self._running is not None:
            running, self._running = self._running, None
            try:
                running.close(politely=self._execution is None or self._execution.responsive)
            finally:
                self._last_words = running.process.last_words()

    @property
    def alive(self) -> bool:
        """Whether the QEMU process runs."""
        return self._running is not None and self._running.process.alive

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._live.live.process.pid

    def last_words(self) -> str:
        """Exit status or signal, and the end of QEMU's stderr."""
        return self._last_words if self._running is None else self._running.process.last_words()

    @property
    def pastable(self) -> str:
        """A command line that a person can paste.

        QEMU then waits for gdb on port 1234; monitor and console are on the terminal.
        """
        image = self._image or agent.image(self.options.endian)
        words = command_line.compose(self.build, self.options, image, command_line.BY_HAND)
        return command_line.pastable(words)

    # ---- parts ---------------------------------------------------------------------------------------------

    @property
    def _live(self) -> Execution:
        if self._running is None or self._execution is None:
            raise MachineError("the machine is not running: it was closed or never started")
        return self._execution

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

        with self._blamed():
            picture, file = photograph(self._live.live.monitor, self._directory, name)
        self.pictures[file.name] = file
        return picture

    @property
    def memory(self) -> GuestMemory:
        """RAM by the best way there is."""
        if self._running is None:
            raise MachineError("the machine's memory is gone: it was closed or never started")
        return self.memories.get("mapping") or self.memories["pmemsave"]

    @property
    def environment(self) -> Environment:
        """Memory map and device tree as of the last start or reset."""
        if self._environment is None:
            raise MachineError("the machine has no environment: it was never started")
        return self._environment

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
                with self._blamed():
                    outcomes += self._batch(part, translation, full=full)
                if outcomes[-1].ending != "returned":
                    return outcomes
        return outcomes

    def together(self, parts: Sequence[Call | Run]) -> list[Outcome]:
        """Execute calls and routines of several CPUs at once; one outcome for each part.

        Needs a mapping when there is more than one CPU.  When the ending is not ``returned`` the parts that
        have not ended all have it.
        """
        shares = {cpu: [part for part in parts if part.cpu == cpu] for cpu in {part.cpu for part in parts}}
        translation = self.options.translation
        for share in shares.values():
            if len({kind(part, translation) for part in share}) > 1:
                raise ValueError("at once a CPU has either calls, all in one state, or one routine")
        with self._blamed():
            if len(shares) == 1:
                return self._batch(parts, translation)
            if not isinstance(self.memory, Mapped):
                raise MachineError("several CPUs at once need a mapping of the machine's memory")
            live, began = self._live, _now()
            areas = together.areas(sorted(shares))
            batches = [
                Batch.of(share, self._codec, translation, at=areas[cpu]) for cpu, share in shares.items()
            ]
            ending = together.run(batches, live, self.memory.mapping(), Deadline(seconds(parts, PATIENCE)))
            last = self._left(began, ending)
            found: dict[int, Iterator[Outcome]] = {}
            for batch in batches:
                records = self._records(batch.count, batch.full, batch.at)
                carried = self._carried.setdefault(batch.cpu, {})
                found[batch.cpu] = iter(batch.outcomes(records, last, carried, self._codec))
            return [next(found[part.cpu], last) for part in parts]

    def host(self, action: Host) -> Outcome:
        """Carry out a QMP command.

        ``answer`` is what QEMU sent: ``{"return": …}`` or ``{"error": {"class": …, "desc": …}}``.  After
        ``system_reset`` the agent is run to its stop label again (ending ``reset``); after ``system_wakeup``
        the call that suspended the machine is run to its end, and the outcome has its registers; after
        ``inject-nmi`` it has those with which the interrupt was taken.
        """
        deadline = Deadline(PATIENCE if action.timeout is None else action.timeout)
        if action.command == RESTART:
            return self._restart(deadline)
        if action.command in (SAVE, LOAD, MOVE):
            return self._travel(action, deadline)
        with self._blamed():
            live, began = self._live, _now()
            ending: Ending = "returned"
            answer: object = None
            woken: Outcome | None = None
            live.landed = False  # a command may move the program counter (inject-nmi, system_reset)
            live.copies.forget()
            nmi = Interruption(live, deadline) if action.command == "inject-nmi" else None
            try:
                answer = {"return": live.live.monitor.execute(action.command, action.arguments, deadline)}
                if action.command == "system_reset":
                    live.expect_event("RESET", {}, deadline)
                    ending = self._arrive(deadline)
                elif action.command == "system_wakeup" and self._asleep is not None:
                    ending = live.settle(deadline, self._asleep.cpu)
                    woken = self._finished(self._asleep, ending, began)[-1]
                elif action.command == "system_powerdown":
                    live.expect_event("POWERDOWN", {}, deadline)  # QEMU's main loop sends it after the answer
                elif action.command == "device_add":
                    self.debugger.rearm(deadline)  # it may have been a CPU
                    self._find_plugged(deadline)
                elif action.command == "quit":
                    live.live.process.wait(deadline)
                elif nmi is not None and (ending := nmi.take()) == "reset":
                    ending = self._arrive(deadline)
            except Refused as error:
                answer = {"error": {"class": error.error_class, "desc": error.description}}
            except MachineError:
                if not live.dead():
                    raise
            outcome = woken or self._left(began, ending if self.alive else "died")
            if nmi is not None:
                outcome = replace(outcome, registers=nmi.after, before=nmi.before)
            return replace(outcome, answer=answer)

    def wait(self, event: Await | Arrive) -> Outcome:
        """Wait for an event.  One that came with the step before satisfies it, and is in that outcome only.

        Or let the guest run until a CPU that was started has arrived.

        Raises :class:`Timeout` when it does not come.  The guest stands still meanwhile, and with it QEMU's
        virtual clock.
        """
        with self._blamed():
            if isinstance(event, Arrive):
                return self._join(event.cpu, Deadline(event.timeout))
            began = _now()
            if not any(matches(seen, event.event, event.data) for seen in self._recent):
                self._live.expect_event(event.event, event.data, Deadline(event.timeout))
            return self._left(began, "returned" if self.alive else "died")

    def reset(self) -> None:
        """As after a start: RAM zero but for what QEMU puts there, agent at its stop label.

        QEMU keeps NVRAM, the offset of the clock and plugged devices over a reset, and does not clear GPRs.
        """
        with self._blamed():
            deadline = Deadline(PATIENCE)
            live = self._live
            if not self.alive:
                raise MachineError("QEMU has ended: start another machine")
            if live.live.debugger.running and live.status() != "suspended":
                live.live.debugger.interrupt(Deadline(ANSWER))
            memory = self.memory
            assert isinstance(memory, Mapped | Saved)
            memory.clear()
            live.landed = False
            self.pictures.clear()
            live.take_events("reset")
            live.live.monitor.execute("system_reset", None, deadline)
            live.expect_event("RESET", {}, deadline)
            self._arrive(deadline)
            self._left(_now(), "reset")
            self._recent = ()

    # ---- batches -------------------------------------------------------------------------------------------

    def begin(self, vectors: bytes, count: int, *, full: bool = False) -> None:
        """Let the guest run a batch of ``count`` ready-made vectors and return at once.

        No record is prepared and none is looked at: the fast way, for campaigns.  :meth:`finish` must follow.
        """
        with self._blamed():
            self._live.post(Batch(({},) * count, full, 0), vectors)
            self._live.resume(Deadline(ANSWER))

    def finish(self, count: int, deadline: Deadline, *, full: bool = False) -> tuple[Ending, bytes]:
        """Wait for the batch that :meth:`begin` started: how it ended, and its records."""
        with self._blamed():
            ending = self._live.settle(deadline)
            self._recent = self._live.take_events(ending)
            return ending, self._records(count, full)

    @contextmanager
    def freely(self) -> Iterator[Doorbell]:
        """Let the guest run without breakpoints meanwhile, so that a batch costs no stop.

        Needs a mapping, and no other method may be used until the end.  A machine whose last batch did not
        end is not brought back: it can only be closed.
        """
        with self._blamed():
            memory = self.memory
            if not isinstance(memory, Mapped):
                raise MachineError("only a machine with a mapping of its memory can run freely")
            bell = Doorbell(self._live, memory.mapping())
            bell.release()
            yield bell
            if bell.idle and self.alive:
                bell.recall()
                self._recent = self._live.take_events("returned")

    def _batch(
        self, parts: Sequence[Call | Run], translation: Translation, *, full: bool = True
    ) -> list[Outcome]:
        batch = Batch.of(parts, self._codec, translation, full=full)
        cpu = batch.cpu
        vectors = batch.vectors(self._codec)
        deadline = Deadline(seconds(parts, PATIENCE))
        live, began = self._live, _now()
        try:
            self.memory.write(batch.records_at, batch.unwritten)
            live.post(batch, vectors)
            live.resume(deadline)
            ending = live.settle(deadline, cpu)
        except MachineError:
            if not live.dead():
                raise
            ending = "died"
        if ending == "stopped":
            live.vacate(cpu)
        elif ending == "reset":
            self._arrived(Deadline(ANSWER))
        return self._finished(batch, ending, began)

    def _finished(self, batch: Batch, ending: Ending, began: tuple[float, float]) -> list[Outcome]:
        """The outcomes of a batch, as far as there are records."""
        self._asleep = batch if ending == "suspended" else None
        records = self._records(batch.count, batch.full, batch.at)
        carried = self._carried.setdefault(batch.cpu, {})
        return batch.outcomes(records, self._left(began, ending), carried, self._codec)

    def _records(self, count: int, full: bool, at: int = agent.BATCH) -> bytes:
        if not self.alive and "mapping" not in self.memories:
            return b""
        return self.memory.read(agent.records_at(count, full, at), count * agent.size(full))

    # ---- steps ---------------------------------------------------------------------------------------------

    def _arrive(self, deadline: Deadline) -> Ending:
        """From a start or reset to the agent's stop label."""
        live = self._live
        self._asleep = None
        if live.live.debugger.running:  # a suspended machine was reset behind gdb's back
            live.live.monitor.execute("cont", None, deadline)
        else:
            live.resume(deadline)
        ending = live.settle(deadline)
        if ending != "reset":
            raise AgentError(
                f"the agent did not become ready within {deadline.seconds:g} s (ending: {ending})",
                last_words=self.last_words() if ending == "died" else live.late,
            )
        self._arrived(deadline)
        return ending

    def _arrived(self, deadline: Deadline) -> None:
        """The boot CPU stands ready after a start or reset: read what is new."""
        live = self._live
        self.boot = live.mailbox().boot
        self._carried = {0: self.debugger.registers(CARRIED, deadline)}
        for cpu in range(1, agent.CPUS if live.company else 1):
            live.vacate(cpu)
        self._environment = self._look_around()
        self._translate()

    def _translate(self) -> None:
        """Bring the translation that the options ask for into force."""
        wanted = self.options.translation
        if calls := mmu.prepare(wanted, self.environment, self.memory):
            mmu.check(wanted, [outcome.registers["r3"] for outcome in self._batch(calls, "off")])

    def _restart(self, deadline: Deadline) -> Outcome:
        began = _now()
        self.close()
        self._start_by = deadline
        self.start()
        return replace(self._left(began, "reset"), answer={"return": {}})

    def _travel(self, action: Host, deadline: Deadline) -> Outcome:
        """Keep the state, bring it back, or go on with it in another QEMU."""
        began, live = _now(), self._live
        answer: object = {"return": {}}
        with self._blamed():
            try:
                if action.command == SAVE:
                    travel.save(live, self._directory, deadline)
                elif action.command == LOAD:
                    travel.load(live, deadline)
                    live.copies.forget()
                else:
                    self._move(action.arguments, deadline)
            except Refused as error:
                answer = {"error": {"class": error.error_class, "desc": error.description}}
            travel.drop_events(self._live)
            before = {"msr": self._carried[0]["msr"]}
            after = self.debugger.registers(before, deadline)
            self._carried[0] |= after
            left = self._left(began, "returned")
            return replace(left, answer=answer, before=before, registers=after)

    def _move(self, arguments: Mapping[str, object], deadline: Deadline) -> None:
        """Go on in another QEMU with memory and state of this one, which ends; it goes on when that fails."""
        build = self.newer if arguments.get("to") == "newer" else self.build
        if build is None:
            raise MachineError("the machine was given no other build to move to")
        source, running, memories, sight = self._live, self._running, self.memories, self._mapped
        image = self._image or agent.image(self.options.endian)
        options = place(self.options, self._directory)
        options = replace(options, arguments=(*options.arguments, "-incoming", "defer"))
        folder = self._directory / f"moved-{source.sequence}"
        destination, words = launch(build, options, folder, image, deadline)
        try:
            self._adopt(destination)
            travel.move(source, self._live, str(arguments.get("route", "file")), folder, deadline)
        except BaseException:
            self._execution, self.memories, self._mapped = source, memories, sight
            destination.close(politely=False)
            raise
        self._running, self.build, self.command_line = destination, build, words
        self._environment = replace(self.environment, version=build.version)
        self.logs = {name: folder / name for name in LOGS}
        assert running is not None
        running.close()

    def _join(self, cpu: int, deadline: Deadline) -> Outcome:
        """Let a CPU that was started come to the agent, which tells what it was started with."""
        live, began = self._live, _now()
        try:
            ending = live.arrive(cpu, deadline)
        except MachineError:
            if not live.dead():
                raise
            ending = "died"
        outcome = self._left(began, ending)
        if ending != "returned":
            return outcome
        live.landed = False  # gdb may have selected another CPU
        # QEMU's stub shows special-purpose registers of the boot CPU only.
        self._carried[cpu] = self.debugger.registers(("msr",), deadline, cpu)
        return replace(outcome, registers=live.mailbox(cpu).boot)

    def _look_around(self) -> Environment:
        def kept() -> Node:
            return surroundings.kept_tree(self._live.live.monitor, self._directory, Deadline(ANSWER))

        at, version = self.boot["r3"], self.build.version
        return surroundings.look(self.memory, at, self.options, version, self._plugged.values(), kept)

    def _find_plugged(self, deadline: Deadline) -> None:
        """Look where memory was plugged, and see it from now on."""
        if self._mapped is None or not self.options.dimms:
            return
        live = self._live.live
        for name, region in surroundings.plugged(live.monitor, deadline):
            if name in live.ram and name not in self._plugged:
                self._mapped.attach(live.ram[name], region.start, region.length)
                self._plugged[name] = region
        ram = surroundings.together(self.environment.ram, self._plugged.values())
        self._environment = replace(self.environment, ram=ram)

    def _left(self, began: tuple[float, float], ending: Ending) -> Outcome:
        """The outcome of a step, registers excepted."""
        live = self._live
        if ending == "died":
            with suppress(MachineError):  # a build that hangs in its end says no more
                live.live.monitor.ended(Deadline(ANSWER))
        self._recent = live.take_events(ending)
        words = {"died": live.live.process.last_words(), "running": live.late}.get(ending, "")
        return Outcome(
            ending,
            events=self._recent,
            console=b"" if live.live.console is None else live.live.console.drain(),
            last_words=words,
            exit_status=live.live.process.popen.poll() if ending == "died" else None,
            seconds=time.monotonic() - began[1],
            clock=(began[0], time.time()),
        )

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Errors leave with the build that they belong to and its last words."""
        try:
            yield
        except MachineError as error:
            error.build = error.build or f"{os.fspath(self.build.path)} ({self.build.version_text})"
            if self._running is not None and not self._running.process.alive:
                error.last_words = error.last_words or self.last_words()
            raise


def _now() -> tuple[float, float]:
    """UTC in seconds since the epoch, and the monotonic clock."""
    return time.time(), time.monotonic()
