"""The ``rig`` command: a group whose commands are imported only when they are called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import click

from rig import __version__
from rig.errors import UserError

#: command, module and what ``rig --help`` says of it
COMMANDS = {
    "run": ("rig.commands.run", "Run scenarios on one or more builds and judge them."),
    "list": ("rig.commands.list", "List scenarios, with what each needs."),
    "replay": ("rig.commands.replay", "Run one program file again, with the full trace."),
    "watch": ("rig.commands.watch", "Judge the calls that a real guest makes, SLOF's boot by default."),
    "shell": ("rig.commands.shell", "Issue calls by hand, through the agent or at SLOF's prompt."),
    "explain": ("rig.commands.explain", "The contract of a hypercall or RTAS service, with its deviations."),
    "ab": ("rig.commands.ab", "Run the same scenarios on two builds against each other."),
    "bisect": ("rig.commands.bisect", "Find the first commit or build that shows a failure."),
    "bisect-step": ("rig.commands.bisect_step", "One step of `git bisect run`."),
    "history": ("rig.commands.history", "Verdicts by build over time, from runs kept with --history."),
    "campaign": ("rig.commands.campaign", "Run generated programs by the million, and report what differs."),
    "export": ("rig.commands.export", "Write a program as a folder that needs nothing but QEMU."),
    "bench": ("rig.commands.bench", "Measure what the rig and a build cost."),
    "doctor": ("rig.commands.doctor", "What is installed, what is missing, and how to get it."),
    "builds": ("rig.builds.cli", "Fetch, add and list QEMU builds."),
}


class _Commands(click.Group):
    """Commands by name, imported when needed: starting one must not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever read the output has seen enough: what is left goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rig")
def cli() -> None:
    """Judge a real qemu-system-ppc64 -M pseries against a reference model.

    Exit codes: 0 all conform (known deviations allowed), 1 a mismatch or a deviation that no longer shows,
    2 interrupted, 3 error of rig, build or host, 4 usage or invalid input, 5 nothing selected or all skipped.
    """


def main() -> None:
    """The console script: click's own usage errors exit with 4."""
    # numpy compares and adds here and multiplies no matrices, for which its threads would wait by spinning.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for descriptor in range(3):  # one that is closed would be the next file's that is opened
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    # What a CI sends when it has waited long enough ends a run as Ctrl-C does: with what there is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code if not isinstance(error, click.UsageError) else 4
    except (UserError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        code = 3
    sys.exit(code if isinstance(code, int) else 0)
