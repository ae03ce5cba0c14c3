"""What differs from release to release of QEMU and no call shows: services, the entry, defaults.

LoPAR binds only some of it.  The rest is pinned to what each release is known to do, so that a build that is
not what its version says, or a later release that the rig does not know yet, is told from the known ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from rig.model.rtas.families import SERVICES
from rig.program import Host, Outcome
from rig.scenario.script import Disagreement, Playing, Stage, scenario
from rig.versions import dotted, within

Value = TypeVar("Value")

#: services that not every release has had
SINCE = {"ibm,configure-kernel-dump": ">=10.2"}
#: MSR at entry in the agent's mailbox (images/PROTOCOL.md)
ENTRY_MSR = 0x8060
SF, FP, ME = 1 << 63, 1 << 13, 1 << 12
#: EE, PR, SE, BE, IR, DR, LE
OFF = 1 << 15 | 1 << 14 | 1 << 10 | 1 << 9 | 1 << 5 | 1 << 4 | 1
#: the default CPU of the releases that were looked at
DEFAULT_CPU = {
    ">=5.2,<7.3": "power9_v2.0",
    "==10.0.*": "power10_v2.0",
    "==11.1.*": "power11_v2.0",
}
#: bytes between the device tree and the end of the memory that it is put below
TREE_ROOM = {"==5.2.*": 1 << 20, ">=7.2,<11.2": 2 << 20}


def of_release(version: tuple[int, ...], known: Mapping[str, Value]) -> Value | None:
    """What is known of a release; ``None`` for one that was not looked at."""
    return next((value for versions, value in known.items() if within(version, versions)), None)


@scenario(
    name="services", summary="/rtas has the services that the release is known to have, by a token each"
)
def services(stage: Stage) -> Playing:
    """A scenario whose service is not there is skipped: here it is noticed."""
    yield ()
    environment = stage.environment
    version, tokens = environment.version, environment.tokens
    wanted = {name for name in SERVICES if within(version, SINCE.get(name, ""))}
    if missing := sorted(wanted - tokens.keys()):
        raise Disagreement("releases.service-missing", f"QEMU {dotted(version)} has no {', '.join(missing)}")
    if further := sorted(tokens.keys() - wanted):
        raise Disagreement("releases.service-new", f"QEMU {dotted(version)} has {', '.join(further)} as well")
    twice = sorted(token for token, count in Counter(tokens.values()).items() if count > 1)
    if twice:
        raise Disagreement("releases.token-twice", f"token {twice[0]:#x} stands for two services")


def entry_msr(stage: Stage) -> int:
    """MSR as the boot CPU found it at its first instruction."""
    return int.from_bytes(stage.memory.read(ENTRY_MSR, 8), "big")


@scenario(
    name="entry-order",
    summary="the boot CPU begins in 32-bit mode, untranslated, big-endian, without interrupts",
)
def entry_order(stage: Stage) -> Playing:
    """SF = 0 and what changes how code is executed (PowerPC binding to IEEE 1275, 8.2.1)."""
    yield ()
    msr = entry_msr(stage)
    if msr & OFF:
        raise Disagreement("releases.entry-order", f"MSR at entry is {msr:#x}")
    if msr & SF:
        raise Disagreement("releases.entry-64-bit", f"MSR at entry is {msr:#x}: SF is set")


@scenario(name="entry-enabled", summary="the boot CPU begins with machine checks and floating point enabled")
def entry_enabled(stage: Stage) -> Playing:
    """ME = 1 and FP = 1 (PowerPC binding to IEEE 1275, 8.2.1)."""
    yield ()
    msr = entry_msr(stage)
    if ~msr & (ME | FP):
        raise Disagreement("releases.entry-disabled", f"MSR at entry is {msr:#x}: ME or FP is clear")


@scenario(name="defaults", summary="default CPU and place of the device tree are those of the release")
def defaults(stage: Stage) -> Playing:
    """The rig itself names the CPU and looks where the tree is: nothing else would tell."""
    outcome: Outcome = yield Host("query-machines")
    version = stage.environment.version
    cpu = of_release(version, DEFAULT_CPU)
    if cpu is not None and (seen := default_cpu(outcome.answer)) != cpu:
        raise Disagreement("releases.default-cpu", f"QEMU {dotted(version)} starts {seen}, not {cpu}")
    room, tree = of_release(version, TREE_ROOM), stage.environment.fdt
    end = stage.environment.ram[-1].end
    if room is not None and end - tree.start != room:
        raise Disagreement(
            "releases.tree-place", f"QEMU {dotted(version)} puts the device tree {end - tree.start:#x} below"
        )


def default_cpu(answer: object) -> str:
    """The CPU of pseries in the answer to ``query-machines``; empty when it has none."""
    machines = answer.get("return", ()) if isinstance(answer, Mapping) else ()
    found = (one for one in machines if one.get("alias") == "pseries")
    return str(next(found, {}).get("default-cpu-type", "")).removesuffix("-powerpc64-cpu")
