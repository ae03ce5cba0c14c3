"""Judge the calls that a real guest makes, SLOF's boot for example, without taking part.

QEMU's own log (``-d int``) shows with which registers every hypercall was made, and no result: what is judged
of these is whether the contract lets a guest make the call at all.  Calls of RTAS all come from one
instruction; a breakpoint there shows registers, parameter block and all of RAM before and after: these are
judged in full, also when the guest does not come back from them.
"""

from __future__ import annotations

import re
import select
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rig.check.compare import Comparison
from rig.check.memory_diff import adopt
from rig.check.violation import Violation
from rig.deadline import Deadline
from rig.machine import device_tree, surroundings
from rig.machine.build import Build
from rig.machine.debugger import CORE, Debugger, Stop
from rig.machine.errors import MachineError, Timeout
from rig.machine.execution import FINAL_EVENTS, OURS, STANDING
from rig.machine.launch import Running, launch
from rig.machine.memory import Mapped
from rig.machine.prompt import PROMPT, TAIL
from rig.model.environment import Environment, Region
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model
from rig.model.update_dt import H_UPDATE_DT
from rig.model.vof import H_VOF_CLIENT
from rig.program import H_RTAS, Call, Ending, Event, MachineOptions, Outcome

#: one call in QEMU's log: r3 .. r12 and where it was made
_CALL = re.compile(rb"^hypercall ((?:r\d+=[0-9a-f]{16} ){10})nip=([0-9a-f]{16})$", re.MULTILINE)
_WATCHED = tuple(name for name in CORE if name != "pc")
#: seconds between two looks at the time, and for a command to gdb
SLICE, ANSWER = 0.1, 10.0
#: seconds after which a CPU that has not come back from a call may have stopped
QUIET = 1.0
#: events that tell how a call ended which does not return
ENDINGS: Mapping[str, Ending] = {
    "SHUTDOWN": "shutdown",
    "GUEST_PANICKED": "panicked",
    "SUSPEND": "suspended",
    "RESET": "reset",
}
#: calls whose arguments are in memory, which the log does not show
BY_MEMORY: Mapping[int, str] = {H_UPDATE_DT: "H_UPDATE_DT", H_VOF_CLIENT: "H_VOF_CLIENT"}
#: calls that are listed one by one
LISTED = 20


@dataclass(slots=True)
class Watched:
    """What was seen.  ``rtas`` counts (service, status), ``calls`` all hypercalls by name."""

    calls: Counter[str] = field(default_factory=Counter)
    #: hypercalls that the model does not know: counted only
    unknown: Counter[str] = field(default_factory=Counter)
    rtas: Counter[tuple[str, int]] = field(default_factory=Counter)
    #: calls that the contract refuses whatever the build does, in words: faults of the guest's
    illegal: Counter[str] = field(default_factory=Counter)
    #: of the RTAS calls
    violations: list[Violation] = field(default_factory=list)
    ended: str = ""
    #: last words of a QEMU that failed otherwise than in a call of RTAS, which is judged as such
    failure: str = ""


def watch(build: Build, options: MachineOptions, directory: Path, seconds: float, *, prompt: bool) -> Watched:
    """Let a guest run to SLOF's ``prompt``, or else until it ends or ``seconds`` are over.

    A first run shows from where RTAS is called, a second one has breakpoints there.  Each has ``seconds``.
    Raises :class:`MachineError`, and :class:`Timeout` with the end of the console where the prompt does not
    come.
    """
    first = _Watcher(build, options, directory / "first", Deadline(seconds), prompt)
    sites = first.run()
    if not sites:
        return first.seen
    second = _Watcher(build, options, directory / "second", Deadline(seconds), prompt)
    second.run(sites)
    if not second.seen.violations:  # which may be what the first one ended by
        second.seen.failure = second.seen.failure or first.seen.failure
    return second.seen


def how(name: str, seen: Watched) -> str:
    """What was judged of a call, for a reader."""
    if name == "H_RTAS":
        return "judged in full, see below"
    if name in seen.unknown:
        return "counted only, the model does not know it"
    if name in BY_MEMORY.values():
        return "counted only, its arguments were in memory"
    return "arguments judged"


def calls(log: bytes) -> Iterator[tuple[tuple[int, ...], int]]:
    """Registers r3..r12 of every hypercall in QEMU's log, and the address that it was made at."""
    for found in _CALL.finditer(log):
        yield tuple(int(word.partition(b"=")[2], 16) for word in found[1].split()), int(found[2], 16)


