"""Why a status that the contract permits is not seen on QEMU: what it would take to see it.

A status that is not here can be brought about, and some scenario of the shipped ones does so.
"""

from __future__ import annotations

from collections.abc import Mapping

from rig.model.rtas.service import BUSY, EXTENDED_DELAY, HARDWARE_ERROR

FAILING = "needs hardware that fails"
NEVER_BUSY = "QEMU is never busy"
NEVER_LATER = "QEMU answers at once and never asks to be called again"
PASSED_THROUGH = "needs a host's device, passed through by VFIO"
NO_SENSORS = "QEMU's only sensors are those of connectors"
NO_PROCEDURE = "QEMU's connectors ask for no steps of a person or of a system"
ONE_NODE = "what can be plugged is shown as one node"
NO_BUS = "QEMU serves it for a host bridge whose unit id is 0, and has none"

#: for every service
ANY: Mapping[int, str] = {
    HARDWARE_ERROR: FAILING,
    BUSY: NEVER_BUSY,
    **dict.fromkeys(EXTENDED_DELAY, NEVER_LATER),
}


def _otherwise(deviation: str) -> str:
    return f"QEMU answers otherwise: deviation {deviation}"


#: by service
OWN: Mapping[str, Mapping[int, str]] = {
    "event-scan": {0: "QEMU reports every event by an interrupt, for check-exception"},
    "get-sensor-state": {
        **dict.fromkeys(range(9, 14), NO_SENSORS),
        **dict.fromkeys((-9000, -9001, -9002), NO_PROCEDURE),
    },
    "ibm,configure-connector": {
        1: ONE_NODE,
        4: ONE_NODE,
        5: "QEMU asks for no more memory than the work area",
        **dict.fromkeys((-9001, -9002), NO_PROCEDURE),
    },
    "ibm,configure-kernel-dump": {-8: "R1-7.3.26-5 alone says so; table and QEMU say -9"},
    "ibm,configure-pe": {0: PASSED_THROUGH},
    "ibm,get-config-addr-info2": {0: PASSED_THROUGH},
    "ibm,get-system-parameter": {-9002: "QEMU lets a partition read every parameter that it has"},
    "ibm,query-interrupt-source-number": {1: _otherwise("interrupt-not-assigned")},
    "ibm,read-pci-config": {-3: _otherwise("pci-config-hardware-error")},
    "ibm,read-slot-reset-state2": {0: PASSED_THROUGH},
    "ibm,set-eeh-option": dict.fromkeys((0, -7), PASSED_THROUGH),
    "ibm,set-slot-reset": dict.fromkeys((0, -7, -8), PASSED_THROUGH),
    "ibm,set-system-parameter": dict.fromkeys((0, -9999), "QEMU has no parameter that a partition may set"),
    "ibm,slot-error-detail": dict.fromkeys((0, 1), PASSED_THROUGH),
    "ibm,suspend-me": {
        9000: "QEMU never gives a suspension up",
        -9004: "QEMU can always suspend",
        -9006: "QEMU has no coprocessors",
    },
    "ibm,write-pci-config": {-3: _otherwise("pci-config-hardware-error")},
    "read-pci-config": dict.fromkeys((0, -3), NO_BUS),
    "set-indicator": {-9000: _otherwise("drc-multi-level"), -9001: NO_PROCEDURE},
    "set-power-level": {-9000: "QEMU's buses have no frequency that could be wrong"},
    "start-cpu": {3: "QEMU always has what a CPU needs"},
    "write-pci-config": dict.fromkeys((0, -3), NO_BUS),
}


def why(service: str, status: int) -> str:
    """Why ``service`` is not seen to return ``status``; empty for a status that can be brought about."""
    return OWN.get(service, {}).get(status) or ANY.get(status, "")


__all__ = ["OWN", "why"]
