"""The calls for enhanced I/O error handling, EEH (LoPAR 7.3.11, 7.3.12), where no function has EEH.

QEMU implements EEH for passed-through (VFIO) functions only; the machines that the rig makes have none, so
that no address is in a partitionable endpoint (PE) and no PE has a state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rig.model.expectation import UNSPECIFIED, Breach, Exactly
from rig.model.hypercall import Argument, Kind
from rig.model.rtas.bridges import REGISTER, bridges, unit_id
from rig.model.rtas.service import (
    EXTENDED_DELAY,
    HARDWARE_ERROR,
    PARAMETER_ERROR,
    SUCCESS,
    Reply,
    Request,
    Service,
    only_block,
    refuse,
)

WITHOUT_EEH = "R1-7.3.11-3"
CAPABILITY = "R1-7.3.11.3-4"
PE_ADDRESS = "R1-7.3.12.2-2"
INFORMATION = "R1-7.3.11.4-2"
STATE_SHAPE = "R1-7.3.11.3-1"

UNEXPECTED_STATE = -7
NO_FUNDAMENTAL_RESET = -8
#: status of ibm,slot-error-detail
NO_ERROR_LOG = 1

#: functions of ibm,get-config-addr-info2
PE_CONFIG_ADDRESS = 0
SHARED_STATE = 1
SHARED_REFUSED = Breach(
    "eeh.shared-state-refused",
    "a function that is in no PE is a parameter error instead of being said to be in none",
    INFORMATION,
)

#: outputs of ibm,get-config-addr-info2 function 1 and ibm,read-slot-reset-state2 for what has no EEH
NOT_IN_PE = 0
NOT_SUPPORTED = 0


def _exists(request: Request) -> bool:
    """Whether the address is that of a function in the device tree."""
    address, high, low = request.args[:3]
    bridge = bridges(request.state.environment).get(unit_id(high, low))
    return bridge is not None and address in bridge.functions


def _facts(request: Request) -> frozenset[str]:
    address, high, low = request.args[:3]
    facts = {"function-exists" if _exists(request) else "no-such-function"}
    if unit_id(high, low) not in bridges(request.state.environment):
        facts.add("no-such-bridge")
    if address & REGISTER:
        facts.add("register-not-zero")
    return frozenset(facts)


def _without_eeh(rule: str) -> Callable[[Request], tuple[Reply, ...]]:
    return lambda _: refuse(rule)


def _information(request: Request) -> tuple[Reply, ...]:
    refused = Reply(PARAMETER_ERROR, rule=INFORMATION)
    if request.args[3] == PE_CONFIG_ADDRESS:
        return (refused,)
    outside = Reply(SUCCESS, (Exactly(NOT_IN_PE),), rule=INFORMATION)
    if request.args[3] != SHARED_STATE:
        return (refused,)
    # Whether an address that names nothing is wrong or merely outside every PE is left open.
    if _exists(request):
        refused = replace(refused, breach=SHARED_REFUSED)
    return (outside, refused)


def _state(request: Request) -> tuple[Reply, ...]:
    """The state of what is in no PE: only the capability output says something.

    The call's table lists -3 without saying for which addresses, so that it is permitted for all.
    """
    shown = Reply(SUCCESS, (UNSPECIFIED, Exactly(NOT_SUPPORTED), UNSPECIFIED), rule=STATE_SHAPE)
    return (shown, Reply(PARAMETER_ERROR, rule=STATE_SHAPE))


ADDRESS = (
    Argument("config_addr", Kind.CONFIG_ADDRESS, "bus, device and function; the register fields are 0"),
    Argument("unit_high", Kind.BUID_HIGH, "high half of the PHB's unit ID"),
    Argument("unit_low", Kind.BUID_LOW, "low half of the PHB's unit ID"),
)
FUNCTION = Argument("function", Kind.OPERATION)

SERVICES: tuple[Service, ...] = (
    Service(
        "ibm,set-eeh-option",
        (*ADDRESS, FUNCTION),
        (),
        ((4, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR, UNEXPECTED_STATE}),
        "Enables or disables EEH for a PE, or lets a stopped PE go on; -3 for an address without EEH.",
        "LoPAR 7.3.11.1",
        ("R1-7.3.11.1-1", WITHOUT_EEH),
        _without_eeh(WITHOUT_EEH),
        _facts,
        only_block,
    ),
    Service(
        "ibm,set-slot-reset",
        (*ADDRESS, FUNCTION),
        (),
        ((4, 1),),
        frozenset({SUCCESS, HARDWARE_ERROR, PARAMETER_ERROR, UNEXPECTED_STATE, NO_FUNDAMENTAL_RESET}),
        "Activates or deactivates the reset of a PE; -3 for an address without EEH.",
        "LoPAR 7.3.11.2",
        ("R1-7.3.11.2-1", WITHOUT_EEH),
        _without_eeh(WITHOUT_EEH),
        _facts,
        only_block,
    ),
    Service(
        "ibm,read-slot-reset-state2",
        ADDRESS,
        ("state", "capabilities", "unavailable"),
        # A fifth output needs /rtas/ibm,read-slot-reset-state-functions, which offers it.
        ((3, 4),),
        frozenset({SUCCESS, PARAMETER_ERROR}),
        "Shows the state of a PE, and whether an address has EEH.",
        "LoPAR 7.3.11.3",
        (STATE_SHAPE, CAPABILITY),
        _state,
        _facts,
        only_block,
    ),
    Service(
        "ibm,get-config-addr-info2",
        (*ADDRESS, FUNCTION),
        ("info",),
        ((4, 2),),
        frozenset({SUCCESS, PARAMETER_ERROR}),
        "Shows the address of the PE that an address is in (function 0; -3 where it is in none), or whether "
        "that PE is shared (function 1; 0 where it is in none).",
        "LoPAR 7.3.11.4",
        ("R1-7.3.11.4-1", INFORMATION),
        _information,
        _facts,
        only_block,
    ),
    Service(
        "ibm,slot-error-detail",
        (
            *ADDRESS,
            Argument("driver_buffer", Kind.ADDRESS, "log of the device driver"),
            Argument("driver_length", Kind.LENGTH),
            Argument("buffer", Kind.ADDRESS, "where the log is returned"),
            Argument("length", Kind.LENGTH),
            FUNCTION,
        ),
        (),
        ((8, 1),),
        frozenset({SUCCESS, NO_ERROR_LOG, HARDWARE_ERROR, PARAMETER_ERROR}),
        "Returns the log of an EEH error, or gives the PE up for good; -3 for an address without EEH.",
        "LoPAR 7.3.11.5",
        ("R1-7.3.11.5-1", WITHOUT_EEH),
        _without_eeh(WITHOUT_EEH),
        _facts,
        only_block,
    ),
    Service(
        "ibm,configure-pe",
        ADDRESS,
        (),
        ((3, 1),),
        frozenset({SUCCESS, PARAMETER_ERROR, *EXTENDED_DELAY}),
        "Brings the functions of a PE back to where they were at boot; -3 for what is no PE's address.",
        "LoPAR 7.3.12.2",
        ("R1-7.3.12.2-1", PE_ADDRESS),
        _without_eeh(PE_ADDRESS),
        _facts,
        only_block,
    ),
)
