"""QEMU's own firmware (``x-vof=on``) starts the agent, once it has put RTAS into memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rig.machine import agent
from rig.machine.build import Build
from rig.machine.errors import LaunchError
from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, Call, MachineOptions

OPTIONS = MachineOptions(memory=256, options=("x-vof=on", "kernel-addr=0"), firmware="vof")
#: where images/client.S has RTAS put
RTAS = 0x300_0000


def test_the_firmware_puts_rtas_into_memory_and_starts_the_agent(
    boot: Callable[..., Machine], build: Build
) -> None:
    if build.version < (7, 2):  # has no such firmware, or does not show its tree
        with pytest.raises(LaunchError):
            boot(OPTIONS)
        return
    machine = boot(OPTIONS)
    assert "-bios" not in machine.command_line
    for _ in range(2):
        assert (machine.boot["r3"], machine.boot["r4"], machine.boot["r6"]) == (0, RTAS, 0)
        assert any(machine.memory.read(RTAS, 20))
        assert "get-time-of-day" in machine.environment.tokens
        (outcome,) = machine.call([Call(H_LOGICAL_MEMOP, (0x100_0000, RTAS, 2, 5, 0))])
        assert outcome.registers["r3"] == 0
        assert machine.memory.read(0x100_0000, 20) == machine.memory.read(RTAS, 20)
        machine.reset()


def test_a_missing_image_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "agent-be.bin").write_bytes(agent.image("big").read_bytes())
    monkeypatch.setattr(agent, "image_root", lambda: tmp_path)
    with pytest.raises(LaunchError, match=r"client-be\.elf is missing: restore it"):
        agent.client()
