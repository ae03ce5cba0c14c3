"""QEMU's own firmware (Virtual Open Firmware): its client interface, and RTAS put in place through it.

In most of these the agent is in the place of the firmware's own image, whose part it plays: it puts the code
of RTAS into memory and tells QEMU where (LoPAR R1-7.2.4-1).  In those that begin with ``image`` it is that
image's client, which has it instantiate RTAS.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Sequence
from typing import Any

from rig.model.vof import H_VOF_CLIENT
from rig.program import Call, Host, MachineOptions, Requirement, Rtas, Run, Seed, Step
from rig.scenario.script import Disagreement, Playing, Stage, scenario

ARRAY, STRINGS, BUFFER = 0x90_8000, 0x90_9000, 0x90_A000
#: BASE is where images/client.S lets the firmware put RTAS
CODE, BLOCK, BASE = 0xC0_0000, 0x91_0000, 0x300_0000
#: mr r4,r3; lis r3,0; ori r3,r3,0xf000; sc 1; blr: H_RTAS with the block that r3 points at
RTAS = bytes.fromhex("7c641b783c6000006063f000440000224e800020")
#: mtctr r5; bctrl; sc 0
CALL_R5 = bytes.fromhex("7ca903a64e80042144000002")
FAILED = 0xFFFF_FFFF

#: QEMU has this firmware since 6.1, and shows its device tree to the host since 7.2
VOF = MachineOptions(options=("x-vof=on",))
SINCE = Requirement(versions=">=7.2")
#: the same with the firmware's own image, which is to start its client where that was linked
IMAGE = MachineOptions(options=("x-vof=on", "kernel-addr=0"), firmware="vof")
SERVICES: frozenset[str | int] = frozenset(
    {
        "get-sensor-state",
        "get-time-of-day",
        "ibm,get-system-parameter",
        "nvram-fetch",
        "query-cpu-stopped-state",
    }
)

#: what a part of a scenario yields and returns
Part = Generator[Step | Sequence[Step], Any, Any]


def client(stage: Stage, service: str, args: Sequence[int | str], nret: int = 1) -> Part:
    """One service of the client interface; strings are put into memory.  What it returned."""
    text, cells = service.encode() + b"\0", []
    for arg in args:
        if isinstance(arg, str):
            cells.append(STRINGS + len(text))
            text += arg.encode() + b"\0"
        else:
            cells.append(arg)
    array = struct.pack(f">{3 + len(cells)}I", STRINGS, len(cells), nret, *cells)
    yield [
        Seed(STRINGS, text.ljust(256, b"\0")),
        Seed(ARRAY, array + bytes(4 * nret)),
        Call(H_VOF_CLIENT, (ARRAY,)),
    ]
    return struct.unpack(f">{nret}I", stage.memory.read(ARRAY + len(array), 4 * nret))


def through_blob(stage: Stage, token: int, args: Sequence[int], nret: int) -> Part:
    """Call a service as an operating system does: branch to RTAS with the block in r3.  What it returned."""
    block = struct.pack(f">{3 + len(args)}I", token, len(args), nret, *args)
    touches = ((BLOCK, 256), (CODE, len(CALL_R5)), (BASE, 0x1000))
    yield [Seed(CODE, CALL_R5), Seed(BLOCK, block + bytes(4 * nret))]
    yield Run(CODE, {"r3": BLOCK, "r5": BASE}, touches)
    return struct.unpack(f">{nret}I", stage.memory.read(BLOCK + len(block), 4 * nret))


def agree(what: str, seen: object, expected: object) -> None:
    """Raise :class:`Disagreement` where two ways differ."""
    if seen != expected:
        raise Disagreement("agreement.vof", f"{what}: {seen}, expected {expected}")


def instantiated(stage: Stage) -> Part:
    """Put RTAS at :data:`BASE` and tell QEMU."""
    yield Seed(BASE, RTAS)
    yield from told(stage)


def told(stage: Stage) -> Part:
    """Tell QEMU where RTAS is, in the properties that Linux sets once the firmware has instantiated it."""
    yield Seed(BUFFER, BASE.to_bytes(4, "big"))
    (node,) = yield from client(stage, "finddevice", ("/rtas",))
    for name in ("linux,rtas-base", "linux,rtas-entry"):
        (length,) = yield from client(stage, "setprop", (node, name, BUFFER, 4))
        agree(f"length of {name}", length, 4)


def answers(stage: Stage) -> Part:
    """The same blocks by the hypercall and by branching to RTAS."""
    tokens = stage.environment.tokens
    for service, args, nret in (
        ("nvram-fetch", (0, 0xA0_0000, 16), 2),
        ("query-cpu-stopped-state", (0,), 2),
        ("get-sensor-state", (9999, 0), 2),
        ("ibm,get-system-parameter", (0xFFFF, 0xA0_0000, 16), 1),
    ):
        yield Rtas(service, args, nret, block=BLOCK)
        direct = struct.unpack(f">{nret}I", stage.memory.read(BLOCK + 12 + 4 * len(args), 4 * nret))
        seen = yield from through_blob(stage, tokens[service], args, nret)
        agree(service, seen, direct)
    time = yield from through_blob(stage, tokens["get-time-of-day"], (), 8)
    agree("status of get-time-of-day", time[0], 0)
    yield Rtas("get-time-of-day", nret=8, block=BLOCK)


@scenario(
    name="properties",
    summary="the client interface finds the nodes and properties of the device tree, and no others",
    machine=VOF,
    requires=SINCE,
    issues=frozenset({H_VOF_CLIENT}),
)
def properties(stage: Stage) -> Playing:
    """/rtas and its properties as the host sees them."""
    (nowhere,) = yield from client(stage, "finddevice", ("/no-such-node",))
    agree("the handle of a node that is not there", nowhere, FAILED)
    (node,) = yield from client(stage, "finddevice", ("/rtas",))
    rtas = stage.environment.tree.find("/rtas")
    for name, value in () if rtas is None else rtas.properties.items():
        (length,) = yield from client(stage, "getproplen", (node, name))
        agree(f"length of {name}", length, len(value))
        (length,) = yield from client(stage, "getprop", (node, name, BUFFER, 256))
        agree(name, stage.memory.read(BUFFER, min(length, 256)), value[:256])
    (length,) = yield from client(stage, "getproplen", (node, "no-such-property"))
    agree("length of a property that is not there", length, FAILED)


@scenario(
    name="through-the-blob",
    summary="services called through the code of RTAS answer as the hypercall does",
    machine=VOF,
    requires=SINCE,
    requirements=("R1-7.2.4-1",),
    issues=SERVICES | {H_VOF_CLIENT},
)
def through_the_blob(stage: Stage) -> Playing:
    """Once the place of RTAS is known."""
    yield from instantiated(stage)
    yield from answers(stage)


@scenario(
    name="registered",
    summary="routines for system resets can be registered once the firmware has instantiated RTAS",
    machine=VOF,
    requires=SINCE,
    requirements=("R1-7.3.14-2",),
    issues=frozenset({H_VOF_CLIENT, "ibm,nmi-register", "ibm,nmi-interlock"}),
)
def registered(stage: Stage) -> Playing:
    """Before and after."""
    yield Rtas("ibm,nmi-register", (0xC1_0000, 0xC1_0100))
    yield from instantiated(stage)
    yield Rtas("ibm,nmi-register", (0xC1_0000, 0xC1_0100))
    yield Rtas("ibm,nmi-interlock")


@scenario(
    name="image-rtas",
    summary="services called through the RTAS of the firmware's own image, before and after a reset",
    machine=IMAGE,
    requires=SINCE,
    requirements=("R1-7.2.4-1",),
    issues=SERVICES,
)
def image_rtas(stage: Stage) -> Playing:
    """The image has called the method for its client, and does so again when the machine is reset."""
    yield from answers(stage)
    yield Host("system_reset")
    yield from answers(stage)


@scenario(
    name="image-registered",
    summary="routines for system resets can be registered with the RTAS of the firmware's own image",
    machine=IMAGE,
    requires=SINCE,
    requirements=("R1-7.3.14-2",),
    issues=frozenset({H_VOF_CLIENT, "ibm,nmi-register", "ibm,nmi-interlock"}),
)
def image_registered(stage: Stage) -> Playing:
    """As an operating system does it."""
    yield from told(stage)
    yield [Rtas("ibm,nmi-register", (0xC1_0000, 0xC1_0100)), Rtas("ibm,nmi-interlock")]


@scenario(
    name="method",
    summary="a call of the method instantiate-rtas, which QEMU leaves to the firmware's image, is answered",
    machine=VOF,
    requires=SINCE,
    issues=frozenset({H_VOF_CLIENT}),
)
def method(stage: Stage) -> Playing:
    """What the firmware's image does not take up itself reaches QEMU."""
    (handle,) = yield from client(stage, "open", ("/rtas",))
    yield from client(stage, "call-method", ("instantiate-rtas", handle, BASE), 2)


