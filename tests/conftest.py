"""What every test shares: the QEMU under test, a short directory, and a check for leaked processes."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

# Shells have SIGINT ignored in what they start in the background, and so would be all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing here is judged by the clock: the host may be slow.
settings.register_profile("rig", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("rig")

#: seconds that a process already told to end may take to do so
GRACE = 5.0


@pytest.fixture(scope="session")
def qemu() -> Path:
    """The real QEMU, found as ``rig run`` finds it: QEMU_TEST_QEMU_BINARY, then QEMU, then PATH."""
    name = os.environ.get("QEMU_TEST_QEMU_BINARY") or os.environ.get("QEMU") or "qemu-system-ppc64"
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"no QEMU to test with: {name} is no executable; run ci/setup --tests", pytrace=False)
    return Path(found).absolute()


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """An empty directory, mode 0700, whose path leaves room for a socket's name (108 bytes in all)."""
    path = Path(tempfile.mkdtemp(prefix="rig-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail a test that leaves a QEMU or a gdb behind, and end that process.

    Processes of wider fixtures, older than the test, may stay.  Processes that a dead child left to init
    are not seen here: a test that kills a rig looks after those itself.
    """
    before = _emulators()
    yield
    _, alive = psutil.wait_procs(_emulators() - before, timeout=GRACE)
    left = [f"{process.pid} {process.name()}" for process in alive]
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=GRACE)
    if left:
        pytest.fail(f"the test left processes behind: {', '.join(left)}", pytrace=False)


def _emulators() -> set[psutil.Process]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith(("qemu", "gdb")):
                found.add(process)
        except psutil.NoSuchProcess:
            continue
    return found
