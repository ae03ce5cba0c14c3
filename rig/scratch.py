"""Folders for what machines write; they go with the machine, unless QEMU's own tests would keep theirs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder, for one machine or for those of several processes."""
    if os.environ.get("QEMU_TEST_KEEP_SCRATCH"):
        yield Path(tempfile.mkdtemp(prefix="rig-"))
        return
    with tempfile.TemporaryDirectory(prefix="rig-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def move_into(folder: Path) -> None:
    """Let this process make its folders in ``folder``, whose maker removes them should it be killed."""
    tempfile.tempdir = os.fspath(folder)
