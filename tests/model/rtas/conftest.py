"""Parameter blocks for the RTAS tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rig.model.model import Model
from rig.program import H_RTAS, Call

BLOCK = 0x1000
FILL = 0xA5A5_A5A5

Prepare = Callable[..., Call]


def cells(*values: int) -> bytes:
    """Big-endian cells of 32 bits."""
    return b"".join((value & 0xFFFF_FFFF).to_bytes(4, "big") for value in values)


def prepare(
    model: Model,
    token: int,
    args: tuple[int, ...] = (),
    nret: int = 1,
    *,
    nargs: int | None = None,
    at: int = BLOCK,
) -> Call:
    """Put a parameter block, with pattern-filled outputs and beyond, into the model's memory."""
    header = cells(token, len(args) if nargs is None else nargs, nret, *args)
    data = header + cells(*[FILL] * 12)
    model.memory.write(at, data[: max(0, model.memory.ram[-1].end - at)])
    return Call(H_RTAS, (at,))


@pytest.fixture(scope="session", name="prepare")
def prepare_fixture() -> Prepare:
    """Makes H_RTAS calls with their blocks."""
    return prepare


@pytest.fixture(scope="session", name="cells")
def cells_fixture() -> Callable[..., bytes]:
    """Makes big-endian cells."""
    return cells
