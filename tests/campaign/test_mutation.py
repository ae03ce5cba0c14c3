"""A plausible QEMU bug, put into the model instead, is found on the real QEMU and made small."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rig.cli import cli
from rig.model import memop
from rig.program import H_LOGICAL_MEMOP, Call
from rig.scenario.file import load_file

FAULTS = memop._faults

#: name: what to replace in rig.model.memop, the mutation, and what is found
MUTATIONS: dict[str, tuple[str, Any, str]] = {
    "wrong direction": ("backward", lambda dst, src, length: (dst < src) & (src < dst + length), "memory"),
    "direction ignored": ("backward", lambda dst, src, length: dst < 0, "memory"),
    "limit off by one, up": ("MAX_ESIZE", 4, "r3"),
    "limit off by one, down": ("MAX_ESIZE", 2, "r3"),
    "mask too small": ("misaligned", lambda dst, src, esize: (dst | src) & ((1 << esize) - 1) >> 1, "r3"),
    "mask too large": ("misaligned", lambda dst, src, esize: (dst | src) & ((2 << esize) - 1), "r3"),
    "alignment of the source not checked": (
        "misaligned",
        lambda dst, src, esize: dst & ((1 << esize) - 1),
        "r3",
    ),
    "alignment not checked": ("misaligned", lambda dst, src, esize: dst & 0, "r3"),
    "element size ignored": ("size_in_bytes", lambda count, esize: count, "memory"),
    # These leave the vectorised model as it is.
    "alignment not checked, for one call": (
        "_faults",
        lambda dst, src, esize, count, *, known: FAULTS(0, 0, esize, count, known=known),
        "r3",
    ),
    "largest size refused, for one call": (
        "_faults",
        lambda dst, src, esize, count, *, known: FAULTS(dst, src, esize + (esize == 3), count, known=known),
        "r3",
    ),
    "largest count refused, for one call": (
        "_faults",
        lambda dst, src, esize, count, *, known: FAULTS(dst, src, esize, count + 1, known=known),
        "liveness",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutated_model_is_found_and_shrunk_to_one_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qemu: Path, mutation: str
) -> None:
    name, value, check = MUTATIONS[mutation]
    monkeypatch.setattr(memop, name, value)
    words = ["campaign", "memop", "--qemu", str(qemu), "--calls", "200000", "--save", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert result.return_value == 1, result.output
    again = re.search(r"seen first by rig (campaign memop --seed 0 --first .*)", result.output)
    assert again
    one = CliRunner().invoke(cli, [*again[1].split(), "--qemu", str(qemu)], standalone_mode=False)
    assert f"mismatch H_LOGICAL_MEMOP/{check} " in one.output
    (file,) = (tmp_path / "out").glob(f"h-logical-memop-{check}.yaml")
    (scenario,) = load_file(file)
    assert scenario.steps is not None
    calls = [step for step in scenario.steps() if isinstance(step, Call)]
    assert 1 <= len(calls) <= 2
    assert all(call.opcode == H_LOGICAL_MEMOP for call in calls)
    largest = memop.MAX_COUNT if check == "liveness" else 8
    counts = [call.args[3] for call in calls if len(call.args) > 3]
    assert all(isinstance(count, int) and count <= largest for count in counts)
