"""The command line of a machine: pure text from a build, options and where the ends of its wires are."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.machine.build import Build
from rig.program import MachineOptions

#: what QEMU warns of under TCG unless it is turned off by name
CAPABILITIES = "cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off"


@dataclass(frozen=True, slots=True)
class Wires:
    """Chardev back ends of monitor, debugger and console, and the file that guest RAM is mapped from."""

    monitor: str
    debugger: str
    console: str
    ram: str


#: for a person: gdb may attach on localhost:1234, monitor and console share the terminal
BY_HAND = Wires("", "", "stdio,id=console,mux=on,signal=off", "/dev/shm/spapr-rig-ram")


def build_arguments(build: Build, options: MachineOptions, image: Path) -> list[str]:
    """What does not depend on the wires."""
    arguments = ["-nodefaults", "-no-user-config", "-display", "none", "-S"]
    if options.no_shutdown:
        arguments.append("-no-shutdown")
    if build.data_dir is not None:
        arguments += ["-L", str(build.data_dir)]
    arguments += ["-cpu", options.cpu, "-smp", options.smp, "-m", str(options.memory), "-bios", str(image)]
    for device in options.devices:
        arguments += ["-device", device]
    return [*arguments, *options.arguments]


def compose(build: Build, options: MachineOptions, image: Path, wires: Wires) -> tuple[str, ...]:
    """The words that start QEMU.

    The console's ``spapr-vty`` comes before the options' own devices, so that its address is always the same.
    """
    machine = [options.machine, CAPABILITIES, *options.options]
    words = list(build.argv)
    if options.mapping:
        machine.append("memory-backend=ram")
        ram = f"memory-backend-file,id=ram,size={options.memory}M,mem-path={wires.ram},share=on"
        words += ["-object", ram]
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
