"""The committed images are what the source gives, and lie in memory as PROTOCOL.md says."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

IMAGES = Path(__file__).parents[2] / "images"
SIZE = 0x10000
LABELS = {
    "rig_entry": 0x100,
    "rig_done": 0x2000,
    "rig_elsewhere": 0x4000,
    "rig_fault": 0x2040,
    "rig_mailbox": 0x8000,
    "rig_scratch": 0xF000,
}
FILES = ["agent-be.bin", "agent-be.elf", "agent-le.bin", "agent-le.elf", "client-be.elf", "SHA256SUMS"]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # A make above us must not hand its jobs and flags down.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    return subprocess.run(["make", *arguments], env=environment, text=True, capture_output=True, check=False)


def labels(variant: str) -> dict[str, int]:
    with (IMAGES / f"agent-{variant}.elf").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        return {symbol.name: symbol["st_value"] for symbol in table.iter_symbols() if symbol.name}


def test_the_committed_images_are_what_the_source_gives(tmp_path: Path) -> None:
    built = make("-C", str(tmp_path), "-f", str(IMAGES / "Makefile"))
    assert built.returncode == 0, built.stderr
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (IMAGES / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def copied(tmp_path: Path) -> Path:
    for path in IMAGES.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_make_check_accepts_what_the_source_gives(tmp_path: Path) -> None:
    checked = make("-C", str(copied(tmp_path)), "check")
    assert checked.returncode == 0, checked.stderr


def test_make_check_rejects_an_image_that_is_not_what_the_source_gives(tmp_path: Path) -> None:
    image = copied(tmp_path) / "agent-le.bin"
    image.write_bytes(image.read_bytes()[:-1] + b"\x01")
    checked = make("-C", str(tmp_path), "check")
    assert checked.returncode != 0
    assert "agent-le.bin" in checked.stdout + checked.stderr


def test_sha256sums_names_every_image() -> None:
    lines = (IMAGES / "SHA256SUMS").read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256((IMAGES / name).read_bytes()).hexdigest()}  {name}" for name in FILES[:-1]
    ]


@pytest.mark.parametrize("variant", ["be", "le"])
def test_the_labels_are_where_the_protocol_says(variant: str) -> None:
    found = labels(variant)
    assert found.keys() == {*LABELS, "rig_secondary", "rig_lean_end"}
    assert {name: found[name] for name in LABELS} == LABELS
    assert 0x3000 <= found["rig_secondary"] < 0x4000
    assert 0x3000 <= found["rig_lean_end"] < 0x4000


@pytest.mark.parametrize(("variant", "order"), [("be", "big"), ("le", "little")])
def test_the_image_holds_what_the_protocol_says_and_nothing_else(
    variant: str, order: Literal["big", "little"]
) -> None:
    image = (IMAGES / f"agent-{variant}.bin").read_bytes()
    assert len(image) == SIZE
    magic = b"RIGAGENT" if order == "big" else b"TNEGAGIR"
    assert image[0x8000:0x8008] == magic
    assert image[0x8008:0x8010] == (1).to_bytes(8, order)
    assert not any(image[0x8010:]), "mailbox and scratch page are zero"
    # Two instructions at each stop label: a nop for the breakpoint and a branch out of the page.
    assert [at for at in range(0x2000, 0x3000, 4) if any(image[at : at + 4])] == [
        0x2000,
        0x2004,
        0x2040,
        0x2044,
    ]
    nop = bytes.fromhex("60000000")
    assert image[0x2000:0x2004] == (nop if order == "big" else nop[::-1])
    assert image[0x2040:0x2044] == nop, "interrupts are taken big-endian"


@pytest.mark.parametrize("variant", ["be", "le"])
def test_the_elf_file_holds_the_bytes_of_the_image(variant: str) -> None:
    image = (IMAGES / f"agent-{variant}.bin").read_bytes()
    with (IMAGES / f"agent-{variant}.elf").open("rb") as file:
        elf = ELFFile(file)
        (segment,) = elf.iter_segments("PT_LOAD")
        assert elf["e_entry"] == LABELS["rig_entry"]
        assert elf.little_endian == (variant == "le")
        assert (segment["p_paddr"], segment.data()) == (0, image)
        assert not [section.name for section in elf.iter_sections() if section.name.startswith(".debug")]


def test_the_client_is_entered_at_its_start_and_carries_the_agent() -> None:
    with (IMAGES / "client-be.elf").open("rb") as file:
        elf = ELFFile(file)
        (segment,) = elf.iter_segments("PT_LOAD")
        assert (elf["e_entry"], segment["p_paddr"], elf.little_endian) == (0x40_0000, 0x40_0000, False)
        assert segment.data().endswith((IMAGES / "agent-be.bin").read_bytes())


def test_start_and_vectors_are_the_same_instructions_in_both_images() -> None:
    big, little = ((IMAGES / f"agent-{variant}.bin").read_bytes() for variant in ("be", "le"))
    assert big[:0x1000] == little[:0x1000]
