"""A machine whose calls are made by SLOF, QEMU's own firmware, from its Forth prompt.

It is a :class:`rig.target.Target` as :class:`rig.machine.machine.Machine` is, but the registers of a call are
not seen, only what it returns.  The guest works in memory of its own (``environment.busy``); all other RAM is
the program's.  It stands still between calls: a prompt that waits would use up a CPU of the host's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rig.deadline import Deadline
from rig.machine import command_line, device_tree
from rig.machine.build import Build
from rig.machine.debugger import Debugger
from rig.machine.errors import MachineError, Refused
from rig.machine.files import place
from rig.machine.launch import LOGS, Running, launch
from rig.machine.memory import PAGE, Mapped
from rig.machine.prompt import Prompt, Refusal
from rig.machine.sanitizer import Report
from rig.machine.screen import photograph
from rig.model.environment import Environment, Region
from rig.picture import Picture
from rig.program import (
    H_LOGICAL_MEMOP,
    H_RTAS,
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

#: seconds for one line at the prompt, and for a command to QEMU
PATIENCE = 20.0
#: seconds that SLOF may take to its prompt: 5 to 10 on an idle host
BOOT = 120.0
OURS = frozenset({"STOP", "RESUME"})
#: where SLOF puts RTAS, out of the way of programs
RTAS_AT = 0x7F_0000
#: elements a second that the slowest host may be expected to do
ANSWER_RATE = 5_000_000


class SlofMachine:
    """One QEMU of ``build`` at SLOF's prompt; a context manager.  For one thread at a time."""

    def __init__(
        self, build: Build, options: MachineOptions, directory: Path, deadline: Deadline | None = None
    ) -> None:
        if not (options.console and options.mapping):
            raise ValueError("SLOF as the caller needs a console and a mapping of memory")
        self.build = build
        self.options = options
        self.logs: Mapping[str, Path] = {name: directory / name for name in LOGS}
        self.pictures: dict[str, Path] = {}
        self._directory = directory
        self._start_by = deadline or Deadline(BOOT)
        self._running: Running | None = None
        self._memory: Mapped | None = None
        self._environment: Environment | None = None
        self._prompt: Prompt | None = None
        self._last_words = ""

    # ---- life ----------------------------------------------------------------------------------------------

    def __enter__(self) -> SlofMachine:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Boot SLOF to its prompt; raises :class:`MachineError` with the end of its console."""
        with self._blamed():
            options = place(self.options, self._directory)
            running, _ = launch(self.build, options, self._directory, None, self._start_by, stops=())
            self._running = running
            try:
                self._memory = Mapped(running.ram["ram"], self.options.memory << 20)
                at = running.debugger.registers(("r3",), self._start_by)["r3"]
                fdt = Region(at, device_tree.total_size(self._memory.read(at, 8)))
                tree = device_tree.parse(self._memory.read(fdt.start, fdt.length))
                running.debugger.resume(self._start_by)
                assert running.console is not None
                self._prompt = Prompt(running.console)
                self._prompt.arrive(self._start_by)
                self.prompt.ask(f's" /rtas" find-device {RTAS_AT:x} instantiate-rtas drop', self._start_by)
                busy = tuple(Region(*extent) for extent in self._memory.extents())
                self._environment = Environment(
                    device_tree.memory(tree),
                    busy[0],
                    fdt,
                    tree,
                    self.build.version,
                    self.options,
                    busy,
                )
                # through gdb: it looks at a guest that stops unasked, and what it then sends stops the guest
                # again when `cont` has come first
                running.debugger.interrupt(self._start_by)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End QEMU and everything that belongs to it.  May be called twice."""
        if self._running is not None:
            running, self._running = self._running, None
            try:
                running.close()
            finally:
                self._last_words = running.process.last_words()

    def reset(self) -> None:
        """Free the stack, and all RAM but what SLOF works in is zero again; SLOF is not booted again."""
        with self._blamed():
            self.pictures.clear()
            with self._awake():
                self.prompt.ask("clear hex", Deadline(PATIENCE))
            memory = self.memory
            for start, length in list(memory.extents()):
                for page in range(start, start + length, PAGE):
                    if not any(region.holds(page) for region in self.environment.busy):
                        memory.write(page, bytes(PAGE))

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Let the guest run meanwhile; it stands again also when it refused what was asked."""
        self._live.monitor.execute("cont", None, Deadline(PATIENCE))
        try:
            yield
        except (Refusal, ValueError):
            self._stop()
            raise
        self._stop()

    def _stop(self) -> None:
        self._live.monitor.execute("stop", None, Deadline(PATIENCE))

    def _events(self) -> tuple[Event, ...]:
        """What has arrived, but for what :meth:`_awake` causes."""
        return tuple(event for event in self._live.monitor.events() if event.name not in OURS)

    @property
    def _live(self) -> Running:
        if self._running is None:
            raise MachineError("the machine is not running: it was closed or never started")
        return self._running

    @property
    def alive(self) -> bool:
        """Whether the QEMU process runs."""
        return self._running is not None and self._running.process.alive

    def last_words(self) -> str:
        """Exit status or signal, and the end of QEMU's stderr."""
        return self._last_words if self._running is None else self._running.process.last_words()

    def reports(self) -> tuple[Report, ...]:
        """What the sanitizers of the running QEMU have said since the last time."""
        return self._live.process.reports()

    @property
    def pastable(self) -> str:
        """A command line that a person can paste, with the console on the terminal."""
        words = command_line.compose(self.build, self.options, None, command_line.BY_HAND)
        return command_line.pastable(words)

    # ---- what a program may look at ------------------------------------------------------------------------

    @property
    def prompt(self) -> Prompt:
        """SLOF's prompt."""
        if self._prompt is None:
            raise MachineError("SLOF has no prompt: it was never started")
        return self._prompt

    @property
    def debugger(self) -> Debugger:
        """gdb; the guest runs, so there is little that it can tell."""
        return self._live.debugger

    @property
    def memory(self) -> GuestMemory:
        """RAM, mapped."""
        if self._memory is None:
            raise MachineError("the machine's memory is gone: it was closed or never started")
        return self._memory

    @property
    def memories(self) -> Mapping[str, GuestMemory]:
        """The mapping only: the other ways need a guest that stands."""
        return {"mapping": self.memory}

    @property
    def environment(self) -> Environment:
        """Memory map and device tree as QEMU gave them to SLOF, and the memory that SLOF works in."""
        if self._environment is None:
            raise MachineError("the machine has no environment: it was never started")
        return self._environment

    def ask(self, line: str) -> str:
        """What SLOF prints for a line typed at its prompt."""
        with self._blamed(), self._awake():
            return self.prompt.ask(line, Deadline(PATIENCE))

    def dump(self, address: int, length: int) -> bytes:
        """The bytes at ``address`` as SLOF's own ``dump`` shows them."""
        with self._blamed(), self._awake():
            return self.prompt.dump(address, length, Deadline(PATIENCE))

    def screen(self, name: str) -> Picture:
        """What is on the screen, kept as the picture ``name``."""
        with self._blamed():
            picture, file = photograph(self._live.monitor, self._directory, name)
        self.pictures[file.name] = file
        return picture

    # ---- the target ----------------------------------------------------------------------------------------

    def call(self, calls: Sequence[Call]) -> list[Outcome]:
        """Make hypercalls from the prompt, H_LOGICAL_MEMOP by SLOF's own word and H_RTAS through its RTAS.

        Fewer outcomes than calls when one ends otherwise than ``returned``.  Raises :class:`MachineError` for
        other hypercalls.
        """
        outcomes: list[Outcome] = []
        for call in calls:
            with self._blamed():
                outcomes.append(self._one(call))
            if outcomes[-1].ending != "returned":
                break
        return outcomes

    def _one(self, call: Call) -> Outcome:
        line, size = spoken(call)
        deadline = Deadline(call.timeout or PATIENCE + size / ANSWER_RATE)
        began = time.time()
        registers: dict[str, int] = {}
        ending: Ending = "returned"
        try:
            with self._awake():
                registers["r3"] = self.prompt.number(line, deadline)
        except MachineError:
            if not self._live.process.wait(Deadline(1.0)):
                raise
            ending = "died"
        events = self._events()
        words = "" if ending == "returned" else self.last_words()
        return Outcome(ending, registers, events=events, last_words=words, clock=(began, time.time()))

    def together(self, parts: Sequence[Call | Run]) -> list[Outcome]:
        """Not from one prompt; raises :class:`MachineError`."""
        raise MachineError(f"SLOF has one CPU and one prompt; {len(parts)} calls at once need the agent")

    def host(self, action: Host) -> Outcome:
        """Carry out a QMP command while SLOF waits at its prompt."""
        with self._blamed():
            began = time.time()
            answer: object
            try:
                done = self._live.monitor.execute(action.command, action.arguments, Deadline(PATIENCE))
                answer = {"return": done}
            except Refused as error:
                answer = {"error": {"class": error.error_class, "desc": error.description}}
            return Outcome(events=self._events(), answer=answer, clock=(began, time.time()))

    def wait(self, event: Await | Arrive) -> Outcome:
        """Not at the prompt; raises :class:`MachineError`."""
        raise MachineError(f"nothing can be waited for at SLOF's prompt: {event}")

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except MachineError as error:
            died = self._running is not None and not self._running.process.alive
            error.blame(f"{self.build.path} ({self.build.version_text})", self.last_words() if died else "")
            raise


def spoken(call: Call) -> tuple[str, int]:
    """A call as Forth that leaves r3 on the stack, and how many elements it works on.

    Raises :class:`MachineError` for a call that the prompt has no words for.
    """
    arguments = [value for value in call.args if isinstance(value, int)]
    if call.opcode == H_LOGICAL_MEMOP and len(arguments) == 5:
        return " ".join(f"{value:x}" for value in arguments) + " hv-logical-memop", arguments[3]
    if call.opcode == H_RTAS and len(arguments) == 1:
        # call-c ( r3 r4 r5 entry -- r3 )
        return f"{arguments[0]:x} {RTAS_AT:x} 0 {RTAS_AT:x} call-c", 0
    raise MachineError(
        f"SLOF's prompt has no word for hypercall {call.opcode} with {len(call.args)} arguments; it makes "
        "H_LOGICAL_MEMOP with five and H_RTAS with one"
    )
