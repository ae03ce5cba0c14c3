"""display-character (LoPAR 7.3.5.3): one character on the console."""

from __future__ import annotations

from rig.model.environment import Environment
from rig.model.hypercall import Argument, Kind
from rig.model.rtas.service import BUSY, HARDWARE_ERROR, SUCCESS, Reply, Request, Service, put_off, refuse

SHAPE = "R1-7.3.5.3-9"
CHARACTERS = "R1-7.3.5.3-12"

#: what a display must show or obey: CR, LF, FF and the printable characters (LoPAR R1-7.3.5.3-5, -12, -13)
DEFINED = frozenset({0x0A, 0x0C, 0x0D, *range(0x20, 0x7F)})


class Terminal:
    """Whether the machine has a virtual terminal to print on."""

    def __init__(self, environment: Environment) -> None:
        self.present = has_terminal(environment)

    def reset(self, environment: Environment) -> None:
        """A reset makes a new device tree."""
        self.present = has_terminal(environment)


def has_terminal(environment: Environment) -> bool:
    """Whether the device tree has a ``vty`` below ``/vdevice``."""
    vdevice = environment.tree.find("/vdevice")
    return vdevice is not None and any(name.startswith("vty@") for name in vdevice.children)


def _display(request: Request) -> tuple[Reply, ...]:
    character = request.args[0] & 0xFF  # LoPAR is silent on the bits above
    if not request.state.of(Terminal).present:
        return refuse(SHAPE, HARDWARE_ERROR)
    shown: tuple[Reply, ...] = (Reply(SUCCESS, rule=CHARACTERS, console=bytes([character])),)
    if character not in DEFINED:
        shown += (Reply(SUCCESS, rule=CHARACTERS),)
    return shown + put_off(SHAPE, BUSY)


def _facts(request: Request) -> frozenset[str]:
    return frozenset() if request.state.of(Terminal).present else frozenset({"no-terminal"})


SERVICES: tuple[Service, ...] = (
    Service(
        "display-character",
        (Argument("character", Kind.CHARACTER, "the low byte is shown"),),
        (),
        ((1, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, BUSY}),
        "Shows one character on the console; -1 where there is none.",
        "LoPAR 7.3.5.3",
        (SHAPE, CHARACTERS, "R1-7.3.5.3-13"),
        _display,
        _facts,
    ),
)
