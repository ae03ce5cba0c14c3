"""ibm,set-tce-bypass and quiesce: virtual I/O, as SLOF leaves it to the operating system.

LoPAR names neither.  What they do to a device's DMA cannot be seen by a call that the model knows; what
every service must leave alone is judged all the same.
"""

from __future__ import annotations

from rig.model.environment import Environment
from rig.model.hypercall import Argument, Kind
from rig.model.rtas.service import PARAMETER_ERROR, SUCCESS, Reply, Request, Service, only_block

SOURCE = "LoPAR is silent; 7.2.7: -3 is the right status for a bad parameter"


class Units:
    """Unit addresses of the virtual devices that do DMA."""

    def __init__(self, environment: Environment) -> None:
        self.with_dma = units(environment)

    def reset(self, environment: Environment) -> None:
        """A reset makes a new device tree."""
        self.with_dma = units(environment)


def units(environment: Environment) -> frozenset[int]:
    """``reg`` of each child of ``/vdevice`` that has a DMA window."""
    vdevice = environment.tree.find("/vdevice")
    nodes = vdevice.children.values() if vdevice else ()
    return frozenset(
        unit for node in nodes if "ibm,my-dma-window" in node.properties for unit in node.cells("reg")
    )


def _bypass(request: Request) -> tuple[Reply, ...]:
    done, refused = Reply(SUCCESS, rule=SOURCE), Reply(PARAMETER_ERROR, rule=SOURCE)
    return (done,) if request.args[0] in request.state.of(Units).with_dma else (refused, done)


def _bypass_facts(request: Request) -> frozenset[str]:
    known = request.args[0] in request.state.of(Units).with_dma
    return frozenset() if known else frozenset({"no-dma-window"})


def _quiesce(_: Request) -> tuple[Reply, ...]:
    return (Reply(SUCCESS, rule=SOURCE),)


SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,set-tce-bypass",
        (Argument("unit", Kind.VALUE, "reg of the virtual device"), Argument("enable", Kind.BOOLEAN)),
        (),
        ((2, 1),),
        frozenset({SUCCESS, PARAMETER_ERROR}),
        "Lets a virtual device reach memory without translation, or ends that.",
        SOURCE,
        (),
        _bypass,
        _bypass_facts,
        buffers=only_block,
    ),
    Service(
        "quiesce",
        (),
        (),
        ((0, 1),),
        frozenset({SUCCESS, PARAMETER_ERROR}),
        "Ends all DMA of virtual devices.",
        SOURCE,
        (),
        _quiesce,
        buffers=only_block,
    ),
)

__all__ = ["SERVICES", "Units", "units"]
