"""Judge the calls that a real guest makes, SLOF's boot for example, without taking part.

QEMU's own log (``-d int``) shows with which registers every hypercall was made, and no result: what is judged
of these is whether the contract lets a guest make the call at all.  Calls of RTAS all come from one
instruction; a breakpoint there shows registers, parameter block and all of RAM before and after: these are
judged in full.
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
from rig.machine import device_tree
from rig.machine.build import Build
from rig.machine.debugger import CORE
from rig.machine.errors import MachineError, Timeout
from rig.machine.launch import Running, launch
from rig.machine.memory import Mapped
from rig.machine.prompt import PROMPT, TAIL
from rig.model.environment import Environment, Region
from rig.model.hypercall import H_SUCCESS
from rig.model.model import Model
from rig.program import H_RTAS, Call, MachineOptions, Outcome

#: one call in QEMU's log: r3 .. r12 and where it was made
_CALL = re.compile(rb"^hypercall ((?:r\d+=[0-9a-f]{16} ){10})nip=([0-9a-f]{16})$", re.MULTILINE)
_WATCHED = tuple(name for name in CORE if name != "pc")
#: seconds between two looks at the time, and for a command to gdb
SLICE, ANSWER = 0.1, 10.0
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
    return second.seen


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
        self.seen = Watched()

    def run(self, sites: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Run to the end with breakpoints at ``sites``; the addresses from which RTAS was called."""
        running, _ = launch(self._build, self._options, self._directory, None, self._deadline, sites)
        try:
            memory = Mapped(running.ram["ram"], self._options.memory << 20)
            model = Model(self._look_around(running, memory))
            running.debugger.resume(self._deadline)
            self._follow(running, memory, model, sites)
        finally:
            running.close()
        return self._judge_log(model)

    def _look_around(self, running: Running, memory: Mapped) -> Environment:
        at = running.debugger.registers(("r3",), self._deadline)["r3"]
        fdt = Region(at, device_tree.total_size(memory.read(at, 8)))
        tree = device_tree.parse(memory.read(fdt.start, fdt.length))
        ram = device_tree.memory(tree)
        return Environment(ram, Region(0, 0), fdt, tree, self._build.version, self._options)

    def _follow(self, running: Running, memory: Mapped, model: Model, sites: tuple[int, ...]) -> None:
        console, debugger = running.console, running.debugger
        assert console is not None
        comparison = Comparison(model.memory, memory)
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
            console.pump()
            self._console += console.drain()
            while (stop := debugger.take_stop()) is not None:
                if stop.pc in sites:
                    self._rtas(running, memory, model, comparison)
                debugger.resume(Deadline(ANSWER))

    def _over(self, running: Running) -> bool:
        if not running.process.alive:
            if self._prompt:
                raise MachineError(f"QEMU ended before SLOF's prompt: {running.process.last_words()}")
            self.seen.ended = running.process.status()
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

    def _rtas(self, running: Running, memory: Mapped, model: Model, comparison: Comparison) -> None:
        """The guest stands before its ``sc 1`` for RTAS: let it make the call, and judge that."""
        debugger = running.debugger
        before = debugger.registers(_WATCHED, Deadline(ANSWER))
        adopt(model.memory, memory)
        call = Call(before["r3"], tuple(before[f"r{number}"] for number in range(4, 13)))
        expectation = model.expect(call)
        index = sum(self.seen.rtas.values())
        running.monitor.events()
        began, deadline = time.time(), Deadline(ANSWER)
        debugger.command("-exec-step-instruction", deadline)
        while debugger.take_stop() is None:
            if deadline.expired or not running.process.alive:
                raise Timeout(f"{expectation.call} did not return within {deadline.seconds:g} s")
            debugger.pump(deadline.remaining())
        after = debugger.registers(_WATCHED, Deadline(ANSWER))
        outcome = Outcome("returned", after, before, clock=(began, time.time()))
        case, violations = comparison.step(expectation, outcome, index)
        violations += comparison.sweep([(index, expectation)])
        model.settle(case, outcome)
        self.seen.violations += violations
        self.seen.rtas[expectation.call, self._status(call, memory)] += 1

    def _status(self, call: Call, memory: Mapped) -> int:
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
