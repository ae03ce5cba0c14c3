"""H_RTAS: its description; what it means and the services behind it are imported by the first such call."""

from __future__ import annotations

from collections.abc import Mapping

from rig.model.expectation import Expectation
from rig.model.hypercall import Argument, Footprint, Hypercall, Kind, State
from rig.program import H_RTAS

CONTRACT = "QEMU docs/specs/ppc-spapr-hcalls, H_RTAS"
BUFFER = "R1-7.2.4-3"
STATUS = "R1-7.2.8-1"


def _expect(registers: Mapping[str, int], state: State) -> Expectation:
    from rig.model.rtas import call

    return call.expect(registers, state)


def _footprint(registers: Mapping[str, int], state: State) -> Footprint:
    from rig.model.rtas import call

    return call.footprint(registers, state)


HYPERCALLS = (
    Hypercall(
        H_RTAS,
        "H_RTAS",
        (Argument("block", Kind.ADDRESS, "guest physical address of the RTAS parameter block"),),
        "Calls the RTAS service whose token the parameter block holds. H_SUCCESS when it was called, its "
        "result being in the block; H_PARAMETER for an unknown token.",
        CONTRACT,
        _expect,
        (BUFFER, STATUS),
        _footprint,
    ),
)
