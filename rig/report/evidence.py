"""The evidence folder of a scenario that did not conform: all one needs to believe it and to see it again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rig.check.judge import Judged
from rig.program import Call, Step
from rig.scenario.dump import dump_program
from rig.scenario.script import Scenario
from rig.target import GuestMemory

#: bytes shown before and after a difference
AROUND = 32


def write(
    folder: Path,
    scenario: Scenario,
    executed: Iterable[Step],
    broken: Iterable[Judged],
    pastable: str,
    logs: Mapping[str, Path],
    replay: str,
    memory: GuestMemory | None,
) -> None:
    """Fill ``folder``: program.yaml, command-line.txt, failure.txt, replay.txt and the machine's logs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "program.yaml").write_text(dump_program(scenario, executed))
    (folder / "command-line.txt").write_text(pastable + "\n")
    (folder / "replay.txt").write_text(replay + "\n")
    (folder / "failure.txt").write_text("\n".join(_failure(broken, memory)) + "\n")
    keep(folder, logs)


def keep(folder: Path, files: Mapping[str, Path]) -> None:
    """Copy ``files`` to ``folder`` by name, those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        if file.is_file():
            shutil.copyfile(file, folder / name)


def _failure(broken: Iterable[Judged], memory: GuestMemory | None) -> Iterator[str]:
    for judged in broken:
        yield f"== step {judged.index}: {_step(judged)}"
        for violation in judged.violations:
            yield f"  {violation}"
            if violation.address is not None and violation.check == "memory" and memory is not None:
                yield "  memory around the first differing byte, as it stands after the program:"
                yield from hexdump(memory, violation.address)
        yield f"  ended: {judged.outcome.ending}   case: {judged.case.name}"
        if judged.outcome.last_words:
            yield f"  last words: {judged.outcome.last_words}"
        yield from _registers(judged)
        for event in judged.outcome.events:
            yield f"  event {event.name} {dict(event.data)}"
        if judged.outcome.console:
            yield f"  console {judged.outcome.console!r}"
        yield ""


def _step(judged: Judged) -> str:
    step = judged.step
    if isinstance(step, Call):
        named = ", ".join(f"{name}={value:#x}" for name, value in judged.expectation.arguments.items())
        return f"{judged.expectation.call}({named})"
    return repr(step)


def _registers(judged: Judged) -> Iterator[str]:
    """Registers before, after and as expected, one line each where they say anything."""
    permitted = judged.case.registers
    before, after = judged.outcome.before, judged.outcome.registers
    for name in after:
        changed = before.get(name) != after[name]
        if name in permitted or changed:
            want = str(permitted[name]) if name in permitted else "preserved or volatile"
            values = f"before {before.get(name, 0):#018x}  after {after[name]:#018x}"
            yield f"  {name:>6}  {values}  expected {want}"


def hexdump(memory: GuestMemory, address: int) -> Iterator[str]:
    """Lines of 16 bytes around ``address``, the differing one marked."""
    start = max(0, address - AROUND) & ~15
    for line in range(start, address + AROUND + 1, 16):
        try:
            data = memory.read(line, 16)
        except ValueError:
            return
        mark = ">" if line <= address < line + 16 else " "
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
        yield f"  {mark} {line:#012x}  {data.hex(' ')}  {text}"
