"""``rig shell``: issue calls by hand, through the agent or at SLOF's prompt."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from rig.commands.common import InvalidInput, RunError, find_builds, qemu_option

if TYPE_CHECKING:
    from rig.check.judge import Subject
    from rig.program import Rtas, Step
    from rig.scenario.script import Playing, Scenario, Stage
    from rig.target import GuestMemory

#: seconds that a machine with the agent may take to be ready
START = 30.0

HELP = """\
memop DST SRC ESIZE COUNT OP    H_LOGICAL_MEMOP
rtas SERVICE [NRET: ARG…]       H_RTAS; one cell of results unless NRET is given, for example 8:
call OPCODE [ARG…]              any hypercall, by number
seed ADDRESS HEX                put bytes into guest memory
dump ADDRESS [LENGTH]           show guest memory
services                        the RTAS services of this machine
quit                            end; so does the end of the input
Numbers are decimal, or hexadecimal with 0x."""


class BadLine(ValueError):
    """A line that is no command; the message says what would be."""


@click.command("shell")
@qemu_option
@click.option("--slof", is_flag=True, help="SLOF's Forth prompt instead of the agent.")
@click.option("--device", "devices", multiple=True, help="A -device argument. Repeatable.")
def command(qemus: tuple[str, ...], slof: bool, devices: tuple[str, ...]) -> int:
    """Issue calls by hand; every one is judged against the model.

    With --slof lines go to the firmware's Forth prompt, and what it prints is shown; they are not judged.
    """
    from rig.machine.errors import MachineError
    from rig.pool import Pool
    from rig.program import MachineOptions

    builds = find_builds(qemus)
    if len(builds) != 1:
        raise InvalidInput("a shell is for one build")
    options = MachineOptions(devices=devices)
    if slof:
        options = MachineOptions(
            devices=devices, arguments=("-prom-env", "auto-boot?=false"), firmware="slof"
        )
    try:
        with Pool() as pool:
            machine = pool.caller(builds[0], options, START)
            click.echo(f"QEMU {builds[0].version_text}", err=True)
            if slof:
                from rig.machine.slof import SlofMachine

                assert isinstance(machine, SlofMachine)
                _forth(machine.ask)
            else:
                _calls(machine)
    except MachineError as error:
        raise RunError(str(error)) from error
    return 0


def _lines(prompt: str) -> Iterator[str]:
    """What the user types, a prompt before each line where there is a terminal."""
    while True:
        if sys.stdin.isatty():
            import readline  # noqa: F401 - gives input() its history and editing

            try:
                line = input(prompt)
            except EOFError:
                return
        else:
            line = sys.stdin.readline()
            if not line:
                return
        if line.strip() == "quit":
            return
        if line.strip():
            yield line.strip()


def _forth(ask: Callable[[str], str]) -> None:
    from rig.machine.prompt import Refusal

    for line in _lines("slof> "):
        try:
            click.echo(ask(line))
        except (Refusal, ValueError) as error:
            click.echo(error)


def _calls(machine: Subject) -> None:
    from rig.check.judge import Judge
    from rig.commands.replay import show
    from rig.model.model import Model
    from rig.program import Rtas
    from rig.scenario.script import scenario

    @scenario(name="shell", summary="calls issued by hand")
    def session(stage: Stage) -> Playing:
        for line in _lines("rig> "):
            try:
                step = parse(line, stage)
            except BadLine as error:
                click.echo(error)
                continue
            if step is not None:
                yield step
            if isinstance(step, Rtas):
                click.echo(f"          rets: {_results(step, stage.memory)}")

    whole: Scenario = session
    judge = Judge(machine, Model(machine.environment), show)
    judgement = judge.play(whole)
    if not judgement.reusable:
        click.echo("the machine can go no further")


def parse(line: str, stage: Stage) -> Step | None:
    """The step that a line asks for; ``None`` for a question, which is answered here.

    Raises :class:`BadLine`.
    """
    from rig.program import H_LOGICAL_MEMOP, Call, Rtas, Seed

    verb, *words = line.split()
    try:
        match verb, words:
            case "memop", [_, _, _, _, _]:
                return Call(H_LOGICAL_MEMOP, tuple(map(_number, words)))
            case "call", [opcode, *rest] if len(rest) <= 9:
                return Call(_number(opcode), tuple(map(_number, rest)))
            case "rtas", [service, *rest]:
                nret = _number(rest.pop(0)[:-1]) if rest and rest[0].endswith(":") else 1
                if service not in stage.environment.tokens and not service[:1].isdigit():
                    raise BadLine(f"this machine has no RTAS service {service}; `services` lists them")
                known = service if service in stage.environment.tokens else _number(service)
                return Rtas(known, tuple(map(_number, rest)), nret=nret)
            case "seed", [address, *data] if data:
                written = bytes.fromhex("".join(data))
                return Seed(_free(stage, _number(address), len(written)), written)
            case "dump", [address, *rest] if len(rest) < 2:
                length = _number(rest[0]) if rest else 64
                click.echo("\n".join(_dump(stage.memory, _ram(stage, _number(address), length), length)))
            case "services", []:
                click.echo("\n".join(sorted(stage.environment.tokens)))
            case "help", []:
                click.echo(HELP)
            case _:
                raise BadLine(f"{line!r} is no command:\n{HELP}")
    except ValueError as error:
        raise error if isinstance(error, BadLine) else BadLine(f"{line!r}: {error}") from error
    return None


def _number(word: str) -> int:
    value = int(word, 0)
    if not -(1 << 63) <= value < 1 << 64:
        raise BadLine(f"{word} does not fit into 64 bits")
    return value & (1 << 64) - 1


def _ram(stage: Stage, address: int, length: int) -> int:
    if length < 1 or not stage.environment.is_ram(address, length):
        raise BadLine(f"{length} bytes at {address:#x} are not all RAM")
    return address


def _free(stage: Stage, address: int, length: int) -> int:
    """An address of RAM that is a program's to fill."""
    from rig.scenario.reserved import refusal

    if reason := refusal(address, length):
        raise BadLine(reason)
    return _ram(stage, address, length)


def _results(step: Rtas, memory: GuestMemory) -> str:
    """The cells ``rets``, which follow token, nargs, nret and the arguments (LoPAR 7.2.7)."""
    assert isinstance(step.block, int)
    assert isinstance(step.nret, int)
    cells = memory.read(step.block + 12 + 4 * len(step.args), 4 * min(step.nret, 64))
    return " ".join(f"{int.from_bytes(cells[at : at + 4], 'big'):#x}" for at in range(0, len(cells), 4))


def _dump(memory: GuestMemory, address: int, length: int) -> Iterator[str]:
    for at in range(address, address + length, 16):
        data = memory.read(at, min(16, address + length - at))
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
        yield f"{at:#012x}  {data.hex(' '):<47}  {text}"
