"""Write a program as a folder that needs nothing but QEMU: image, ``run.sh``, README and the program itself.

The program is played once on a build, which resolves its references and tells what the contract permits for
each call; the image then performs the same calls wherever it is run.  For an action of the host it prints the
QMP command, which ``run.sh`` issues, and waits.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from rig.check.judge import Judge, Judged
from rig.export.checks import describe, unseen
from rig.export.recorder import Noted, Recorder
from rig.export.table import CannotExport, Table
from rig.frozen import frozen
from rig.machine import files
from rig.machine.build import Build
from rig.machine.command_line import CAPABILITIES
from rig.machine.machine import Machine
from rig.model.model import Model
from rig.model.rtas.families import SERVICES
from rig.pool import Pool
from rig.program import H_RTAS, LOAD, MOVE, RESTART, SAVE, Call, Host, Seed
from rig.scenario.dump import dump_program
from rig.scenario.script import Scenario

#: seconds a machine may take to be ready
START = 30.0
#: the parameter block of the power-off that ends QEMU: the image's own memory
LAST_BLOCK = 0xE000
#: host actions after which the image begins again, stands still, or is somewhere else
ENDS = frozenset({RESTART, SAVE, LOAD, MOVE, "system_reset", "stop", "cont", "system_wakeup"})
#: how the image asks for a QMP command, which is to succeed, or to be refused
ASKED, TO_BE_REFUSED = "host: ", "host, in vain: "
CONFORMS = "Every check passed.\n"
PASSES = (
    "Nothing differs that the image can see. What was seen when it was exported shows only from outside.\n"
)
DIFFERS = "This QEMU DIFFERS from the contract.\n"


@frozen
class Exported:
    """What was written, and what was broken on the build that it was made with."""

    folder: Path
    calls: int
    broken: tuple[str, ...]


def export(scenario: Scenario, build: Build, folder: Path) -> Exported:
    """Play ``scenario`` on ``build`` and write ``folder``.

    Raises :class:`CannotExport` for a program that a single image cannot play and
    :class:`rig.machine.errors.MachineError` when the build failed to answer.
    """
    steps = tuple(scenario.steps()) if scenario.steps is not None else ()
    _refuse(scenario)
    judged: list[Judged] = []
    with Pool() as pool:
        machine = pool.take(build, scenario.machine, START)
        recorder = Recorder(machine)
        judgement = Judge(recorder, Model(machine.environment), judged.append).play(scenario)
        table = _table(recorder.log, judged, machine)
        pool.discard(machine)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image.bin").write_bytes(table.image())
    (folder / "program.yaml").write_text(dump_program(scenario, steps or judgement.executed))
    context = _context(scenario, build, judged)
    templates = Environment(
        loader=PackageLoader("rig.export"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    for name in ("run.sh", "README.md"):
        (folder / name).write_text(templates.get_template(name).render(context))
    (folder / "run.sh").chmod(0o755)
    broken = tuple(str(violation) for violation in judgement.violations)
    return Exported(folder, judgement.calls, broken)


def _refuse(scenario: Scenario) -> None:
    if scenario.machine.smp.split(",")[0] not in ("1", "cpus=1"):
        raise CannotExport("the program needs more than one CPU, and the image runs on one")
    if scenario.machine.firmware != "agent":
        raise CannotExport("the program is for a build's own firmware, whose place the image takes")
    if scenario.machine.nodes or scenario.machine.dimms:
        raise CannotExport("the program's machine has NUMA nodes, or memory that can be plugged")
    if files.wanted(scenario.machine):
        raise CannotExport("the program's machine needs files of its own")
    if scenario.needs:
        raise CannotExport(f"the program looks at the machine from outside ({', '.join(scenario.needs)})")


def _table(log: Sequence[Noted], judged: Sequence[Judged], machine: Machine) -> Table:
    environment = machine.environment
    terminals = [
        node.cells("reg")[0] for path, node in environment.tree.walk() if path.startswith("/vdevice/vty@")
    ]
    if not terminals or "power-off" not in environment.tokens:
        raise CannotExport("the program's machine has no console or cannot be switched off by its guest")
    table = Table(terminals[0])
    numbered = iter(enumerate(judged, 1))
    for step in log:
        if isinstance(step, Seed):
            assert isinstance(step.address, int)
            table.seed(step.address, step.data)
            continue
        number, one = next(numbered, (0, None))
        if one is None:
            break
        table.text(f"{number}. {_named(one)}\n")
        if isinstance(step, Call):
            table.call([_number(step.opcode), *map(_number, step.args)])
        else:
            _ask(table, step, number)
        describe(table, one)
        for violation in one.violations:
            table.text(f"  Seen when this was exported: {violation.text}\n")
    block = (environment.tokens["power-off"], 2, 1, 0, 0, 0)
    table.block(LAST_BLOCK, b"".join(cell.to_bytes(4, "big") for cell in block))
    table.end(_verdict(judged), DIFFERS, H_RTAS, LAST_BLOCK)
    return table


def _verdict(judged: Sequence[Judged]) -> str:
    """What the image says when nothing differs that it can see."""
    return PASSES if any(map(unseen, judged)) else CONFORMS


def _ask(table: Table, action: Host, number: int) -> None:
    """Have ``run.sh`` issue a QMP command."""
    if action.command in ENDS:
        raise CannotExport(f"{number}. {action.command}: the image does not go on from there")
    table.text(f"{TO_BE_REFUSED if action.fails else ASKED}{_command(action)}\n")
    table.pause()


def _command(action: Host) -> str:
    return json.dumps({"execute": action.command, "arguments": dict(action.arguments)})


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _named(judged: Judged) -> str:
    if isinstance(judged.step, Host):
        return f"QMP {_command(judged.step)}"
    arguments = ", ".join(f"{name}={value:#x}" for name, value in judged.expectation.arguments.items())
    return f"{judged.expectation.call}({arguments})"


def _context(scenario: Scenario, build: Build, judged: Sequence[Judged]) -> dict[str, object]:
    options = scenario.machine
    machine = ",".join((options.machine, CAPABILITIES, *options.options))
    words = ["-M", machine, "-cpu", options.cpu, "-smp", options.smp, "-m", str(options.memory)]
    # The console comes first, as in the rig's machines: addresses of virtual devices follow the order.
    words += ["-chardev", "stdio,id=console,signal=off", "-device", "spapr-vty,chardev=console"]
    for device in options.devices:
        words += ["-device", device]
    words += options.arguments
    services = {one.expectation.call: SERVICES.get(one.expectation.call) for one in judged}
    return {
        "name": scenario.name,
        "summary": scenario.summary,
        "arguments": shlex.join(words),
        "version": build.version_text,
        "conforms": CONFORMS.strip(),
        "passes": PASSES.strip(),
        "asks": any(isinstance(one.step, Host) for one in judged),
        "asked": ASKED,
        "to_be_refused": TO_BE_REFUSED,
        "calls": [(number, _named(one)) for number, one in enumerate(judged, 1)],
        "broken": [
            (number, violation) for number, one in enumerate(judged, 1) for violation in one.violations
        ],
        "contracts": [(name, service) for name, service in services.items() if service is not None],
    }
