"""References become numbers, RTAS steps become seeds and a call."""

from __future__ import annotations

import pytest

from rig.model.environment import Environment
from rig.model.memory import Memory
from rig.program import Call, Host, Outcome, Ref, Rtas, Seed
from rig.scenario.errors import BadScenario
from rig.scenario.resolve import AFTER, BEFORE, Names, canary, literal, resolve, resolve_step, token


def lowered(step: Rtas, environment: Environment, names: Names | None = None) -> tuple[Memory, Call]:
    """The memory after the seeds of an RTAS step, and its call."""
    memory = Memory(environment.ram)
    *seeds, call = resolve_step(step, names or Names(), environment)
    for seed in seeds:
        assert isinstance(seed, Seed)
        assert isinstance(seed.address, int)
        memory.write(seed.address, seed.data)
    assert isinstance(call, Call)
    return memory, call


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$ram.start", 0),
        ("$ram.end", 0x200_0000),
        ("$rma.end-1", 0xFF_FFFF),
        ("$fdt.start+8", 0xE0_0008),
        ("$fdt.end", 0xE0_1000),
        ("$fdt:/memory@0:reg[2]", 0),
        ("$fdt:/memory@0:reg[3]", 0x100_0000),
        ("$fdt.start-0xe00001", (1 << 64) - 1),
    ],
)
def test_places(environment: Environment, text: str, value: int) -> None:
    assert resolve(Ref(text), Names(), environment) == value


def test_numbers_are_64_bits(environment: Environment) -> None:
    assert resolve(-1, Names(), environment) == (1 << 64) - 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$fdt:/nowhere:reg[0]", "no node /nowhere"),
        ("$fdt:/memory@0:reg[4]", "has 4 cells"),
        ("$fdt:/memory@0:size[0]", "has 0 cells"),
        ("$later.r4", "no step named 'later'"),
    ],
)
def test_what_cannot_be_resolved(environment: Environment, text: str, message: str) -> None:
    with pytest.raises(BadScenario, match=message):
        resolve(Ref(text), Names(), environment)


def test_registers_of_a_call(environment: Environment) -> None:
    names = Names()
    call = Call(0x3C, (8, 0x90_0000), name="load")
    names.record(call, Outcome(registers={"r3": 0, "r4": 0x1234}), Memory(environment.ram))
    assert resolve(Ref("$load.r4+4"), names, environment) == 0x1238
    with pytest.raises(BadScenario, match="left no r14"):
        resolve(Ref("$load.r14"), names, environment)
    with pytest.raises(BadScenario, match="returned 0 cells"):
        resolve(Ref("$load.rets[0]"), names, environment)


def test_parameter_block(environment: Environment) -> None:
    memory, call = lowered(Rtas("get-time-of-day", (7, Ref("$ram.end")), nret=8), environment)
    assert call == Call(0xF000, (0x90_0000,))
    cells = [int.from_bytes(memory.read(0x90_0000 + at, 4), "big") for at in range(0, 20, 4)]
    assert cells == [0x2001, 2, 8, 7, 0x200_0000]
    rest = 20 + 4 * 8 + AFTER
    assert memory.read(0x90_0014, rest - 20) == canary(0x90_0014, rest - 20)
    assert memory.read(0x90_0000 - BEFORE, BEFORE) == canary(0x90_0000 - BEFORE, BEFORE)


def test_announced_numbers(environment: Environment) -> None:
    memory, call = lowered(
        Rtas(0xA, (1,), nargs=0xFFFF_FFFF, nret=0x4000_0000, address=0xF000_0000_0090_0000), environment
    )
    assert call.args == (0xF000_0000_0090_0000,)
    assert memory.read(0x90_0000, 16).hex(" ", 4) == "0000000a ffffffff 40000000 00000001"


def test_canary_spares_what_was_seeded(environment: Environment) -> None:
    names = Names()
    resolve_step(Seed(0x90_0080, b"mine" * 8), names, environment)
    memory, _ = lowered(Rtas("get-time-of-day", nret=8), environment, names)
    assert memory.read(0x90_0080, 32) == bytes(32)
    assert memory.read(0x90_00A0, 4) == canary(0x90_00A0, 4)
    assert memory.read(0x90_0070, 16) == canary(0x90_0070, 16)


def test_block_is_clipped_to_memory(environment: Environment) -> None:
    memory, call = lowered(Rtas("get-time-of-day", nret=8, block=Ref("$ram.end-8")), environment)
    assert memory.read(0x1FF_FFF8, 8).hex() == "0000200100000000"
    assert call.args == (0x1FF_FFF8,)


