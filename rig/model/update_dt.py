"""H_UPDATE_DT (0xf003): the guest's firmware hands its own device tree to the platform.

No document describes the call.  It exists so that the platform learns what firmware added to the tree, such
as the place of RTAS in memory; a tree that is not whole must not be taken.
"""

from __future__ import annotations

from collections.abc import Mapping

from rig.model.address import in_ram, load
from rig.model.blob import BASE, rtas_properties, total_size
from rig.model.environment import Environment
from rig.model.expectation import Case, Exactly, Expectation
from rig.model.hypercall import H_PARAMETER, H_SUCCESS, Argument, Hypercall, Kind, State, returns
from rig.program import Outcome

H_UPDATE_DT = 0xF003
PRIVATE = "QEMU-private, in no document"

#: Real-mode addresses have 60 bits.
REAL_ADDRESS = (1 << 60) - 1


class Published:
    """Where the platform believes RTAS's private area to be; ``None`` as long as nobody told it."""

    def __init__(self, environment: Environment) -> None:
        self.rtas_base: int | None = None
        self.reset(environment)

    def reset(self, environment: Environment) -> None:
        """A reset brings back the platform's own tree."""
        rtas = environment.tree.find("/rtas")
        self.take({} if rtas is None else rtas.properties)

    def take(self, properties: Mapping[str, bytes]) -> None:
        """Look into the properties of a new tree's ``/rtas``."""
        base = properties.get(BASE)
        self.rtas_base = None if base is None else int.from_bytes(base[:4], "big")


def _expect(registers: Mapping[str, int], state: State) -> Expectation:
    r4 = registers.get("r4", 0)
    address = r4 & REAL_ADDRESS
    size = total_size(bytes(load(state.memory, address, 8)))
    facts = set() if in_ram(state, address, size or 8) else {"tree-outside-memory"}
    if r4 != address:
        facts.add("address-high-bits")
    grown = size > 2 * state.environment.fdt.length
    if grown:
        facts.add("tree-grown")
    properties = None if grown else rtas_properties(bytes(load(state.memory, address, size)))
    refused = returns(H_PARAMETER, PRIVATE, "refused")
    if not grown and properties is None:
        facts.add("tree-damaged")
        return Expectation("H_UPDATE_DT", (refused,), {"address": r4}, frozenset(facts))
    published = state.of(Published)

    def take(outcome: Outcome) -> None:
        if properties is not None and outcome.registers.get("r3") == H_SUCCESS:
            published.take(properties)

    accepted = Case("accepted", {"r3": Exactly(H_SUCCESS)}, effect=take, rule=PRIVATE)
    # How much a tree may grow, and what lies above real-mode addresses, is the platform's business.
    cases = (accepted, refused) if facts else (accepted,)
    return Expectation("H_UPDATE_DT", cases, {"address": r4}, frozenset(facts))


HYPERCALLS = (
    Hypercall(
        H_UPDATE_DT,
        "H_UPDATE_DT",
        (Argument("address", Kind.ADDRESS, "guest physical address of a flattened device tree"),),
        "Replaces the device tree that the platform keeps. H_PARAMETER for one that is not whole. Changes no "
        "memory.",
        PRIVATE,
        _expect,
    ),
)

__all__ = ["HYPERCALLS", "H_UPDATE_DT", "Published"]
