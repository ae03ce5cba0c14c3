"""What sanitizers say on stderr, for a QEMU that was built with some: --enable-asan, --enable-ubsan.

The one for undefined behaviour says each thing once in the life of a process, and goes on; the one for
addresses ends it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from rig.frozen import frozen

#: how a report begins: with a place in the sources, or with the kind of fault
_HEADLINE = re.compile(
    r"^\S*?(?P<file>[^/\s:]+):(?P<line>\d+)(?::\d+)?: (?P<error>runtime error: .*)"
    r"|^(?:==\d+==)?(?:ERROR|WARNING): (?P<kind>\w+Sanitizer: [\w -]+?)(?: on | \(|$)"
)
#: a line of the stack below it
_FRAME = re.compile(r"^ +#\d+ (?:0x\w+ )?(?:in )?(?P<function>\S+) (?P<file>\S+)")
_SOURCES = re.compile(r"\.c(\.inc)?:\d+")


@frozen
class Report:
    """The function of QEMU's that it is of, or where that is not told the file, and what is wrong there."""

    where: str
    words: str

    def __str__(self) -> str:
        return f"in {self.where}: {self.words}"


class Log:
    """What is new in a file to which QEMU writes its stderr."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size if path.exists() else 0

    def reports(self) -> tuple[Report, ...]:
        """The reports since the last time."""
        if self._path.stat().st_size == self._read:
            return ()
        with self._path.open("rb") as stream:
            stream.seek(self._read)
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        if _FRAME.match(whole[whole.rfind(b"\n", 0, -1) + 1 :].decode(errors="replace")):
            return ()  # the rest of the stack is still to come
        self._read += len(whole)
        return reports(whole.decode(errors="replace"))


def reports(text: str) -> tuple[Report, ...]:
    """The reports in a text."""
    return tuple(dict.fromkeys(_reports(text)))


def environment() -> Mapping[str, str]:
    """That of the rig, in which sanitizers print the stack that tells of which function a report is."""
    options = ["print_stacktrace=1", os.environ.get("UBSAN_OPTIONS", "")]
    return {**os.environ, "UBSAN_OPTIONS": ":".join(filter(None, options))}


def _reports(text: str) -> Iterator[Report]:
    where = words = ""
    placed = False
    for line in text.splitlines():
        if headline := _HEADLINE.match(line):
            if words:
                yield Report(where, words)
            placed, where = False, headline["file"] or "unknown place"
            words = headline["kind"] or f"{headline['file']}:{headline['line']}: {headline['error']}"
        elif words and not placed and (frame := _FRAME.match(line)) and _SOURCES.search(frame["file"]):
            placed, where = True, frame["function"]
    if words:
        yield Report(where, words)
