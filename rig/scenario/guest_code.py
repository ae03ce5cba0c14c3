"""Guest code for scenarios that execute some (:class:`rig.program.Run`)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from rig.program import Seed
from rig.scenario.script import Stage

#: ``sc 0``, with which a routine ends
END = bytes.fromhex("44000002")
#: ``blr``
RETURN = bytes.fromhex("4e800020")


def load_immediate(value: int, register: int = 3) -> bytes:
    """``li register, value``."""
    return (0x3800_0000 | register << 21 | value).to_bytes(4, "big")


def put(stage: Stage, address: int, code: bytes) -> Generator[Seed, Any, None]:
    """Put code into memory so that it runs; for scenarios that have ``memories`` in their ``needs``.

    QEMU does not see what the host stores through a mapping, and a machine that was reset may still have
    translated what was there before: so it goes by way of gdb as well.
    """
    yield Seed(address, code)
    stage.memories["gdb"].write(address, code)


__all__ = ["END", "RETURN", "load_immediate", "put"]
