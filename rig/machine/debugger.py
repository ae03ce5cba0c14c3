"""The gdbstub, through gdb-multiarch and pygdbmi.

pygdbmi carries and parses GDB/MI; matching of answers to commands is ours, because its own waits return after
a silence of 0.2 s rather than at the result.  What a stop means is the machine's to say.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pygdbmi import gdbmiparser
from pygdbmi.IoManager import IoManager

from rig.deadline import Deadline
from rig.frozen import frozen
from rig.machine.errors import DebuggerError, LaunchError, Timeout
from rig.machine.process import Process
from rig.target import Data

#: gdbs that may know powerpc:common64, the likeliest first; the environment variable RIG_GDB goes before them
CANDIDATES = ("gdb-multiarch", "powerpc64-linux-gnu-gdb", "gdb")
FLAGS = ("--nx", "--quiet", "--interpreter=mi3")
#: settings that must hold before the target is connected
SETTINGS = (
    "mi-async on",
    "pagination off",
    "confirm off",
    "width 0",
    "auto-load off",
    "architecture powerpc:common64",
    # gdb must not end a wait: the rig's deadlines do
    "remotetimeout 100000",
    "tcp connect-timeout 100000",
    "print thread-events off",
    # otherwise every stop removes and sets all of them, and QEMU forgets translated code each time
    "breakpoint always-inserted on",
)
#: signals by which QEMU's stub reports a run state, but which gdb passes by in silence
SILENT_SIGNALS = "SIGALRM SIGIO"

#: registers are read anew from the guest
FORGET = '-interpreter-exec console "maintenance flush register-cache"'
#: registers that :meth:`Debugger.registers` reads when none are named
CORE = (*(f"r{n}" for n in range(32)), "pc", "msr", "cr", "lr", "ctr", "xer")


@frozen
class Stop:
    """The guest stopped: gdb's ``reason``, the program counter, and the CPU (1 is the boot CPU)."""

    reason: str
    pc: int
    cpu: int
    signal: str = ""

    def __str__(self) -> str:
        return f"{self.signal or self.reason} at {self.pc:#x} on CPU {self.cpu}"


def find() -> str:
    """The gdb to use; raises :class:`LaunchError` when there is none."""
    names = (os.environ.get("RIG_GDB", ""), *CANDIDATES)
    found = next((name for name in names if name and shutil.which(name)), None)
    if found is None:
        looked = ", ".join(filter(None, names))
        raise LaunchError(f"no gdb was found (looked for {looked}): install gdb-multiarch")
    return found


