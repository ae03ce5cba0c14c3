"""H_UPDATE_DT: trees that are whole, damaged, grown, and in odd places.  None may change memory."""

from __future__ import annotations

from collections.abc import Sequence

from rig.model.blob import BASE
from rig.model.update_dt import H_UPDATE_DT
from rig.program import Call, Seed, Step
from rig.scenario.script import Playing, Stage, scenario
from rig.scenario.tree import with_rtas

PLACE = 0xA0_0000
ISSUES: frozenset[str | int] = frozenset({H_UPDATE_DT})
ADDED = {BASE: bytes.fromhex("01800000")}


def update(blob: bytes, address: int = PLACE) -> list[Step]:
    """Hand over a tree at ``address``."""
    return [Seed(address, blob), Call(H_UPDATE_DT, (address,))]


def patched(blob: bytes, changes: Sequence[tuple[int, int]]) -> bytes:
    """``blob`` with header cells changed: (offset, value)."""
    data = bytearray(blob)
    for offset, value in changes:
        data[offset : offset + 4] = value.to_bytes(4, "big")
    return bytes(data)


@scenario(name="whole", summary="the machine's own tree, as it is and with a property more", issues=ISSUES)
def whole(stage: Stage) -> Playing:
    """Also several times, and at odd addresses."""
    blob = with_rtas(stage, ADDED)
    yield Call(H_UPDATE_DT, (stage.environment.fdt.start,))
    yield [*update(with_rtas(stage, {})), *update(blob), *update(blob)]
    for odd in (1, 2, 4):
        yield update(blob, PLACE + odd)
    end = stage.environment.ram[-1].end
    yield update(blob, end - len(blob))


@scenario(name="grown", summary="trees up to and past twice the size of the machine's own", issues=ISSUES)
def grown(stage: Stage) -> Playing:
    """One property fills what is to be filled."""
    length, packed = stage.environment.fdt.length, len(with_rtas(stage, {"rig,filler": b"1234"}))
    for size in (length, 2 * length - 4, 2 * length, 2 * length + 4, 3 * length):
        filler = max(4, size - packed + 4) & ~3
        yield update(with_rtas(stage, {"rig,filler": bytes(filler)}))


@scenario(name="damaged", summary="trees with a wrong header or structure are refused", issues=ISSUES)
def damaged(stage: Stage) -> Playing:
    """Each header field of the Devicetree Specification v0.4, 5.2, then the structure block."""
    blob = with_rtas(stage, ADDED)
    length = len(blob)
    struct = int.from_bytes(blob[8:12], "big")
    for offset, values in (
        (0, (0, 0xD00D_FEEC, 0xEDFE_0DD0)),
        (4, (0, 4, 39, 40, length // 2, length - 1)),
        (8, (0, length, 0xFFFF_FFFC)),
        (12, (length, 0xFFFF_FFFF)),
        (20, (0, 15, 18, 99)),
        (24, (18, 99)),
        (32, (0, 0xFFFF_FFFF)),
        (36, (0, 4, length, 0xFFFF_FFFC)),
        (struct, (0, 2, 3, 9, 0xFFFF_FFFF)),
        (length - 4, (0xFFFF_FFFF,)),
    ):
        for value in values:
            yield update(patched(blob, [(offset, value)]))
    yield update(blob)


@scenario(name="places", summary="trees where there is no memory, or not all of it", issues=ISSUES)
def places(stage: Stage) -> Playing:
    """Nothing there, the head only, and addresses beyond 60 bits."""
    blob = with_rtas(stage, ADDED)
    end = stage.environment.ram[-1].end
    for address in (0, 0x20_0000, end, end - 4, 1 << 40, (1 << 60) - 8, (1 << 64) - 1):
        yield Call(H_UPDATE_DT, (address,))
    for head in (8, 40, len(blob) - 1):
        yield [Seed(end - head, blob[:head]), Call(H_UPDATE_DT, (end - head,))]
    yield [Seed(PLACE, blob), Call(H_UPDATE_DT, (PLACE | 0xF << 60,)), Call(H_UPDATE_DT, (PLACE | 1 << 60,))]
