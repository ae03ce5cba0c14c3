"""Programs and what they leave behind: frozen data, no behaviour beyond itself.

A *program* is an ordered list of steps.  Anything that can execute it is a :class:`rig.target.Target`:
a real machine or the reference model.  Numbers are unsigned unless said otherwise; addresses are guest
physical; multi-byte cells are big-endian.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from rig.frozen import frozen

H_RTAS = 0xF000
H_LOGICAL_MEMOP = 0xF001

#: the host action, no QMP command, that ends QEMU and starts another one on the same files
RESTART = "restart"
#: host actions, no QMP commands: keep the machine's whole state; bring it back; go on with it in another
#: QEMU.  ``move`` takes ``route`` (``file`` or ``socket``) and ``to`` (``same``, or ``newer`` for the build
#: that the requirement ``newer`` names).
SAVE, LOAD, MOVE = "save", "load", "move"

#: How a step may end.  ``returned``: the agent came back to its stop label.  ``reset``: the machine
#: was reset and the agent is ready again.  ``shutdown``, ``panicked``, ``suspended``: the machine stands
#: still for that reason.  ``stopped``: the calling CPU stopped itself.  ``running``: the call had not
#: returned at its deadline although the monitor could still be reached or QEMU used CPU time.
#: ``died``: the QEMU process ended by itself.
Ending = Literal["returned", "reset", "shutdown", "panicked", "suspended", "stopped", "running", "died"]


@frozen
class Ref:
    """A value that is known only while the program runs.

    ``$NAME.rets[I]`` and ``$NAME.rN``: what the step called NAME returned.  ``$fdt:PATH:PROPERTY[I]``: the
    I-th 32-bit cell of a device-tree property.  ``$ram.end``, ``$fdt.start``, ``$fdt.end``, ``$rma.end``:
    the memory map.  A decimal or hexadecimal offset may follow: ``$ram.end-16``.
    """

    text: str

    def __str__(self) -> str:
        return self.text


Value = int | Ref


@frozen
class Seed:
    """Put ``data`` into guest memory at ``address`` before the next call."""

    address: Value
    data: bytes = b""
    #: when set, big-endian cells of ``width`` bytes instead of ``data``; may contain references
    cells: tuple[Value, ...] = ()
    width: int = 4
    name: str = ""


@frozen
class Call:
    """One hypercall: ``opcode`` in r3 and up to nine argument registers r4..r12, 64 bits each."""

    opcode: Value
    args: tuple[Value, ...] = ()
    name: str = ""
    #: further registers at entry, by name (``r14``, ``cr``, ``xer`` …); the others hold a pattern
    registers: Mapping[str, int] = field(default_factory=dict)
    #: seconds the call may take; None is the rig's default
    timeout: float | None = None
    #: index of the CPU that executes it; a further one must have arrived (:class:`Arrive`)
    cpu: int = 0
    #: made in problem state (MSR[PR] = 1), which needs a machine with translation
    problem: bool = False


@frozen
class Rtas:
    """One H_RTAS call with its parameter block, resolved to a :class:`Seed` and a :class:`Call`.

    ``service`` is a name (its token comes from the device tree) or a token.  ``nargs`` and ``nret``
    are the cells announced in the block; ``nargs`` is ``len(args)`` unless given.  ``address`` is what r4
    holds, the block's own address unless given.
    """

    service: str | Value
    args: tuple[Value, ...] = ()
    nret: Value = 1
    nargs: Value | None = None
    block: Value = 0x0090_0000
    address: Value | None = None
    name: str = ""
    timeout: float | None = None
    cpu: int = 0
    problem: bool = False


@frozen
class Run:
    """Guest code to execute: a routine at ``address`` that ends with ``sc 0``, in the agent's own state.

    ``registers`` are its own at entry, by name; the others hold a pattern.  ``touches`` are the (address,
    length) ranges of RAM that it may read or write: what it leaves there is for the scenario to judge.
    """

    address: Value
    registers: Mapping[str, int] = field(default_factory=dict)
    touches: tuple[tuple[int, int], ...] = ()
    name: str = ""
    timeout: float | None = None
    cpu: int = 0


@frozen
class Together:
    """Calls and routines of several CPUs, all at once; each CPU makes its own in the order given.

    A CPU has either calls or one routine.  The outcome's ``parts`` has theirs, in the order given.
    """

    parts: tuple[Call | Rtas | Run, ...]
    name: str = ""


@frozen
class Host:
    """One action of the host: a QMP command, sent while the guest stands at its stop label, or RESTART.

    ``fails`` names the QMP error class or a part of its message that is expected instead of success.
    """

    command: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    name: str = ""
    fails: str | None = None
    timeout: float | None = None


@frozen
class Await:
    """Wait for the QMP event ``event`` whose data contain ``data``."""

    event: str
    data: Mapping[str, object] = field(default_factory=dict)
    timeout: float = 5.0
    name: str = ""


@frozen
class Arrive:
    """Wait until a CPU that a call has started stands ready in the agent.

    ``cpu`` is its index.  The outcome's registers are r1, r3..r7 and msr as it was started with them.
    """

    cpu: int
    timeout: float = 5.0
    name: str = ""


Step = Seed | Call | Rtas | Run | Together | Host | Await | Arrive


@frozen
class MachineOptions:
    """How the machine under a program is made; a machine is shared by programs with equal options.

    ``memory`` is in MiB, all of it; ``nodes`` are the parts of it that are NUMA nodes, ``dimms`` back ends of
    memory (``dimm0``, ``dimm1`` …) that a ``pc-dimm`` may be plugged with, which needs ``mapping``.
    ``options`` are appended to ``-M pseries``, ``devices`` are ``-device`` arguments, ``arguments`` any
    further ones, in which ``{file NAME SIZE}`` is the path of a file of SIZE zero bytes, and
    ``{file NAME SIZE BYTE}`` of one filled with a byte.  ``mapping`` chooses whether RAM is a shared mapping
    that the rig sees.
    """

    memory: int = 512
    cpu: str = "power9_v2.0"
    machine: str = "pseries"
    options: tuple[str, ...] = ()
    smp: str = "1"
    devices: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    mapping: bool = True
    nodes: tuple[int, ...] = ()
    dimms: tuple[int, ...] = ()
    console: bool = True
    endian: Literal["big", "little"] = "big"
    #: how addresses are translated while a call is made; radix needs POWER9 or later
    translation: Literal["off", "hash", "radix"] = "off"
    #: whether QEMU stays when the guest has shut down (``-no-shutdown``)
    no_shutdown: bool = True
    #: what the machine starts: the agent, which makes the calls; SLOF, which makes them at its prompt; or the
    #: firmware of ``x-vof=on``, which puts RTAS into memory and starts the agent as its client
    firmware: Literal["agent", "slof", "vof"] = "agent"


@frozen
class Requirement:
    """What a build must have for a program to run on it; decided before launch."""

    #: version range such as ``>=7.2`` or ``>=6.0,<10.0``
    versions: str = ""
    #: device types that ``-device help`` must list
    devices: tuple[str, ...] = ()
    #: RTAS services that the build must list in ``/rtas``
    services: tuple[str, ...] = ()
    #: version range of another build of the run, to which the machine's state can be moved
    newer: str = ""


@frozen
class Event:
    """A QMP event: name and data."""

    name: str
    data: Mapping[str, object] = field(default_factory=dict)


@frozen
class Outcome:
    """What a step left behind, memory excepted (a target shows that through its ``memory``).

    ``registers`` and ``before`` map names (``r0``..``r31``, ``cr``, ``lr``, ``ctr``, ``xer``, ``msr``,)
    to unsigned values; a lean record has only r3..r12.
    """

    ending: Ending = "returned"
    registers: Mapping[str, int] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    console: bytes = b""
    #: QMP's answer to a :class:`Host` step
    answer: object = None
    #: what the build said last when it ended otherwise than it should
    last_words: str = ""
    #: with the ending ``died``: QEMU's exit status, or minus the signal that killed it
    exit_status: int | None = None
    seconds: float = 0.0
    #: the host's UTC clock, seconds since the epoch, just before and just after the step
    clock: tuple[float, float] = (0.0, 0.0)
    #: of :class:`Together`: the outcomes of its parts
    parts: tuple[Outcome, ...] = ()
