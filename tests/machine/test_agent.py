"""The protocol as bytes, without a machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.machine import agent
from rig.machine.errors import AgentError
from rig.machine.registers import FULL_SIZE, MASK64, NAMES, PATTERN, RECORD_ONLY
from rig.program import Call

ENDIANS: tuple[Literal["big", "little"], ...] = ("big", "little")
WIDE = st.dictionaries(st.sampled_from([f"vs{n}" for n in range(64)]), st.integers(0, (1 << 128) - 1))
NARROW = st.dictionaries(st.sampled_from([f"r{n}" for n in range(13, 32)]), st.integers(0, MASK64))


@pytest.mark.parametrize("endian", ENDIANS)
@given(wide=WIDE, narrow=NARROW)
def test_a_vector_is_a_record_of_what_it_loads(
    endian: Literal["big", "little"], wide: dict[str, int], narrow: dict[str, int]
) -> None:
    codec = agent.Codec(endian)
    vector = codec.vector(Call(1, (2, 3), registers={**wide, **narrow}), full=True)
    assert len(vector) == FULL_SIZE
    loaded = {**PATTERN, "r3": 1, "r4": 2, "r5": 3, **wide, **narrow}
    assert codec.record(vector, full=True) == {**loaded, **dict.fromkeys(RECORD_ONLY, 0)}


def test_offsets_are_those_of_the_protocol() -> None:
    codec = agent.Codec("big")
    named = {"r31": 0x000 + 31 * 8, "cr": 0x100, "lr": 0x108, "ctr": 0x110, "xer": 0x118, "sprg3": 0x148}
    for name, offset in (named | {"fpscr": 0x150, "vrsave": 0x158}).items():
        vector = codec.vector(Call(1, registers={name: 0x77}), full=True)
        assert vector[offset : offset + 8] == (0x77).to_bytes(8, "big")
    vector = codec.vector(Call(1, registers={"vs63": 0x77, "vscr": 0x66}), full=True)
    assert vector[0x7F0:] == (0x77).to_bytes(16, "big")
    assert vector[0x160:0x170] == (0x66).to_bytes(16, "big")


def test_the_protocol_document_has_the_numbers_used_here() -> None:
    text = (Path(agent.image("big")).parent / "PROTOCOL.md").read_text()
    assert f"{agent.MAGIC:#x}" in text.lower()
    assert all(f"{address:#06x}" in text for address in (agent.DONE, agent.FAULT, agent.MAILBOX))
    assert re.search(r"\*Lean\*: 80 bytes", text)
    assert re.search(r"\*Full\*: 2048 bytes", text)


def test_no_two_registers_hold_the_same_pattern() -> None:
    assert len(set(PATTERN.values())) == len(PATTERN)
    assert set(PATTERN) == NAMES


@pytest.mark.parametrize("full", [False, True])
def test_a_batch_fits_its_area_or_is_refused(full: bool) -> None:
    most = agent.capacity(full)
    assert agent.records_at(most, full) + most * agent.size(full) <= agent.REGION.end
    for count in (0, most + 1):
        with pytest.raises(AgentError, match="does not fit"):
            agent.records_at(count, full)


def test_the_mailbox_of_an_image_is_that_of_an_agent_not_started() -> None:
    for endian in ENDIANS:
        data = agent.image(endian).read_bytes()[agent.MAILBOX :][: agent.MAILBOX_SIZE]
        mailbox = agent.Codec(endian).mailbox(data)
        assert (mailbox.magic, mailbox.version) == (agent.MAGIC, agent.VERSION)
        assert (mailbox.done, mailbox.state) == (0, agent.READY)