@scenario(
    name="bad-arrays",
    summary="arrays that are not whole, and services that do not exist",
    machine=VOF,
    requires=SINCE,
    issues=frozenset({H_VOF_CLIENT}),
)
def bad_arrays(stage: Stage) -> Playing:
    """Refused, or answered with failure, and nothing else changes."""
    end = stage.environment.ram[-1].end
    yield Seed(STRINGS, b"finddevice\0/\0" + b"x" * 256)
    for cells in (
        (STRINGS, 11, 0),
        (STRINGS, 0xFFFF_FFFF, 1),
        (STRINGS, 1, 0xFFFF_FFFF),
        (STRINGS + 13, 1, 1),
        (end & 0xFFFF_FFFF, 1, 1),
    ):
        yield [Seed(ARRAY, struct.pack(">3I", *cells) + bytes(64)), Call(H_VOF_CLIENT, (ARRAY,))]
    yield Call(H_VOF_CLIENT, (end,))
    yield Call(H_VOF_CLIENT, (end - 4,))
    yield from client(stage, "no-such-service", (1, 2))
    yield from client(stage, "milliseconds", ())


@scenario(
    name="without",
    summary="without this firmware there is no such hypercall",
    issues=frozenset({H_VOF_CLIENT}),
)
def without(stage: Stage) -> Playing:
    """On a machine with the usual firmware."""
    yield Call(H_VOF_CLIENT, (ARRAY,))
