"""Bring QEMU up with its monitor, debugger and console, and take all of it down again.

gdb and QEMU are started before the libraries that talk to them are imported, because both take longer.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rig.deadline import Deadline
from rig.frozen import frozen
from rig.machine import agent, sanitizer
from rig.machine.build import Build
from rig.machine.command_line import Wires, backends, compose
from rig.machine.debugger import Debugger
from rig.machine.errors import LaunchError, MachineError, Refused
from rig.machine.memory import Anonymous
from rig.machine.process import Process
from rig.program import MachineOptions

if TYPE_CHECKING:
    from rig.machine.console import Console
    from rig.machine.monitor import Monitor

#: seconds for each of QMP quit and SIGTERM before something stronger
GRACE = 2.0

LOGS = ("qmp.log", "gdb.log", "console.log", "stdout.log", "stderr.log")


@frozen
class Running:
    """A QEMU that stands before its first instruction, and everything that reaches it."""

    process: Process
    monitor: Monitor
    debugger: Debugger
    console: Console | None
    #: guest RAM as far as it is mapped, by the back end's id
    ram: Mapping[str, Anonymous]
    #: where pmemsave puts its copies
    copies: Anonymous
    _parts: contextlib.ExitStack

    def close(self, *, politely: bool = True) -> None:
        """End QEMU, then gdb (a stub whose gdb goes first lets the guest run), then the rest.

        ``politely`` asks by QMP and SIGTERM first, so that a build can write what it writes at exit.
        """
        try:
            if politely and self.process.alive:
                # A main loop that does not answer would not act on SIGTERM either.
                with contextlib.suppress(MachineError, Refused):
                    self.monitor.execute("quit", None, Deadline(GRACE))
                    if not self.process.wait(Deadline(GRACE)):
                        self.process.popen.terminate()
                        self.process.wait(Deadline(GRACE))
        finally:  # also when the user has no patience
            self.process.kill()
            self._parts.close()


def launch(
    build: Build,
    options: MachineOptions,
    directory: Path,
    image: Path | None,
    deadline: Deadline,
    stops: tuple[int, ...] = (agent.DONE, agent.FAULT),
    meanwhile: Callable[[], object] | None = None,
) -> tuple[Running, tuple[str, ...]]:
    """Start everything; the machine with its command line.

    Logs go into ``directory``; gdb breaks at ``stops``; without ``image`` the build's own firmware runs.
    ``meanwhile`` is called while QEMU and gdb come up.
    Raises :class:`LaunchError` or another :class:`MachineError` and then leaves nothing behind.
    """
    with contextlib.ExitStack() as parts:
        directory.mkdir(parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(prefix=f"rig-{os.getpid()}-", dir=_short()))  # mode 0700
        parts.callback(shutil.rmtree, private, ignore_errors=True)
        ram = {name: Anonymous(f"rig-{name}", size << 20) for name, size in backends(options)}
        copies = Anonymous("rig-copies", 0)
        for file in (copies, *ram.values()):
            parts.callback(file.close)

        monitor_end, monitor_theirs = socket.socketpair()
        console_end, console_theirs = socket.socketpair()
        stub = socket.socket(socket.AF_UNIX)
        for end in (monitor_end, monitor_theirs, console_end, console_theirs, stub):
            parts.callback(end.close)
        debugger = Debugger(directory, directory / "gdb.log", options.endian)
        parts.callback(debugger.close)

        with monitor_theirs, console_theirs, stub:
            # QEMU is handed a socket that already listens: gdb need not wait, and nobody else can be there.
            stub.bind(str(private / "gdb"))
            stub.listen(1)
            transcript = os.fspath((directory / "console.log").absolute()).replace(",", ",,")
            wires = Wires(
                f"socket,id=monitor,fd={monitor_theirs.fileno()}",
                f"socket,id=debugger,fd={stub.fileno()},server=on,wait=off",
                f"socket,id=console,fd={console_theirs.fileno()},logfile={transcript}",
                tuple(file.path for file in ram.values()),
            )
            words = compose(build, options, image, wires)
            if backdoor := os.environ.get("QEMU_TEST_QMP_BACKDOOR"):  # as for QEMU's own tests
                words += ("-qmp", f"unix:{backdoor.replace(',', ',,')},server=on,wait=off")
            inherited = [monitor_theirs.fileno(), stub.fileno(), copies.fd]
            inherited += [file.fd for file in ram.values()]
            inherited += [console_theirs.fileno()] if options.console else []
            with (directory / "stdout.log").open("ab") as output:
                process = Process(
                    words,
                    stderr=directory / "stderr.log",
                    stdout=output,
                    pass_fds=inherited,
                    environment=sanitizer.environment(),
                )
        parts.callback(process.release)

        from rig.machine.monitor import Monitor  # while QEMU starts

        monitor = Monitor(monitor_end, directory / "qmp.log")
        parts.callback(monitor.close)
        console = None
        if options.console:
            from rig.machine.console import Console

            console = Console(console_end)
            parts.callback(console.close)
        if meanwhile is not None:
            meanwhile()
        try:
            monitor.connect(deadline)
            debugger.connect(private / "gdb", stops, deadline)
            shutil.rmtree(private)
        except MachineError as error:
            process.wait(Deadline(0.5))  # the connection ends a moment before the process
            how = "QEMU did not come up" if process.alive else f"QEMU ended at start: {process.status()}"
            line, tail = shlex.join(words), process.stderr_tail() or "empty"
            raise LaunchError(f"{how} ({error.cause})\nstderr: {tail}\ncommand line: {line}") from error
        return Running(process, monitor, debugger, console, ram, copies, parts.pop_all()), words


def _short() -> str:
    """Where temporary files belong, unless a socket's path (at most 108 bytes) would be too long there."""
    here = tempfile.gettempdir()
    return here if len(os.fsencode(here)) < 72 else "/tmp"
