"""Command lines are text from a build and options."""

from __future__ import annotations

import shlex
from pathlib import Path

from rig.machine.build import Build
from rig.machine.command_line import BY_HAND, Wires, compose, pastable
from rig.program import MachineOptions

BUILD = Build(Path("/q/qemu"), ("/q/ld.so", "/q/qemu"), (7, 2, 0), "7.2.0", "0" * 64, Path("/q/share"))
WIRES = Wires(
    "socket,id=monitor,fd=3", "socket,id=debugger,fd=4", "socket,id=console,fd=5", ("/proc/self/fd/6",)
)
IMAGE = Path("/i/agent.bin")


def value(words: tuple[str, ...], option: str) -> str:
    return words[words.index(option) + 1]


def test_every_option_reaches_qemu() -> None:
    options = MachineOptions(
        memory=768,
        cpu="power8",
        machine="pseries-5.2",
        options=("ic-mode=xics",),
        smp="2",
        devices=("e1000",),
        arguments=("-rtc", "base=utc"),
    )
    words = compose(BUILD, options, IMAGE, WIRES)
    assert words[:2] == BUILD.argv
    assert value(words, "-L") == "/q/share"
    assert value(words, "-M").startswith("pseries-5.2,cap-cfpc=broken,")
    assert value(words, "-M").endswith(",ic-mode=xics,memory-backend=ram")
    assert (value(words, "-cpu"), value(words, "-smp"), value(words, "-m")) == ("power8", "2", "768")
    assert value(words, "-object").endswith("size=768M,mem-path=/proc/self/fd/6,share=on")
    assert value(words, "-bios") == "/i/agent.bin"
    assert words[-4:] == ("-device", "e1000", "-rtc", "base=utc")
    assert {"-nodefaults", "-no-user-config", "-S", "-no-shutdown"} <= set(words)


def test_without_mapping_and_console_neither_is_there() -> None:
    text = " ".join(compose(BUILD, MachineOptions(mapping=False, console=False), IMAGE, WIRES))
    assert "memory-backend" not in text
    assert "vty" not in text
    assert "id=console" not in text


def test_the_line_by_hand_survives_a_shell() -> None:
    words = compose(BUILD, MachineOptions(options=("x='a b'",)), IMAGE, BY_HAND)
    assert tuple(shlex.split(pastable(words))) == words
    assert "fd=" not in pastable(words)