class Debugger:
    """One gdb on one gdbstub; started at once, connected by :meth:`connect`.

    ``log`` receives every record.  ``fileno`` is readable when gdb has something to say or has ended.
    """

    def __init__(self, directory: Path, log: Path, endian: Literal["big", "little"] = "big") -> None:
        settings = [
            part for setting in (*SETTINGS, f"endian {endian}") for part in ("-iex", f"set {setting}")
        ]
        # Without DEBUGINFOD_URLS gdb asks no server; without HOME it has no history to read or write.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(directory)}
        self.process = Process(
            # Where its own Python modules are not, which nobody uses, gdb starts in two thirds of the time.
            (
                find(),
                *FLAGS,
                f"--data-directory={directory}",
                *settings,
                "-iex",
                f"handle {SILENT_SIGNALS} stop print nopass",
            ),
            stderr=directory / "gdb-stderr.log",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            environment=environment,
            directory=directory,  # gdb allows itself a core file when it gives up
        )
        stdin, stdout = self.process.popen.stdin, self.process.popen.stdout
        assert stdin is not None
        assert stdout is not None
        self._io = IoManager(stdin, stdout, None)
        self._log = log.open("a", buffering=1)
        self._directory = directory
        self._partial = b""
        self._token = 0
        self._results: dict[int, dict[str, Any]] = {}
        self._stops: list[Stop] = []
        self._names: dict[str, int] = {}
        self._armed: list[str] = []
        self.endian: Literal["big", "little"] = endian
        self.running = False

    def fileno(self) -> int:
        """For select."""
        return self._io.stdout_fileno

    # ---- commands ------------------------------------------------------------------------------------------

    def send(self, command: str) -> int:
        """Write an MI command without waiting; its token."""
        self._token += 1
        self._log.write(f"> {self._token}{command}\n")
        try:
            self._io.write(f"{self._token}{command}", read_response=False)
        except (BrokenPipeError, ValueError) as error:
            raise self._ended(command) from error
        return self._token

    def result(self, token: int, deadline: Deadline, command: str) -> Mapping[str, Any]:
        """The payload of the result record with ``token``.

        Raises :class:`DebuggerError` for an error record or if gdb ended, :class:`Timeout` if none came.
        """
        while token not in self._results:
            if deadline.expired:
                raise Timeout(f"gdb did not answer {command} within {deadline.seconds:g} s")
            self.pump(deadline.remaining())
        record = self._results.pop(token)
        payload: Mapping[str, Any] = record["payload"] or {}
        if record["message"] == "error":
            raise DebuggerError(f"gdb refused {command}: {payload.get('msg', 'no reason given')}")
        return payload

    def command(self, command: str, deadline: Deadline) -> Mapping[str, Any]:
        """Write an MI command and wait for its result."""
        return self.result(self.send(command), deadline, command)

    def pump(self, seconds: float = 0.0) -> None:
        """Take what gdb has said, waiting at most ``seconds`` for it to say something."""
        ready, _, _ = select.select([self.fileno()], [], [], seconds)
        if not ready:
            return
        # Not IoManager's own read: it takes the end of the file for silence and pretty-prints every record.
        data = os.read(self.fileno(), 1 << 20)
        if not data:
            self.process.wait(Deadline(1.0))
            raise self._ended("its work")
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            self._log.write(f"< {text}\n")
            if text[:1].isdigit() or text.startswith("*"):
                self._take(gdbmiparser.parse_response(text))

    def _take(self, record: dict[str, Any]) -> None:
        if record["type"] == "result":
            self._results[record["token"]] = record
            self.running = self.running or record["message"] == "running"
        else:
            self._notified(record["message"], record["payload"])

    def _notified(self, message: str, payload: Mapping[str, Any]) -> None:
        if message == "running":
            self.running = True
        elif message == "stopped":
            self.running = False
            frame = payload.get("frame", {})
            self._stops.append(
                Stop(
                    payload.get("reason", "unknown"),
                    int(frame.get("addr", "0"), 0),
                    int(payload.get("thread-id", "0")),
                    payload.get("signal-name", ""),
                )
            )

    def _ended(self, what: str) -> DebuggerError:
        return DebuggerError(f"gdb ended during {what}", last_words=self.process.last_words())

    # ---- the target ----------------------------------------------------------------------------------------

    def connect(self, path: Path, stops: Iterable[int], deadline: Deadline) -> None:
        """Connect to the stub's unix socket and set hardware breakpoints at the addresses ``stops``."""
        self._armed = [f"-break-insert -h *{stop:#x}" for stop in stops]
        self._in_order([f"-target-select remote {path}", *self._armed], deadline)
        self._stops.clear()

    def disarm(self, deadline: Deadline) -> None:
        """Remove the breakpoints, until :meth:`rearm`."""
        self.command('-interpreter-exec console "delete"', deadline)

    def rearm(self, deadline: Deadline) -> None:
        """Set the breakpoints again, on every CPU there is now.

        A CPU that was plugged has none, and QEMU stops removing a breakpoint at the first CPU that lacks it.
        """
        self._in_order(['-interpreter-exec console "delete"', *self._armed], deadline)

    def _in_order(self, commands: Sequence[str], deadline: Deadline) -> None:
        """Several commands in one round trip."""
        tokens = [self.send(command) for command in commands]
        for token, command in zip(tokens, commands, strict=True):
            self.result(token, deadline, command)

    def resume(self, deadline: Deadline, at: int | None = None) -> None:
        """Let the guest run, from ``at`` when given.

        Going on just past a breakpoint saves gdb four exchanges to step over it.
        """
        self._stops.clear()
        self.command("-exec-continue" if at is None else f"-exec-jump *{at:#x}", deadline)

    def take_stop(self) -> Stop | None:
        """The oldest stop not yet taken."""
        return self._stops.pop(0) if self._stops else None

    def interrupt(self, deadline: Deadline) -> Stop:
        """Stop a running guest and wait until it stands."""
        self.command("-exec-interrupt", deadline)
        while (stop := self.take_stop()) is None:
            if deadline.expired:
                raise Timeout(f"the guest could not be interrupted within {deadline.seconds:g} s")
            self.pump(deadline.remaining())
        return stop

    def halted(self, cpu: int, deadline: Deadline) -> bool:
        """Whether the CPU with index ``cpu`` is halted, of a guest that stands."""
        threads = self.command(f"-thread-info {cpu + 1}", deadline)["threads"]
        return any("halted" in thread.get("details", "") for thread in threads)

    def registers(
        self, names: Iterable[str] = CORE, deadline: Deadline | None = None, cpu: int = 0
    ) -> dict[str, int]:
        """Registers of one CPU by gdb's names, as unsigned numbers, ``vs0``..``vs63`` with 128 bits."""
        deadline = deadline or Deadline(10.0)
        if not self._names:
            listed = self.command("-data-list-register-names", deadline)["register-names"]
            # QEMU's SPR feature names lr, ctr and xer once more, without a value: the first one counts.
            for number, name in enumerate(listed):
                self._names.setdefault(name, number)
        wanted = {str(self._names[name]): name for name in names}
        command = f"-data-list-register-values --thread {cpu + 1} x {' '.join(wanted)}"
        answer = self.command(command, deadline)["register-values"]
        return {wanted[item["number"]]: _number(item["value"]) for item in answer}

    def assign(self, registers: Mapping[str, int], deadline: Deadline, cpu: int = 0) -> None:
        """Set registers of one CPU that stands."""
        where = f"-data-evaluate-expression --thread {cpu + 1} --frame 0"
        self._in_order([f'{where} "${name} = {value:#x}"' for name, value in registers.items()], deadline)

    def forget(self, deadline: Deadline) -> None:
        """Take registers anew from the guest, which something else than the debugger has changed."""
        self.command(FORGET, deadline)

    @contextmanager
    def taken_as(self, endian: Literal["big", "little"], deadline: Deadline) -> Iterator[None]:
        """Registers are in this byte order meanwhile.

        QEMU's stub sends those of a CPU in the order that its MSR[LE] says, gdb has one order for all.
        """
        self._in_order([f"-gdb-set endian {endian}", FORGET], deadline)
        yield
        self._in_order([f"-gdb-set endian {self.endian}", FORGET], deadline)

    def read(self, address: int, length: int, deadline: Deadline) -> bytes:
        """Guest memory as the boot CPU sees it."""
        blocks = self.command(f"-data-read-memory-bytes {address:#x} {length}", deadline)["memory"]
        data = b"".join(bytes.fromhex(block["contents"]) for block in blocks)
        if len(data) != length:
            raise DebuggerError(f"gdb read {len(data)} of {length} bytes at {address:#x}")
        return data

    def write(self, address: int, data: Data, deadline: Deadline) -> None:
        """Put ``data`` into guest memory; code translated from it is forgotten."""
        if len(data) <= 1024:
            self.command(f"-data-write-memory-bytes {address:#x} {data.hex()}", deadline)
            return
        with tempfile.NamedTemporaryFile(dir=self._directory) as file:  # 3 times faster a byte from there on
            file.write(data)
            file.flush()
            command = f"restore {file.name} binary {address:#x}"
            self.command(f'-interpreter-exec console "{command}"', deadline)

    def close(self) -> None:
        """Kill gdb.  Only when QEMU has ended: a stub whose gdb goes away lets the guest run."""
        self.process.release()
        self._log.close()


def _number(text: str) -> int:
    """A register value as gdb prints it; of a vector's views, the one of 128 bits."""
    whole = re.search(r"uint128 = (0x[0-9a-f]+)", text)
    return int(whole[1] if whole else text, 0)
