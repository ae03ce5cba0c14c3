"""H_VOF_CLIENT (0xf005): client interface services of the firmware that QEMU has built in (``x-vof=on``).

The call itself is in no document.  What it carries is IEEE 1275's client interface: an array of 32-bit cells
with the service's name, the numbers of arguments and returns, the arguments, and room for the returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rig.model.address import in_ram, load, ram_of
from rig.model.blob import BASE
from rig.model.expectation import (
    UNSPECIFIED,
    Breach,
    Case,
    Cell,
    Exactly,
    Expectation,
    Permitted,
    Satisfies,
    Scratch,
)
from rig.model.hypercall import H_FUNCTION, H_PARAMETER, H_SUCCESS, Argument, Hypercall, Kind, State, returns
from rig.model.update_dt import Published
from rig.program import Outcome

H_VOF_CLIENT = 0xF005
INTERFACE = "IEEE 1275-1994, 6.3.1 and 6.3.2: client interface handler and services"
PRIVATE = "QEMU-private, in no document; IEEE 1275-1994, 6.3.1"
ENDS = Breach(
    "vof.ends",
    "the guest's call of the method instantiate-rtas ends QEMU, which has no such method",
    INTERFACE,
)

#: cells of the array before the first argument, and how many arguments and returns it may have together
HEADER, MOST = 3, 10
#: bytes of the longest name of a service, with its end
NAME = 64
FAILED = 0xFFFF_FFFF

#: the ranges that a service may write, from its arguments
Written = Callable[[Sequence[int]], Sequence[tuple[int, int]]]


#: services that write more than their returns
BUFFERS: Mapping[str, Written] = {
    "getprop": lambda args: ((args[2], args[3]),) if len(args) > 3 else (),
    "nextprop": lambda args: ((args[2], 32),) if len(args) > 2 else (),
    "package-to-path": lambda args: ((args[1], args[2]),) if len(args) > 2 else (),
    "instance-to-path": lambda args: ((args[1], args[2]),) if len(args) > 2 else (),
}


def _text(state: State, address: int) -> str | None:
    """The string at ``address``; ``None`` where none ends within :data:`NAME` bytes of memory."""
    data = load(state.memory, address, NAME)
    end = data.find(b"\0")
    return None if end < 0 or not in_ram(state, address, end + 1) else data[:end].decode("latin-1")


def _property(name: str, args: Sequence[int], state: State) -> Permitted:
    """The first return of a service whose answer the device tree gives; nodes' handles are the firmware's."""
    if name == "finddevice" and args and (path := _text(state, args[0])) is not None:
        there = state.environment.tree.find(path) is not None
        return Satisfies(lambda seen: (seen != FAILED) == there, "a handle" if there else "no handle", FAILED)
    return UNSPECIFIED


def _expect(registers: Mapping[str, int], state: State) -> Expectation:
    block = registers.get("r4", 0)
    if "x-vof=on" not in ",".join(state.environment.options.options).split(","):
        return Expectation("H_VOF_CLIENT", (returns(H_FUNCTION, PRIVATE),), {"block": block}, footprint=())
    refused = returns(H_PARAMETER, PRIVATE, "refused")
    header = load(state.memory, block, 4 * HEADER)
    service, nargs, nret = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4, 8))
    name = _text(state, service)
    arguments = {"block": block, "nargs": nargs, "nret": nret}
    whole = in_ram(state, block, 4 * HEADER) and nargs + nret <= MOST
    if not whole or name is None or not in_ram(state, block, 4 * (HEADER + nargs + nret)):
        return Expectation("H_VOF_CLIENT", (refused,), arguments, frozenset({"bad-array"}))
    data = load(state.memory, block + 4 * HEADER, 4 * nargs)
    args = [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]
    rets = block + 4 * (HEADER + nargs)
    cells = tuple(
        Cell(
            rets + 4 * index,
            4,
            UNSPECIFIED if index else _property(name, args, state),
            f"rets[{index}]",
            INTERFACE,
        )
        for index in range(nret)
    )
    ranges = BUFFERS[name](args) if name in BUFFERS else ()
    scratch = tuple(
        Scratch(at, size, INTERFACE) for start, length in ranges for at, size in ram_of(state, start, length)
    )

    def kept(_: Outcome) -> None:
        answer = int.from_bytes(load(state.memory, rets, 4))
        if name == "setprop" and len(args) == 4 and _text(state, args[1]) == BASE and answer == args[3]:
            state.of(Published).rtas_base = int.from_bytes(load(state.memory, args[2], 4))

    done = Case(name, {"r3": Exactly(H_SUCCESS)}, cells, scratch=scratch, effect=kept, rule=INTERFACE)
    # How many arguments a service may leave out is the firmware's business.
    cases: tuple[Case, ...] = (done, refused) if nargs + nret == MOST else (done,)
    if name == "call-method" and args and _text(state, args[0]) == "instantiate-rtas":
        cases += (Case("QEMU ends", ending="died", breach=ENDS, rule=INTERFACE),)
    return Expectation(f"vof {name}", cases, arguments, frozenset())


HYPERCALLS = (
    Hypercall(
        H_VOF_CLIENT,
        "H_VOF_CLIENT",
        (Argument("block", Kind.ADDRESS, "guest physical address of a client interface argument array"),),
        "Calls a client interface service of QEMU's own firmware (x-vof=on). H_PARAMETER for an array that "
        "is not whole. Writes the returns, and the buffers that the service is given.",
        PRIVATE,
        _expect,
    ),
)

__all__ = ["HYPERCALLS", "H_VOF_CLIENT"]
