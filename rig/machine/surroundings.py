"""What a machine is made of as its guest finds it: memory map and device tree, and what was plugged since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rig.deadline import Deadline
from rig.machine import agent, device_tree
from rig.machine.errors import MachineError, Refused
from rig.model.environment import Environment, Node, Region
from rig.program import MachineOptions
from rig.target import GuestMemory

if TYPE_CHECKING:  # imported while QEMU starts
    from rig.machine.monitor import Monitor


def look(
    memory: GuestMemory,
    address: int,
    options: MachineOptions,
    version: tuple[int, ...],
    plugged: Iterable[Region],
    kept: Callable[[], Node],
) -> Environment:
    """The machine as of the device tree at ``address``; ``kept`` gives a tree that is not in memory."""
    try:
        fdt = Region(address, device_tree.total_size(memory.read(address, 8)))
        tree = device_tree.parse(memory.read(fdt.start, fdt.length))
    except ValueError as error:
        if "x-vof=on" not in ",".join(options.options):
            raise MachineError(
                f"no device tree at {address:#x}, where r3 pointed at entry: {error}"
            ) from error
        fdt, tree = Region(0, 0), kept()
    built_in = device_tree.memory(tree) or (Region(0, options.memory << 20),)
    return Environment(together(built_in, plugged), agent.REGION, fdt, tree, version, options)


def together(*ram: Iterable[Region]) -> tuple[Region, ...]:
    """All of these, ascending, each once."""
    return tuple(sorted({region for regions in ram for region in regions}, key=lambda region: region.start))


def kept_tree(monitor: Monitor, directory: Path, deadline: Deadline) -> Node:
    """The tree that QEMU's own firmware keeps to itself; empty before QEMU 7.2, which does not show it."""
    file = directory / "tree.dtb"
    file.unlink(missing_ok=True)
    try:
        monitor.execute("dumpdtb", {"filename": str(file)}, deadline)
    except Refused:
        return Node("")
    return device_tree.parse(file.read_bytes())


def plugged(monitor: Monitor, deadline: Deadline) -> Iterator[tuple[str, Region]]:
    """Every piece of memory that is plugged now: its back end's id, and where it is."""
    answer = monitor.execute("query-memory-devices", None, deadline)
    assert isinstance(answer, Sequence)
    for device in answer:
        assert isinstance(device, Mapping)
        data = device["data"]
        yield str(data["memdev"]).rpartition("/")[2], Region(int(data["addr"]), int(data["size"]))
