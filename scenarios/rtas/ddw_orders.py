"""Every order in which a guest may call the services for DMA windows, with a query after each call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from rig.program import Ref, Rtas, Step
from rig.scenario.script import Playing, Stage, scenario

PHB = (0, 0x0800_0000, 0x2000_0000)
DEFAULT = Ref("$fdt:/pci@800000020000000:ibm,dma-window[0]")

QUERY = Rtas("ibm,query-pe-dma-window", PHB, nret=5)
RESET = Rtas("ibm,reset-pe-dma-window", PHB)
REMOVE_DEFAULT = Rtas("ibm,remove-pe-dma-window", (DEFAULT,))
#: the name is that of the window made last, which is removed first
CREATE = Rtas("ibm,create-pe-dma-window", (*PHB, 16, 30), nret=4, name="made")
REMOVE = Rtas("ibm,remove-pe-dma-window", (Ref("$made.rets[1]"),))

CALLS = (CREATE, REMOVE, REMOVE_DEFAULT, RESET)
LENGTH = 3


def orders() -> Iterator[tuple[Rtas, ...]]:
    """Every order of ``LENGTH`` calls in which nothing is removed before something was made."""
    for calls in product(CALLS, repeat=LENGTH):
        first = calls.index(CREATE) if CREATE in calls else LENGTH
        if REMOVE not in calls[:first]:
            yield calls


@scenario(
    name="three",
    summary="create, remove, remove the default and reset in every order of three, with a query after each",
    requirements=("R1-7.3.27.1-2", "R1-7.3.27.2-2", "R1-7.3.27.3-1", "R1-7.3.27.3-3", "R1-7.3.27.4.1-3"),
    issues=frozenset(str(call.service) for call in (QUERY, *CALLS)),
)
def three(_: Stage) -> Playing:
    """Start every order from the default window alone."""
    for calls in orders():
        steps: list[Step] = [RESET, QUERY]
        for call in calls:
            steps += [call, QUERY]
        yield steps