def test_canary_spares_agent_and_device_tree(environment: Environment) -> None:
    memory, _ = lowered(Rtas("get-time-of-day", nret=8, block=0x80_0010), environment)
    assert memory.read(0x7F_FFC0, 64) == bytes(64)
    assert memory.read(0x80_0000, 16) == canary(0x80_0000, 16)
    memory, _ = lowered(Rtas("get-time-of-day", nret=8, block=0xDF_FFC0), environment)
    assert memory.read(0xE0_0000, 64) == bytes(64)


def test_scratch_page(environment: Environment) -> None:
    memory, _ = lowered(Rtas("get-time-of-day", nret=8, block=0xF000), environment)
    assert memory.read(0xF000, 4).hex() == "00002001"
    assert memory.read(0xEFC0, 64) == bytes(64)


@pytest.mark.parametrize("block", [0x1000, 0x7F_FFF8, 0xFFF4, 0x0])
def test_block_in_the_agent(environment: Environment, block: int) -> None:
    with pytest.raises(BadScenario, match="agent's memory"):
        resolve_step(Rtas("get-time-of-day", block=block), Names(), environment)


def test_rets_can_be_referred_to(environment: Environment) -> None:
    names = Names()
    step = Rtas("get-time-of-day", (5,), nret=3, name="now")
    memory, _ = lowered(step, environment, names)
    memory.write(0x90_0010, bytes.fromhex("00000000 000007e6 00000005"))
    names.record(step, Outcome(), memory)
    assert resolve(Ref("$now.rets[1]"), names, environment) == 2022
    with pytest.raises(BadScenario, match="returned 3 cells"):
        resolve(Ref("$now.rets[3]"), names, environment)


def test_what_steps_returned_can_be_written_out(environment: Environment) -> None:
    names = Names()
    step = Rtas("get-time-of-day", nret=2, name="now")
    memory, _ = lowered(step, environment, names)
    memory.write(0x90_0010, bytes.fromhex("000007e6"))
    names.record(step, Outcome(registers={"r3": 5}), memory)
    args = (Ref("$now.rets[1]+1"), Ref("$now.r3"), Ref("$ram.end"), 7)
    for one in (Rtas("nvram-fetch", args), Call(0xF001, args)):
        assert literal(one, names).args == (2023, 5, Ref("$ram.end"), 7)
    assert literal(Host("stop"), names) == Host("stop")
    with pytest.raises(LookupError, match="no step named 'later'"):
        literal(Call(0xF001, (Ref("$later.r3"),)), names)


def test_rets_of_repeated_steps(environment: Environment) -> None:
    """Two steps of one name in one batch: recorded in order, the later one counts."""
    names = Names()
    first, second = (
        Rtas("get-time-of-day", nret=1, block=block, name="x") for block in (0x90_0000, 0x91_0000)
    )
    memory = Memory(environment.ram)
    resolve_step(first, names, environment)
    resolve_step(second, names, environment)
    memory.write(0x90_000C, b"\0\0\0\1")
    memory.write(0x91_000C, b"\0\0\0\2")
    names.record(first, Outcome(), memory)
    assert names.rets["x"] == (1,)
    names.record(second, Outcome(), memory)
    assert names.rets["x"] == (2,)


def test_seed_cells(environment: Environment) -> None:
    (seed,) = resolve_step(Seed(0x90_0000, cells=(1, Ref("$rma.end")), width=8), Names(), environment)
    assert seed == Seed(0x90_0000, bytes.fromhex("0000000000000001 0000000001000000"))


@pytest.mark.parametrize(
    ("address", "message"),
    [(0x1FF_FFFF, "not all RAM"), (0x2000, "agent's memory"), (1 << 60, "not all RAM")],
)
def test_bad_seed(environment: Environment, address: int, message: str) -> None:
    with pytest.raises(BadScenario, match=f"step 'here': .*{message}"):
        resolve_step(Seed(address, b"ab", name="here"), Names(), environment)


def test_unknown_service(environment: Environment) -> None:
    with pytest.raises(BadScenario, match=r"no RTAS service 'get-time-of-dya'.*did you mean get-time-of-day"):
        token("get-time-of-dya", Names(), environment)


def test_other_steps_pass(environment: Environment) -> None:
    host = Host("system_reset")
    assert resolve_step(host, Names(), environment) == (host,)
