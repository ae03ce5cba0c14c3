"""Which scenario files were found right before, so that they need not be checked against the schema again.

A stamp is an empty file named after a digest of the scenario file's bytes and of the code that checked them;
there is nothing in it to trust.  Without a cache folder every file is checked every time, which takes 0.2 s,
most of it for importing pydantic.
"""

from __future__ import annotations

import contextlib
import hashlib
from functools import cache
from pathlib import Path

from rig import resources

#: the modules that decide whether a file is right
_CHECKERS = ("schema", "document", "expand", "number", "reference", "reserved", "build")


def folder() -> Path:
    """Where the stamps are."""
    return resources.cache("checked")


def digest(content: bytes) -> str:
    """The stamp's name for a file's bytes."""
    return hashlib.sha256(_checkers() + content).hexdigest()


@cache
def _checkers() -> bytes:
    here = Path(__file__).parent
    return hashlib.sha256(b"\0".join((here / f"{name}.py").read_bytes() for name in _CHECKERS)).digest()


def known(name: str) -> bool:
    """Whether a file with this digest was found right."""
    return (folder() / name).exists()


def remember(name: str) -> None:
    """Stamp the digest of a file that was found right."""
    # a cache that cannot be written costs time, nothing else
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        (folder() / name).touch()
