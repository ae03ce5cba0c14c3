"""Why a machine could not answer: the causes behind the verdict ``error``.

A QEMU that ends by itself during a step is an outcome (``died``), not an error; these are for all that keeps
the rig from having an outcome at all.
"""

from __future__ import annotations


class MachineError(Exception):
    """The machine could not answer: the ``cause`` in words, ``build`` and its ``last_words`` when known."""

    def __init__(self, cause: str, *, build: str = "", last_words: str = "") -> None:
        self.cause = cause
        self.build = build
        self.last_words = last_words
        super().__init__(cause)

    def blame(self, build: str, last_words: str) -> None:
        """Say which build failed and what it said last, as far as that is not said already."""
        self.build = self.build or build
        self.last_words = self.last_words or last_words

    def __str__(self) -> str:
        lines = [f"{self.build}: {self.cause}" if self.build else self.cause]
        if self.last_words:
            lines.append(f"its last words: {self.last_words}")
        return "\n".join(lines)


class LaunchError(MachineError):
    """QEMU or gdb did not come up; the message has exit status, command line and the end of stderr."""


class Timeout(MachineError):
    """A peer did not do in time what it must always do, although its process is there."""


class Hung(Timeout):
    """QEMU neither answers its monitor nor uses CPU time."""


class DebuggerError(MachineError):
    """gdb refused a command or ended."""


class MonitorError(MachineError):
    """The QMP connection is lost or out of step."""


class AgentError(MachineError):
    """The agent is not where, or did not do what, its protocol says."""


class Refused(Exception):
    """QEMU answered a QMP command with an error, its class and description: no failure of the rig."""

    def __init__(self, error_class: str, description: str) -> None:
        self.error_class = error_class
        self.description = description
        super().__init__(f"{error_class}: {description}")
