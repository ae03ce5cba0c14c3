"""How NVRAM is divided (LoPAR 8): on a machine whose variables QEMU itself has put there (``-prom-env``).

Without them NVRAM is empty until firmware divides it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from rig.program import MachineOptions, Rtas, Step
from rig.scenario.script import Disagreement, Playing, Stage, scenario

BUFFER = 0xA0_0000
PAGE = 4096
SERVICES: frozenset[str | int] = frozenset({"nvram-fetch"})
VARIABLE = "rig?=true"
MACHINE = MachineOptions(arguments=("-prom-env", VARIABLE))

HEADER = 16
SYSTEM, FREE = 0x70, 0x7F
#: the names that LoPAR gives to these partitions, 12 bytes each
COMMON_NAME = b"common".ljust(12, b"\0")
FREE_NAME = b"w" * 12


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; ``length`` counts bytes with the header."""

    signature: int
    checksum: int
    length: int
    name: bytes
    data: bytes

    @property
    def sum(self) -> int:
        """The checksum that the header should have: signature, length and name, carries added."""
        total = 0
        for byte in (self.signature, *(self.length // 16).to_bytes(2, "big"), *self.name):
            total += byte
            total = (total & 0xFF) + (total >> 8)
        return total


def fetch(stage: Stage) -> Generator[Step, Any, bytes]:
    """All of NVRAM, page by page."""
    node = next(
        node for _, node in stage.environment.tree.walk() if node.properties.get("device_type") == b"nvram\0"
    )
    size = node.cells("#bytes")[0]
    data = b""
    for index in range(0, size, PAGE):
        yield Rtas("nvram-fetch", (index, BUFFER, PAGE), nret=2)
        data += stage.memory.read(BUFFER, PAGE)
    return data


def divide(nvram: bytes) -> list[Partition]:
    """The partitions, which must cover all of NVRAM; raises :class:`Disagreement`."""
    partitions = []
    at = 0
    while at < len(nvram):
        length = 16 * int.from_bytes(nvram[at + 2 : at + 4], "big")
        if not length or at + length > len(nvram):
            raise Disagreement("nvram.cover", f"the partition at {at:#x} has a length of {length:#x} bytes")
        name, data = nvram[at + 4 : at + HEADER], nvram[at + HEADER : at + length]
        partition = Partition(nvram[at], nvram[at + 1], length, name, data)
        if partition.checksum != partition.sum:
            raise Disagreement(
                "nvram.checksum", f"at {at:#x}: {partition.checksum:#x} instead of {partition.sum:#x}"
            )
        partitions.append(partition)
        at += length
    return partitions


@scenario(
    name="cover",
    summary="partitions with right checksums cover all of NVRAM, which has at least 8 KiB",
    machine=MACHINE,
    requirements=("R1-8.1-1", "R1-8.2-1", "R1-8.2-2"),
    issues=SERVICES,
)
def cover(stage: Stage) -> Playing:
    """Sizes and checksums."""
    nvram = yield from fetch(stage)
    if len(nvram) < 8192:
        raise Disagreement("nvram.size", f"NVRAM has {len(nvram)} bytes")
    free = [partition.length for partition in divide(nvram) if partition.signature == FREE]
    if sum(free) < 4096:
        raise Disagreement("nvram.size", f"{sum(free)} bytes are free for the operating system")


@scenario(
    name="variables",
    summary="the variables given on the command line are in one partition, called common",
    machine=MACHINE,
    requirements=("R1-8.4.1-1",),
    issues=SERVICES,
)
def variables(stage: Stage) -> Playing:
    """The partition of the system environment variables."""
    partitions = divide((yield from fetch(stage)))
    found = [partition for partition in partitions if partition.signature == SYSTEM]
    if len(found) != 1 or not found[0].data.startswith(VARIABLE.encode() + b"\0"):
        raise Disagreement("nvram.variables", f"{len(found)} partitions, {found and found[0].data[:32]!r}")
    if found[0].name != COMMON_NAME:
        raise Disagreement("nvram.common-name", f"it is called {found[0].name!r}")


@scenario(
    name="free",
    summary="free space is marked as such",
    machine=MACHINE,
    requirements=("R1-8.5-2",),
    issues=SERVICES,
)
def free(stage: Stage) -> Playing:
    """The name of every free partition."""
    for partition in divide((yield from fetch(stage))):
        if partition.signature == FREE and partition.name != FREE_NAME:
            raise Disagreement("nvram.free-name", f"it is called {partition.name!r}")
