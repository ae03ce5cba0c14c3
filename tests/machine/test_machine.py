"""The machine as a target, on a real QEMU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.errors import MachineError, Timeout
from rig.machine.machine import Machine
from rig.machine.registers import ARGUMENTS, NAMES, RECORD_ONLY
from rig.program import H_LOGICAL_MEMOP, H_RTAS, Await, Call, Event, Host, MachineOptions, Outcome, Ref

BLOCK = 0x90_0000
H_PUT_TERM_CHAR = 0x58
UNKNOWN = 0xF00C

Boot = Callable[..., Machine]


def rtas(machine: Machine, service: str, *args: int, nret: int = 1, timeout: float | None = None) -> Outcome:
    cells = (machine.environment.tokens[service], len(args), nret, *args)
    machine.memory.write(BLOCK, b"".join(cell.to_bytes(4, "big") for cell in cells))
    return machine.call([Call(H_RTAS, (BLOCK,), timeout=timeout)])[-1]


def put(machine: Machine, text: bytes) -> Call:
    """The call that prints at most 16 bytes on the console."""
    vdevice = machine.environment.tree.find("/vdevice")
    assert vdevice is not None
    unit = next(int(name.partition("@")[2], 16) for name in vdevice.children if name.startswith("vty@"))
    words = (int.from_bytes(text[at : at + 8].ljust(8), "big") for at in (0, 8))
    return Call(H_PUT_TERM_CHAR, (unit, len(text), *words))


def test_the_environment_is_what_qemu_was_told(machine: Machine) -> None:
    environment = machine.environment
    assert [(region.start, region.length) for region in environment.ram] == [(0, 256 << 20)]
    assert environment.fdt.start == machine.boot["r3"]
    assert environment.tree.find("/rtas") is not None
    assert {"power-off", "get-time-of-day", "nvram-fetch"} <= set(environment.tokens)
    assert environment.version == machine.build.version


def test_a_call_moves_memory_and_changes_r3_only(machine: Machine) -> None:
    machine.memory.write(0x200_0000, bytes(range(128)))
    outcome = machine.call([Call(H_LOGICAL_MEMOP, (0x100_0000, 0x200_0000, 3, 16, 0))])[0]
    assert machine.memory.read(0x100_0000, 128) == bytes(range(128))
    assert outcome.ending == "returned"
    assert outcome.registers["r3"] == 0
    changed = {name for name, value in outcome.registers.items() if outcome.before[name] != value}
    assert changed == {"r3"}
    assert outcome.events == ()
    assert outcome.clock[0] <= outcome.clock[1]


@pytest.mark.parametrize("endian", ["big", "little"])
def test_every_register_is_loaded_and_read_back(boot: Boot, endian: str) -> None:
    machine = boot(MachineOptions(memory=256, endian=endian))  # type: ignore[arg-type]
    chosen = {
        "r14": 1,
        "r0": 2,
        "vs1": 3 << 64 | 4,
        "vs63": 5,
        "cr": 0x1234_5678,
        "lr": 6,
        "ctr": 7,
        "sprg3": 8,
    }
    outcome = machine.call([Call(UNKNOWN, (1, 2), registers=chosen)])[0]
    assert chosen.items() <= outcome.before.items()
    assert outcome.registers == {**outcome.before, "r3": (1 << 64) - 2}  # H_FUNCTION
    assert set(outcome.registers) == NAMES | RECORD_ONLY


def test_a_lean_record_has_the_arguments_only(machine: Machine) -> None:
    outcome = machine.call([Call(UNKNOWN, (7,))], full=False)[0]
    assert set(outcome.registers) == set(outcome.before) == set(ARGUMENTS)
    assert outcome.registers["r4"] == 7


@pytest.mark.parametrize(
    "call",
    [
        Call(UNKNOWN, registers={"msr": 0}),
        Call(UNKNOWN, registers={"r14": 1 << 64}),
        Call(UNKNOWN, (1,) * 10),
        Call(UNKNOWN, (Ref("$x.r3"),)),
        Call(-1),
    ],
)
def test_a_call_that_no_vector_can_hold_is_refused(machine: Machine, call: Call) -> None:
    with pytest.raises(ValueError, match=r"not loaded|does not fit|hold nine|not resolved"):
        machine.call([call])


def test_more_calls_than_fit_a_batch_are_split(machine: Machine) -> None:
    count = agent.capacity(full=True) + 3
    outcomes = machine.call([Call(UNKNOWN, (n,)) for n in range(count)])
    assert [outcome.registers["r4"] for outcome in outcomes] == list(range(count))


def test_ready_made_vectors_run_and_give_their_records(machine: Machine) -> None:
    codec = agent.Codec("big")
    vectors = b"".join(codec.vector(Call(UNKNOWN, (n,)), full=False) for n in range(100))
    machine.begin(vectors, 100)
    ending, records = machine.finish(100, Deadline(20))
    assert ending == "returned"
    assert [codec.record(records[at : at + 80], full=False)["r4"] for at in range(0, 8000, 80)] == list(
        range(100)
    )


def test_reset_leaves_ram_as_after_a_start(machine: Machine) -> None:
    image = machine.memory.read(0, agent.MAILBOX)
    machine.memory.write(0x300_0000, b"left over")
    machine.memory.write(0x1000, b"in the image")
    machine.reset()
    assert all(
        address + length <= agent.REGION.end or machine.environment.fdt.overlaps(address, length)
        for address, length in machine.memory.extents()
    )
    assert machine.memory.read(0x300_0000, 9) == bytes(9)
    assert machine.memory.read(0, agent.MAILBOX) == image


def test_a_guest_that_reboots_ends_in_reset(machine: Machine) -> None:
    outcome = rtas(machine, "system-reboot")
    assert outcome.ending == "reset"
    assert [event.name for event in outcome.events] == ["RESET"]
    assert machine.call([Call(UNKNOWN)])[0].ending == "returned"


def test_a_guest_that_powers_off_stands_and_can_be_reset(machine: Machine) -> None:
    outcome = rtas(machine, "power-off", 0, 0)
    assert outcome.ending == "shutdown"
    assert outcome.events[0] == Event("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})
    assert {event.name for event in outcome.events} <= {"SHUTDOWN", "STOP"}
    assert machine.memory.read(BLOCK, 4) != bytes(4)
    machine.reset()
    assert machine.call([Call(UNKNOWN)])[0].ending == "returned"


def test_a_guest_that_terminates_ends_in_panicked(machine: Machine) -> None:
    machine.memory.write(0x91_0000, b"the end\0")
    outcome = rtas(machine, "ibm,os-term", 0x91_0000)
    assert outcome.ending == "panicked"
    assert "GUEST_PANICKED" in [event.name for event in outcome.events]


def test_a_cpu_that_stops_itself_is_seen_before_the_limit(machine: Machine) -> None:
    assert rtas(machine, "stop-self", timeout=60).ending == "stopped"
    machine.reset()
    assert machine.call([Call(UNKNOWN)])[0].ending == "returned"


def test_a_batch_that_ends_early_has_the_outcomes_up_to_there(machine: Machine) -> None:
    token = machine.environment.tokens["system-reboot"]
    machine.memory.write(BLOCK, token.to_bytes(4, "big") + bytes(4) + (1).to_bytes(4, "big"))
    outcomes = machine.call([Call(UNKNOWN, (1,)), Call(UNKNOWN, (2,)), Call(H_RTAS, (BLOCK,)), Call(UNKNOWN)])
    assert [outcome.ending for outcome in outcomes] == ["returned", "returned", "reset"]
    assert outcomes[2].before["r3"] == H_RTAS


def test_a_call_beyond_its_limit_is_running_not_hung(boot: Boot) -> None:
    machine = boot()
    outcome = machine.call([Call(H_LOGICAL_MEMOP, (0x100_0000, 0x100_0000, 0, 1 << 30, 0), timeout=0.3)])[0]
    assert outcome.ending == "running"
    assert "CPU time" in outcome.last_words
    with pytest.raises(MachineError, match="earlier batch"):
        machine.call([Call(UNKNOWN)])


def test_qmp_answers_are_passed_on(machine: Machine) -> None:
    good = machine.host(Host("query-status"))
    assert isinstance(good.answer, dict)
    assert good.answer["return"]["status"] == "debug"
    bad = machine.host(Host("device_del", {"id": "nothing"}))
    assert isinstance(bad.answer, dict)
    assert bad.answer["error"]["class"] == "DeviceNotFound"


def test_the_hosts_reset_brings_the_agent_back(machine: Machine) -> None:
    outcome = machine.host(Host("system_reset"))
    assert outcome.ending == "reset"
    assert [event.name for event in outcome.events] == ["RESET"]
    assert machine.call([Call(UNKNOWN)])[0].ending == "returned"


def test_the_hosts_quit_is_an_outcome(boot: Boot) -> None:
    machine = boot()
    outcome = machine.host(Host("quit"))
    assert outcome.ending == "died"
    assert "exit status 0" in outcome.last_words
    assert not machine.alive


def test_an_event_is_awaited(machine: Machine) -> None:
    machine.host(Host("system_powerdown"))
    machine.wait(Await("POWERDOWN"))
    with pytest.raises(Timeout, match="WATCHDOG"):
        machine.wait(Await("WATCHDOG", timeout=0.05))


def test_console_output_comes_with_the_call(machine: Machine) -> None:
    outcome = machine.call([put(machine, b"hello ppc")])[0]
    assert outcome.console == b"hello ppc"
    assert machine.call([Call(UNKNOWN)])[0].console == b""
    assert b"hello ppc" in machine.logs["console.log"].read_bytes()


def test_a_machine_without_a_console_has_none(boot: Boot) -> None:
    machine = boot(MachineOptions(memory=256, console=False))
    assert machine.call([Call(UNKNOWN)])[0].console == b""
    with pytest.raises(MachineError, match="console=False"):
        machine.console.drain()


def test_all_ways_to_memory_agree(machine: Machine) -> None:
    assert set(machine.memories) == {"mapping", "pmemsave", "gdb"}
    for writer in machine.memories.values():
        data = bytes(range(256)) * 8
        writer.write(0xA0_0010, data)
        assert {memory.read(0xA0_0000, 4096) for memory in machine.memories.values()} == {
            bytes(16) + data + bytes(4096 - 16 - len(data))
        }
        writer.write(0xA0_0010, bytes(len(data)))


def test_pmemsave_finds_every_page_that_the_mapping_shows(machine: Machine) -> None:
    machine.memory.write(0x0FFF_F000, b"x")
    mapping, saved = machine.memories["mapping"], machine.memories["pmemsave"]
    touched = [range(start, start + length) for start, length in mapping.extents()]
    for start, length in saved.extents():
        assert any(start in one and start + length - 1 in one for one in touched)
    assert (0x0FFF_F000, 0x1000) in list(saved.extents())


@pytest.mark.parametrize("way", ["mapping", "pmemsave", "gdb"])
@pytest.mark.parametrize(("address", "length"), [(256 << 20, 1), ((256 << 20) - 1, 2), (-1, 1)])
def test_addresses_outside_ram_are_refused(machine: Machine, way: str, address: int, length: int) -> None:
    with pytest.raises(ValueError, match="not all RAM"):
        machine.memories[way].read(address, length)
    with pytest.raises(ValueError, match="not all RAM"):
        machine.memories[way].write(address, bytes(length))


def test_ram_without_a_mapping_is_judged_the_same(boot: Boot) -> None:
    machine = boot(MachineOptions(memory=256, mapping=False))
    assert "memory-backend" not in " ".join(machine.command_line)
    machine.memory.write(0x200_0000, b"0123456789abcdef")
    outcome = machine.call([Call(H_LOGICAL_MEMOP, (0x300_0000, 0x200_0000, 0, 16, 1))])[0]
    assert outcome.registers == {**outcome.before, "r3": 0}
    assert (0x300_0000, 0x1000) in list(machine.memory.extents())
    assert machine.memory.read(0x300_0000, 16) == bytes(byte ^ 0xFF for byte in b"0123456789abcdef")
    machine.reset()
    assert machine.memory.read(0x300_0000, 16) == bytes(16)
    assert machine.call([Call(UNKNOWN)])[0].ending == "returned"


def test_logs_hold_what_was_said(machine: Machine) -> None:
    machine.call([Call(UNKNOWN)])
    assert "query-status" in machine.logs["qmp.log"].read_text()
    assert "breakpoint-hit" in machine.logs["gdb.log"].read_text()
    assert all(path.exists() for path in machine.logs.values())


def test_the_pastable_line_has_nothing_that_only_a_child_inherits(machine: Machine) -> None:
    assert machine.pastable.startswith(str(machine.build.path))
    assert "fd=" not in machine.pastable
    assert "/proc/self" not in machine.pastable


def test_a_closed_machine_says_so(boot: Boot, short_tmp: Path) -> None:
    machine = boot()
    machine.close()
    machine.close()
    assert not machine.alive
    assert "exit status 0" in machine.last_words()
    with pytest.raises(MachineError, match="closed or never started"):
        machine.call([Call(UNKNOWN)])
    with pytest.raises(MachineError, match="closed or never started"):
        machine.memory.read(0, 1)
