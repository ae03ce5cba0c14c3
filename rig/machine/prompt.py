"""The Forth prompt of SLOF on the guest's console: one line is typed, what it printed is read.

A line is only typed once the prompt is there: SLOF loses what comes while it works.  Its line editor echoes,
between ESC 7 and ESC 8, and takes about 255 characters.
"""

from __future__ import annotations

import re

import pexpect

from rig.deadline import Deadline
from rig.machine.console import Console
from rig.machine.errors import MachineError, Timeout

#: the number before the ``>`` is the depth of the stack
PROMPT = rb"\n([0-9a-f]+) > "
#: what the line editor draws: the echo, and where it then puts the cursor
_ECHO = re.compile(r"^.*\x1b8\x1b\[\d+C", re.DOTALL)
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[78])")
#: what SLOF's interpreter says when it gives a line up
_REFUSED = re.compile(r"(\S+) Undefined word|exception (-?[0-9a-f]+)", re.IGNORECASE)

#: characters that one line may have
MAX_LINE = 200
#: characters of the console that a message quotes
TAIL = 1500


class Refusal(MachineError):
    """SLOF did not understand a line."""


class Prompt:
    """The prompt on ``console``; every number is hexadecimal."""

    def __init__(self, console: Console) -> None:
        self._spawn = console.spawn
        self._console = console

    def arrive(self, deadline: Deadline) -> None:
        """Wait for the first prompt; raises :class:`Timeout` with the end of the console."""
        self._await("its prompt", deadline)
        self.ask("hex", deadline)

    def ask(self, line: str, deadline: Deadline) -> str:
        """What ``line`` printed; raises :class:`Refusal` where SLOF did not understand it.

        Raises :class:`ValueError` for a line that its editor would cut.
        """
        if len(line) > MAX_LINE or not line.isprintable():
            raise ValueError(f"SLOF takes one line of at most {MAX_LINE} characters, not {line!r}")
        self._console.send(line.encode("ascii") + b"\r")
        text = self._await(f"an answer to {line!r}", deadline)
        printed = _ESCAPE.sub("", _ECHO.sub("", text)).replace("\r", "").strip()
        refused = _REFUSED.search(printed)
        if refused is not None:
            raise Refusal(f"SLOF did not understand {line!r}: {printed}")
        return printed.removesuffix("ok").rstrip()

    def number(self, line: str, deadline: Deadline) -> int:
        """The number, unsigned, that ``line`` leaves on the stack."""
        printed = self.ask(f'{line} ." =" u.', deadline)
        found = re.search(r"=([0-9a-fA-F]+)$", printed)
        if found is None:
            raise MachineError(f"SLOF printed {printed!r} instead of a number for {line!r}")
        return int(found[1], 16)

    def dump(self, address: int, length: int, deadline: Deadline) -> bytes:
        """The bytes at ``address`` as SLOF's own ``dump`` shows them."""
        rows = re.findall(
            r"^[0-9a-f]+: ((?:[0-9a-f]{2} ){16})", self.ask(f"{address:x} {length:x} dump", deadline), re.M
        )
        return bytes.fromhex("".join(rows))[:length]

    def _await(self, what: str, deadline: Deadline) -> str:
        try:
            self._spawn.expect(PROMPT, timeout=deadline.remaining())
        except pexpect.TIMEOUT:
            raise Timeout(
                f"SLOF did not give {what} within {deadline.seconds:g} s; its console ends with:\n"
                + self._tail()
            ) from None
        except pexpect.EOF:
            raise MachineError(
                f"QEMU closed the console before SLOF gave {what}; it ends with:\n{self._tail()}"
            ) from None
        assert isinstance(self._spawn.before, bytes)
        return self._spawn.before.decode("latin-1")

    def _tail(self) -> str:
        held = self._spawn.before
        text = held.decode("latin-1") if isinstance(held, bytes) else ""
        return _ESCAPE.sub("", text).replace("\r", "").strip()[-TAIL:] or "(nothing)"
