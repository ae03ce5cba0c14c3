"""display-character (LoPAR 7.3.5.3): one character on the console."""

from __future__ import annotations

from rig.model.environment import Environment
from rig.model.hypercall import Argument, Kind
from rig.model.rtas.service import BUSY, HARDWARE_ERROR, SUCCESS, Reply, Request, Service, put_off, refuse
from rig.program import Outcome

SHAPE = "R1-7.3.5.3-9"
CHARACTERS = "R1-7.3.5.3-12"

#: what a display must show or obey: CR, LF, FF and the printable characters (LoPAR R1-7.3.5.3-5, -12, -13)
DEFINED = frozenset({0x0A, 0x0C, 0x0D, *range(0x20, 0x7F)})


class Terminals:
    """How many virtual terminals the machine has, and whether characters go to the one that is watched.

    LoPAR does not say which of several is the console, only that there is one.
    """

    def __init__(self, environment: Environment) -> None:
        self.reset(environment)

    def reset(self, environment: Environment) -> None:
        """A reset makes a new device tree."""
        self.count = count(environment)
        #: ``None`` while several terminals may be the console
        self.watched = None if self.count > 1 else True


def count(environment: Environment) -> int:
    """The ``vty`` nodes below ``/vdevice``."""
    vdevice = environment.tree.find("/vdevice")
    return sum(name.startswith("vty@") for name in vdevice.children) if vdevice else 0


def _display(request: Request) -> tuple[Reply, ...]:
    terminals = request.state.of(Terminals)
    if not terminals.count:
        return refuse(SHAPE, HARDWARE_ERROR)
    character = request.args[0] & 0xFF  # LoPAR is silent on the bits above
    defined = character in DEFINED

    def found(outcome: Outcome) -> None:
        if defined and terminals.watched is None:
            terminals.watched = bool(outcome.console)

    here = Reply(SUCCESS, rule=CHARACTERS, console=bytes([character]), effect=found)
    elsewhere = Reply(SUCCESS, rule=CHARACTERS, effect=found)
    shown = [here] if terminals.watched is not False else []
    if not defined or not terminals.watched:
        shown.append(elsewhere)
    return (*shown, *put_off(SHAPE, BUSY))


def _facts(request: Request) -> frozenset[str]:
    return frozenset() if request.state.of(Terminals).count else frozenset({"no-terminal"})


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
