"""What the tests of scenarios share: files to write, and an environment without a machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rig.model.environment import Environment, Node, Region

Write = Callable[[str, str], Path]

GOOD = """\
scenarios:
  - name: good
    summary: s
    steps:
      - call: {opcode: 1}
"""


def bad_step(step: str) -> str:
    return GOOD.replace("call: {opcode: 1}", step)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own: no stamp of another run counts."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder of scenarios."""
    root = tmp_path / "scenarios"
    root.mkdir()
    return root


@pytest.fixture
def write(root: Path) -> Write:
    """Write a file below the root."""

    def put(name: str, text: str) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return put


@pytest.fixture
def environment() -> Environment:
    """Two nodes of 16 MiB, the device tree at the end of the first."""
    rtas = Node("rtas", {"get-time-of-day": b"\0\0\x20\x01", "rtas-size": b"\0\0\x08\0"})
    memory = Node("memory@0", {"reg": bytes.fromhex("0000000000000000 0000000001000000")})
    return Environment(
        ram=(Region(0, 0x100_0000), Region(0x100_0000, 0x100_0000)),
        agent=Region(0, 0x80_0000),
        fdt=Region(0xE0_0000, 0x1000),
        tree=Node("", children={"rtas": rtas, "memory@0": memory}),
        version=(7, 2, 0),
    )
