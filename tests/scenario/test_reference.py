"""The grammar of references."""

from __future__ import annotations

import re

import pytest

from rig.program import Ref
from rig.scenario.reference import PATTERN, FromMap, FromStep, FromTree, parse


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("$now.rets[3]", FromStep("now", "", 3, 0)),
        ("$a-b.r4+8", FromStep("a-b", "r4", 0, 8)),
        ("$x.r31-0x10", FromStep("x", "r31", 0, -16)),
        ("$ram.end-010", FromMap("ram", "end", -10)),
        ("$fdt.start", FromMap("fdt", "start", 0)),
        ("$fdt:/vdevice/nvram@71000000:#bytes[1]+4", FromTree("/vdevice/nvram@71000000", "#bytes", 1, 4)),
    ],
)
def test_parse(text: str, reference: object) -> None:
    assert parse(Ref(text)) == reference
    assert re.search(PATTERN, text)


@pytest.mark.parametrize(
    "text",
    [
        "$",
        "$x",
        "$x.rets",
        "$x.rets[-1]",
        "$x.r32",
        "$ram.middle",
        "$ram.end*2",
        "$ram.end--4",
        "$fdt:cells",
        "x.r3",
    ],
)
def test_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match="is no reference"):
        parse(Ref(text))