class _Watcher:
    """One run of the guest."""

    def __init__(
        self, build: Build, options: MachineOptions, directory: Path, deadline: Deadline, prompt: bool
    ) -> None:
        directory.mkdir(parents=True)
        self._log = directory / "int.log"
        arguments = (*options.arguments, "-d", "int", "-D", str(self._log))
        self._build, self._directory, self._deadline, self._prompt = build, directory, deadline, prompt
        self._options = replace(options, arguments=arguments)
        self._console = b""
        self._events: list[Event] = []
        self._sites: frozenset[int] = frozenset()
        #: the same as gdb, which takes all registers for big-endian ones, shows them of a little-endian guest
        self._reversed: frozenset[int] = frozenset()
        #: where a guest that was reset has run to, unless gdb let it be
        self._held: Stop | None = None
        self._tree_at = 0
        self.seen = Watched()

    def run(self, sites: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Run to the end with breakpoints at ``sites``; the addresses from which RTAS was called."""
        running, _ = launch(self._build, self._options, self._directory, None, self._deadline, sites)
        try:
            memory = Mapped(running.ram["ram"], self._options.memory << 20)
            self._sites = frozenset(sites)
            self._reversed = frozenset(int.from_bytes(at.to_bytes(8, "big"), "little") for at in sites)
            self._tree_at = running.debugger.registers(("r3",), self._deadline)["r3"]
            model = Model(self._look_around(running, memory))
            running.debugger.command("-gdb-set scheduler-locking step", self._deadline)
            running.debugger.resume(self._deadline)
            self._follow(running, memory, model)
        finally:
            running.close()
        return self._judge_log(model)

    def _look_around(self, running: Running, memory: Mapped) -> Environment:
        """What the guest finds when it starts, or starts again with a tree in the same place."""
        try:
            fdt = Region(self._tree_at, device_tree.total_size(memory.read(self._tree_at, 8)))
            tree = device_tree.parse(memory.read(fdt.start, fdt.length))
        except ValueError:  # firmware that keeps the tree to itself (x-vof=on)
            fdt = Region(0, 0)
            tree = surroundings.kept_tree(running.monitor, self._directory, Deadline(ANSWER))
        ram = device_tree.memory(tree) or (Region(0, self._options.memory << 20),)
        return Environment(ram, Region(0, 0), fdt, tree, self._build.version, self._options)

    def _follow(self, running: Running, memory: Mapped, model: Model) -> None:
        console, debugger = running.console, running.debugger
        assert console is not None
        while not self._over(running):
            sources = [
                debugger.fileno(),
                running.process.pidfd,
                *([console.fileno()] if console.open else []),
            ]
            select.select(sources, [], [], SLICE)
            if not running.process.alive:
                continue
            debugger.pump()
            self._listen(running)
            while not self.seen.ended and (stop := self._next(debugger)) is not None:
                if stop.pc in self._sites:
                    self._rtas(running, memory, model, stop.cpu - 1)
                elif stop.pc in self._reversed:
                    with debugger.taken_as("little", Deadline(ANSWER)):
                        self._rtas(running, memory, model, stop.cpu - 1)
                self._go_on(debugger)

    def _go_on(self, debugger: Debugger) -> None:
        """Let the guest run, unless it has ended, is about to make a call that is judged, or runs."""
        if not self.seen.ended and self._held is None and not debugger.running:
            debugger.resume(Deadline(ANSWER))

    def _next(self, debugger: Debugger) -> Stop | None:
        """Where the guest stands and has not been looked at."""
        held = self._held
        self._held = None
        return debugger.take_stop() if held is None else held

    def _listen(self, running: Running) -> None:
        """Take what has come from the console, and the events that have come until now."""
        assert running.console is not None
        self._console += running.console.drain()
        self._events += (event for event in running.monitor.events() if event.name not in OURS)

    def _over(self, running: Running) -> bool:
        if not running.process.alive and not self.seen.ended:
            self.seen.ended = running.process.status()
            if running.process.popen.poll():
                self.seen.failure = running.process.last_words()
        elif not self.seen.ended and any(event.name in FINAL_EVENTS for event in self._events):
            self.seen.ended = f"the guest ended: {self._status(running)}"
        if self.seen.ended:
            if self._prompt:
                last = running.process.last_words()
                raise MachineError(f"no prompt of SLOF's until this: {self.seen.ended}; {last}")
            return True
        if self._prompt and re.search(PROMPT, self._console):
            self.seen.ended = "SLOF's prompt"
            return True
        if self._deadline.expired:
            if self._prompt:
                tail = self._console.decode("latin-1")[-TAIL:].strip() or "(nothing)"
                raise Timeout(
                    f"SLOF gave no prompt within {self._deadline.seconds:g} s; its console ends with:\n{tail}"
                )
            self.seen.ended = f"{self._deadline.seconds:g} s are over"
            return True
        return False

    def _rtas(self, running: Running, memory: Mapped, model: Model, cpu: int) -> None:
        """A CPU stands before its ``sc 1``: let it make the call, and judge that if it is for RTAS."""
        debugger = running.debugger
        before = debugger.registers(_WATCHED, Deadline(ANSWER), cpu)
        if before["r3"] != H_RTAS:
            self._step(running, f"hypercall {before['r3']:#x}", cpu)
            return
        adopt(model.memory, memory)
        call = Call(H_RTAS, tuple(before[f"r{number}"] for number in range(4, 13)), cpu=cpu)
        expectation = model.expect(call)
        index = sum(self.seen.rtas.values())
        self._listen(running)
        self._events.clear()
        began, said = time.time(), len(self._console)
        ending = self._step(running, expectation.call, cpu)
        after = debugger.registers(_WATCHED, Deadline(ANSWER), cpu) if ending == "returned" else {}
        self._listen(running)
        events, self._events = tuple(self._events), []
        console = self._console[said:]
        outcome = Outcome(ending, after, before, events, console, clock=(began, time.time()))
        comparison = Comparison(model.memory, memory, late=model.state.late)
        case, violations = comparison.step(expectation, outcome, index)
        if ending == "reset":
            model.reset(self._look_around(running, memory))
        else:
            violations += comparison.sweep([(index, expectation)])
        model.settle(case, outcome)
        self.seen.violations += violations
        self.seen.rtas[expectation.call, self._result(call, memory)] += 1
        if ending not in ("returned", "reset", "stopped"):
            self.seen.ended = f"the guest ended by {expectation.call}: {ending}"

    def _step(self, running: Running, name: str, cpu: int) -> Ending:
        """Let one CPU make its call, and nobody else do anything; how that ended."""
        debugger, deadline, asked = running.debugger, Deadline(ANSWER), False
        debugger.command(f"-exec-step-instruction --thread {cpu + 1}", deadline)
        while (stop := debugger.take_stop()) is None:
            if not running.process.alive:
                return "died"
            if deadline.expired:
                raise Timeout(f"{name} did not return within {deadline.seconds:g} s")
            debugger.pump(min(QUIET, deadline.remaining()))
            if not debugger.running or deadline.remaining() > ANSWER - QUIET:
                continue
            if (ending := self._ended(running)) is not None:
                return ending
            if not asked:
                debugger.send("-exec-interrupt")
                asked = True
        if running.process.wait(Deadline(0.0)):
            return "died"
        if (ending := self._ended(running)) is not None:
            if stop.pc in self._sites | self._reversed:
                self._held = stop  # it was reset, and is about to make the next call
            return ending
        return "stopped" if debugger.halted(cpu, deadline) else "returned"

    def _ended(self, running: Running) -> Ending | None:
        """What became of the machine otherwise; one that gdb holds is not stopped again, but tells of it."""
        status = self._status(running)
        told = (ENDINGS[event.name] for event in self._events if event.name in ENDINGS)
        return STANDING.get(status) or next(told, None)

    def _status(self, running: Running) -> str:
        """QEMU's run state; all events until now have come."""
        answer = running.monitor.execute("query-status", None, Deadline(ANSWER))
        assert isinstance(answer, Mapping)
        self._listen(running)
        return str(answer["status"])

    def _result(self, call: Call, memory: Mapped) -> int:
        """``rets[0]`` of the block that r4 points to, after token, nargs, nret and the arguments."""
        block = call.args[0]
        assert isinstance(block, int)
        try:
            nargs = int.from_bytes(memory.read(block + 4, 4), "big")
            return int.from_bytes(memory.read(block + 12 + 4 * nargs, 4), "big", signed=True)
        except ValueError:
            return 0

    def _judge_log(self, model: Model) -> tuple[int, ...]:
        """Every call in the log: whether it is known, and whether the contract refuses its arguments.

        Returns the addresses from which RTAS was called.
        """
        sites = set()
        for registers, nip in calls(self._log.read_bytes() if self._log.exists() else b""):
            known = model.registry.find(registers[0])
            if known is None:
                self.seen.calls[f"{registers[0]:#x}"] += 1
                self.seen.unknown[f"{registers[0]:#x}"] += 1
                continue
            self.seen.calls[known.name] += 1
            if registers[0] == H_RTAS:
                sites.add(nip)
                continue  # judged when it was made
            if registers[0] in BY_MEMORY:
                continue
            expectation = model.expect(Call(registers[0], registers[1 : 1 + len(known.arguments)]))
            if not any(_succeeds(case.registers) and case.breach is None for case in expectation.cases):
                named = ", ".join(f"{name}={value:#x}" for name, value in expectation.arguments.items())
                facts = ", ".join(sorted(expectation.facts))
                self.seen.illegal[f"{known.name}({named}): {facts}"] += 1
        return tuple(sorted(sites))


def _succeeds(registers: Mapping[str, object]) -> bool:
    permitted = registers.get("r3")
    permits = getattr(permitted, "permits", None)
    return permits is not None and bool(permits(H_SUCCESS))
