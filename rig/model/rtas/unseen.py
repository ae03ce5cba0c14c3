"""Why a status that the contract permits is never seen on QEMU: what it would take to see it."""

from __future__ import annotations

from collections.abc import Mapping

from rig.model.rtas.service import BUSY, EXTENDED_DELAY, HARDWARE_ERROR

FAILING = "needs hardware that fails"
NEVER_BUSY = "QEMU is never busy"
NEVER_LATER = "QEMU answers at once and never asks to be called again"

#: for every service
ANY: Mapping[int, str] = {
    HARDWARE_ERROR: FAILING,
    BUSY: NEVER_BUSY,
    **dict.fromkeys(EXTENDED_DELAY, NEVER_LATER),
}

#: by service
OWN: Mapping[str, Mapping[int, str]] = {}


def why(service: str, status: int) -> str:
    """Why ``service`` is not seen to return ``status``; empty for a status that can be brought about."""
    return OWN.get(service, {}).get(status) or ANY.get(status, "")


__all__ = ["why"]
