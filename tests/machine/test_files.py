"""Files that a machine's arguments ask for, and a restart of QEMU on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rig.machine.files import place
from rig.machine.machine import Machine
from rig.program import H_RTAS, RESTART, Call, Host, MachineOptions

BLOCK, BUFFER = 0x90_0000, 0xA0_0000
DRIVE = ("-drive", "if=pflash,format=raw,file={file nvram 16384}")


def test_a_file_is_made_once(tmp_path: Path) -> None:
    options = MachineOptions(arguments=DRIVE)
    placed = place(options, tmp_path)
    assert placed.arguments == ("-drive", f"if=pflash,format=raw,file={tmp_path}/nvram.img")
    file = tmp_path / "nvram.img"
    assert file.read_bytes() == bytes(16384)
    file.write_bytes(b"kept")
    assert place(options, tmp_path) == placed
    assert file.read_bytes() == b"kept"


def test_a_comma_in_the_path_is_doubled(tmp_path: Path) -> None:
    placed = place(MachineOptions(arguments=DRIVE), tmp_path / "a,b")
    assert "a,,b/nvram.img" in placed.arguments[1]
    assert (tmp_path / "a,b" / "nvram.img").exists()


@pytest.mark.parametrize("word", ["file={file}", "{file nvram}", "{file ../x 1}", "json:{1: 2}"])
def test_other_braces_stay_as_they_are(tmp_path: Path, word: str) -> None:
    options = MachineOptions(arguments=("-drive", word))
    assert place(options, tmp_path) is options
    assert list(tmp_path.iterdir()) == []


def test_qemu_is_started_again_on_the_same_files(boot: Callable[..., Machine]) -> None:
    machine = boot(MachineOptions(memory=256, arguments=DRIVE))

    def nvram(service: str) -> None:
        cells = (machine.environment.tokens[service], 3, 2, 16000, BUFFER, 8, 0xFF, 0xFF)
        machine.memory.write(BLOCK, b"".join(cell.to_bytes(4, "big") for cell in cells))
        assert machine.call([Call(H_RTAS, (BLOCK,))])[0].registers["r3"] == 0
        assert machine.memory.read(BLOCK + 24, 8) == bytes.fromhex("00000000 00000008")

    machine.memory.write(BUFFER, b"survives")
    nvram("nvram-store")
    outcome = machine.host(Host(RESTART))
    assert outcome.ending == "reset"
    assert outcome.events == ()
    assert outcome.answer == {"return": {}}
    assert machine.memory.read(BUFFER, 8) == bytes(8)
    nvram("nvram-fetch")
    assert machine.memory.read(BUFFER, 8) == b"survives"
