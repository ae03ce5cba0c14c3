"""The command line of a machine: pure text from a build, options and where the ends of its wires are."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rig.frozen import frozen
from rig.machine.build import Build
from rig.program import MachineOptions

#: what QEMU warns of under TCG unless it is turned off by name
CAPABILITIES = "cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off"

#: MiB by which the highest address of memory that can be plugged may miss a multiple of 1 GiB
ROOM = 1024


@frozen
class Wires:
    """Chardev back ends of monitor, debugger and console, and the files that guest RAM is mapped from.

    ``ram`` has a file for each of :func:`backends`.
    """

    monitor: str
    debugger: str
    console: str
    ram: tuple[str, ...]


#: for a person: gdb may attach on localhost:1234, monitor and console share the terminal
BY_HAND = Wires("", "", "stdio,id=console,mux=on,signal=off", ())


def backends(options: MachineOptions) -> tuple[tuple[str, int], ...]:
    """(id, MiB) of each back end of memory that the rig sees: RAM or its nodes, then what can be plugged."""
    if not options.mapping:
        return ()
    nodes = tuple((f"node{number}", size) for number, size in enumerate(options.nodes))
    dimms = tuple((f"dimm{number}", size) for number, size in enumerate(options.dimms))
    return (nodes or (("ram", options.memory),)) + dimms


def build_arguments(build: Build, options: MachineOptions, image: Path | None) -> list[str]:
    """What does not depend on the wires; without ``image`` QEMU takes its own firmware."""
    arguments = ["-nodefaults", "-no-user-config", "-display", "none", "-S"]
    if options.no_shutdown:
        arguments.append("-no-shutdown")
    if build.data_dir is not None:
        arguments += ["-L", str(build.data_dir)]
    memory = str(options.memory)
    if options.dimms:
        memory += f"M,slots={len(options.dimms)},maxmem={options.memory + sum(options.dimms) + ROOM}M"
    arguments += ["-cpu", options.cpu, "-smp", options.smp, "-m", memory]
    if image is not None:
        arguments += ["-kernel" if options.firmware == "vof" else "-bios", str(image)]
    for device in options.devices:
        arguments += ["-device", device]
    return [*arguments, *options.arguments]


def compose(build: Build, options: MachineOptions, image: Path | None, wires: Wires) -> tuple[str, ...]:
    """The words that start QEMU.

    The console's ``spapr-vty`` comes before the options' own devices, so that its address is always the same.
    """
    machine = [options.machine, CAPABILITIES, *options.options]
    words = list(build.argv)
    mapped = backends(options)
    paths = wires.ram or tuple(f"/dev/shm/spapr-rig-{name}" for name, _ in mapped)
    for (name, size), path in zip(mapped, paths, strict=False):
        words += ["-object", f"memory-backend-file,id={name},size={size}M,mem-path={path},share=on"]
    if options.mapping and not options.nodes:
        machine.append("memory-backend=ram")
    elif options.nodes:
        for number, size in enumerate(options.nodes):
            if not options.mapping:
                words += ["-object", f"memory-backend-ram,id=node{number},size={size}M"]
            words += ["-numa", f"node,nodeid={number},memdev=node{number}"]
    words += ["-M", ",".join(machine)]
    if wires.monitor:
        words += ["-chardev", wires.monitor, "-mon", "chardev=monitor,mode=control"]
        words += ["-chardev", wires.debugger, "-gdb", "chardev:debugger"]
    else:
        words += ["-gdb", "tcp:127.0.0.1:1234"]
    if options.console:
        words += ["-chardev", wires.console, "-device", "spapr-vty,chardev=console"]
        if not wires.monitor:
            words += ["-mon", "chardev=console,mode=readline"]
    elif not wires.monitor:
        words += ["-monitor", "stdio"]
    return (*words, *build_arguments(build, options, image))


def pastable(words: Sequence[str]) -> str:
    """One line for a shell."""
    return shlex.join(words)
