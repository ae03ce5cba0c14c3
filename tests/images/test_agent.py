"""The agent on a real QEMU, without the rig: driven by polling a shared mapping, checked through HMP.

What a build answers to a call is not the subject here; the calls are a few whose answers never changed.
"""

from __future__ import annotations

import itertools
import mmap
import random
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

IMAGES = Path(__file__).parents[2] / "images"
MAILBOX = 0x8000
VECTORS = 0x10000
RECORDS = 0x40000
MIB = 1 << 20
MASK64 = (1 << 64) - 1
PATIENCE = 60.0

H_LOGICAL_LOAD = 0x3C
H_RTAS = 0xF000
H_LOGICAL_MEMOP = 0xF001
UNKNOWN = 0xF7F8
H_FUNCTION = -2 & MASK64
H_PARAMETER = -4 & MASK64

LEAN, FULL = 0, 1
READY, BATCH_DONE, BAD_MAILBOX, EXCEPTION = 0, 1, 2, 3

MSR_SF = 1 << 63
MSR_EXPECTED = MSR_SF | 0x0280_2000  # VEC, VSX, FP
MSR_ME = 0x1000

FULL_SIZE = 2048
#: offsets in a full vector or record
CR, LR, CTR, XER = 0x100, 0x108, 0x110, 0x118
MSR, SPRG0, SPRG1, SPRG3 = 0x120, 0x138, 0x140, 0x148
FPSCR, VRSAVE = 0x150, 0x158
VSCR, VSR = 0x160, 0x400

Variant = Literal["be", "le"]


@dataclass(frozen=True, slots=True)
class Agent:
    """A running QEMU with the agent in it, and its RAM."""

    process: subprocess.Popen[bytes]
    ram: mmap.mmap
    variant: Variant
    labels: dict[str, int]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def order(self) -> str:
        return ">" if self.variant == "be" else "<"

    def get(self, address: int, count: int = 1) -> tuple[int, ...]:
        """Doublewords in the agent's order."""
        return struct.unpack_from(f"{self.order}{count}Q", self.ram, address)

    def put(self, address: int, *values: int) -> None:
        struct.pack_into(f"{self.order}{len(values)}Q", self.ram, address, *values)

    def field(self, offset: int, mailbox: int = MAILBOX) -> int:
        return self.get(mailbox + offset)[0]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"QEMU ended while waiting for {what}"
            state, fault = self.field(0x50), self.get(MAILBOX + 0xC0, 3)
            assert time.monotonic() < deadline, (
                f"no {what}: state {state}, fault {[hex(word) for word in fault]}"
            )
            time.sleep(0.0005)

    def until_state(self, state: int) -> None:
        self.until(lambda: self.field(0x50) == state, f"state {state}")

    def ring(self, kind: int, count: int, mailbox: int = MAILBOX) -> int:
        """Announce a batch; returns its sequence number, which is written last."""
        number = next(self._numbers)
        self.put(mailbox + 0x18, VECTORS, RECORDS, count, kind)
        self.put(mailbox + 0x10, number)
        return number

    def finish(self, number: int, mailbox: int = MAILBOX) -> None:
        self.until(lambda: self.field(0x40, mailbox) == number, f"end of batch {number}")
        assert self.field(0x50, mailbox) == BATCH_DONE

    def lean(self, *calls: Sequence[int], mailbox: int = MAILBOX) -> list[tuple[int, ...]]:
        """r3..r12 after each call; registers that a call does not name hold a pattern."""
        for index, call in enumerate(calls):
            self.put(VECTORS + 80 * index, *filled(call))
        self.finish(self.ring(LEAN, len(calls), mailbox), mailbox)
        return [self.get(RECORDS + 80 * index, 10) for index in range(len(calls))]

    def full(self, *vectors: bytes, mailbox: int = MAILBOX) -> list[bytes]:
        for index, vector in enumerate(vectors):
            at = VECTORS + FULL_SIZE * index
            self.ram[at : at + FULL_SIZE] = vector
        self.finish(self.ring(FULL, len(vectors), mailbox), mailbox)
        ends = [RECORDS + FULL_SIZE * index for index in range(len(vectors))]
        return [self.ram[at : at + FULL_SIZE] for at in ends]

    def monitor(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def gprs(self) -> list[int]:
        """The boot CPU's general registers, by HMP."""
        assert self.process.stdout is not None
        self.monitor("info registers")
        found: list[int] = []
        while len(found) < 32:
            line = self.process.stdout.readline().decode()
            assert line, "QEMU ended"
            if line.startswith("GPR"):
                found += [int(word, 16) for word in line.split()[1:]]
        return found


def filled(call: Sequence[int]) -> tuple[int, ...]:
    return (*call, *(0xA5A5_0000_0000_0000 + register for register in range(3 + len(call), 13)))


def memop_copy(destination: int, source: int, esize: int, count: int) -> tuple[int, ...]:
    """H_LOGICAL_MEMOP: destination, source, log2 of the element's size, elements, operation 0 (copy)."""
    return (H_LOGICAL_MEMOP, destination, source, esize, count, 0)


Starter = Callable[..., Agent]


@pytest.fixture
def start(qemu: Path, short_tmp: Path, variant: Variant) -> Iterator[Starter]:
    started: list[Agent] = []

    def launch(*arguments: str) -> Agent:
        ram = short_tmp / "ram"
        command = [str(qemu), "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "stdio"]
        command += ["-cpu", "power9_v2.0", "-m", "256", "-bios", str(IMAGES / f"agent-{variant}.bin")]
        command += [
            "-M",
            "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off,memory-backend=ram",
        ]
        command += ["-object", f"memory-backend-file,id=ram,size=256M,mem-path={ram},share=on", *arguments]
        with ram.open("w+b") as file:
            file.truncate(256 * MIB)
            mapping = mmap.mmap(file.fileno(), 256 * MIB)
        with (IMAGES / f"agent-{variant}.elf").open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            assert isinstance(table, SymbolTableSection)
            labels = {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        agent = Agent(process, mapping, variant, labels)
        started.append(agent)
        agent.until(lambda: agent.field(0xE8) == 1, "start")
        return agent

    yield launch
    for agent in started:
        agent.process.kill()
        agent.process.communicate()
        agent.ram.close()


@pytest.fixture
def agent(start: Starter) -> Agent:
    return start()


@pytest.fixture(params=["be", "le"])
def variant(request: pytest.FixtureRequest) -> Variant:
    value: Variant = request.param
    return value


def pattern(agent: Agent, seed: int, call: Sequence[int]) -> bytes:
    """A full vector of random values, in which XER, FPSCR and VSCR have architected bits only."""
    source = random.Random(seed)
    vector = bytearray(source.randbytes(FULL_SIZE))
    words = {8 * register: value for register, value in enumerate(call, 3)}
    words |= {
        CR: source.getrandbits(32),
        XER: 0xE000_0000 | source.getrandbits(7),
        FPSCR: 0xF8 | source.getrandbits(2),
    }
    words |= {VRSAVE: source.getrandbits(32), CTR: source.getrandbits(64), LR: source.getrandbits(62) << 2}
    for offset, value in words.items():
        struct.pack_into(f"{agent.order}Q", vector, offset, value)
    vscr = 0x0001_0000 | source.getrandbits(1)  # NJ and SAT
    vector[VSCR : VSCR + 16] = vscr.to_bytes(16, "big" if agent.variant == "be" else "little")
    return bytes(vector)


def word(agent: Agent, record: bytes, offset: int) -> int:
    (value,) = struct.unpack_from(f"{agent.order}Q", record, offset)
    return int(value)


LOADED = [*range(0, 0x120, 8), SPRG3, FPSCR, VRSAVE, VSCR, VSCR + 8, *range(VSR, FULL_SIZE, 8)]


def changed(agent: Agent, before: bytes, after: bytes) -> dict[int, int]:
    """Offset to value of every loaded doubleword that the record shows otherwise."""
    return {at: word(agent, after, at) for at in LOADED if before[at : at + 8] != after[at : at + 8]}


def test_a_start_is_recorded(agent: Agent) -> None:
    assert agent.field(0x50) == READY
    assert agent.field(0x40) == 0
    device_tree = agent.field(0x58)
    assert agent.ram[device_tree : device_tree + 4] == bytes.fromhex("d00dfeed")
    assert agent.field(0x60) & 1 == 0, "a CPU starts big-endian"
    assert not any(agent.get(MAILBOX + 0xC0, 5))


def test_a_lean_batch_calls_and_records(agent: Agent) -> None:
    text = b"sixteen bytes ok"
    agent.ram[0x90_0000:0x90_0010] = text
    # An RTAS block is big-endian whatever the caller's order: token, nargs, nret, status.
    struct.pack_into(">4I", agent.ram, 0x91_0000, 0x7777, 0, 1, 0x5555_5555)
    copy = memop_copy(0x92_0000, 0x90_0000, 0, len(text))
    load = (H_LOGICAL_LOAD, 4, 0x90_0000)
    calls = [copy, (H_RTAS, 0x91_0000), (UNKNOWN,), load, memop_copy(0x93_0000, 0x92_0000, 3, 2)]
    copied, rtas, unknown, loaded, again = agent.lean(*calls)
    assert copied == (0, *filled(copy)[1:])
    assert rtas == (H_PARAMETER, *filled((H_RTAS, 0x91_0000))[1:])
    assert unknown == (H_FUNCTION, *filled((UNKNOWN,))[1:])
    assert loaded == (0, int.from_bytes(text[:4], "big"), *filled(load)[2:]), "r4 is a result"
    assert again[0] == 0
    assert agent.ram[0x92_0000:0x92_0020] == agent.ram[0x93_0000:0x93_0020] == text + bytes(16)
    assert struct.unpack_from(">i", agent.ram, 0x91_000C) == (-3,)
    assert agent.field(0x48) == len(calls)


def test_a_full_batch_loads_and_records_every_register(agent: Agent) -> None:
    mailbox = {SPRG0: MAILBOX}
    vectors = [pattern(agent, seed, (UNKNOWN,)) for seed in range(3)]
    little = int(agent.variant == "le")
    for index, (before, after) in enumerate(zip(vectors, agent.full(*vectors), strict=True)):
        assert changed(agent, before, after) == {8 * 3: H_FUNCTION}
        assert word(agent, after, MSR) & ~MSR_ME == MSR_EXPECTED | little
        expected = mailbox | {SPRG1: RECORDS + FULL_SIZE * index}
        assert {offset: word(agent, after, offset) for offset in expected} == expected
    assert agent.field(0x48) == len(vectors)


def test_a_full_record_shows_a_register_that_a_call_changes(agent: Agent) -> None:
    agent.ram[0x90_0000:0x90_0008] = bytes(range(8))
    vector = pattern(agent, 7, (H_LOGICAL_LOAD, 8, 0x90_0000))
    (record,) = agent.full(vector)
    assert changed(agent, vector, record) == {8 * 3: 0, 8 * 4: 0x0001_0203_0405_0607}


def test_doublewords_of_a_vsr_keep_their_place(agent: Agent) -> None:
    """As lxvd2x moves them: doubleword 0, which is the FPR, first, in either order."""
    vector = bytearray(pattern(agent, 8, (UNKNOWN,)))
    struct.pack_into(f"{agent.order}2Q", vector, VSR + 16 * 5, 0x1122_3344_5566_7788, 0x99AA_BBCC_DDEE_FF00)
    agent.full(bytes(vector))
    assert agent.process.stdout is not None
    agent.monitor("info registers")
    fpr = next(line.split() for line in iter(agent.process.stdout.readline, b"") if line.startswith(b"FPR04"))
    assert int(fpr[2], 16) == 0x1122_3344_5566_7788


@pytest.mark.parametrize("kind", [LEAN, FULL])
def test_an_empty_batch_is_done_and_writes_no_record(agent: Agent, kind: int) -> None:
    agent.ram[RECORDS : RECORDS + FULL_SIZE] = b"\x5a" * FULL_SIZE
    agent.finish(agent.ring(kind, 0))
    assert agent.ram[RECORDS : RECORDS + FULL_SIZE] == b"\x5a" * FULL_SIZE


def test_batches_of_both_kinds_follow_each_other(agent: Agent) -> None:
    for seed in range(5):
        vector = pattern(agent, seed, (UNKNOWN,))
        (record,) = agent.full(vector)
        assert changed(agent, vector, record) == {8 * 3: H_FUNCTION}
        assert agent.lean((UNKNOWN, seed)) == [(H_FUNCTION, *filled((UNKNOWN, seed))[1:])]


def test_an_unchanged_sequence_number_runs_nothing(agent: Agent) -> None:
    agent.lean((UNKNOWN,))
    agent.put(RECORDS, 0x1234)
    for _ in range(3):  # a wrong magic that is noticed proves that the agent has looked
        agent.put(MAILBOX + 0x50, READY)
        agent.ram[MAILBOX] ^= 0xFF
        agent.until_state(BAD_MAILBOX)
        agent.ram[MAILBOX] ^= 0xFF
    assert agent.get(RECORDS) == (0x1234,)
    assert agent.lean((UNKNOWN,))[0][0] == H_FUNCTION


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0x00, 0x5249_4741_4745_4E55), (0x08, 2), (0x30, 2), (0x30, 1 << 32), (0x30, MASK64)],
    ids=["magic", "version", "kind", "kind-high-word", "kind-negative"],
)
def test_a_bad_mailbox_is_refused_until_it_is_mended(agent: Agent, offset: int, value: int) -> None:
    agent.put(VECTORS, *filled((UNKNOWN,)))
    agent.put(RECORDS, 0x1234)
    agent.put(MAILBOX + 0x18, VECTORS, RECORDS, 1, LEAN)
    good = agent.field(offset)
    agent.put(MAILBOX + offset, value)
    agent.put(MAILBOX + 0x10, 1)
    agent.until_state(BAD_MAILBOX)
    assert agent.field(0x40) == 0
    assert agent.get(RECORDS) == (0x1234,)
    agent.put(MAILBOX + offset, good)
    agent.finish(1)
    assert agent.get(RECORDS) == (H_FUNCTION,)


def fault(agent: Agent) -> tuple[int, int, int]:
    """Vector, SRR0 and SRR1 of the exception that the agent ends at."""
    agent.until_state(EXCEPTION)
    vector, srr0, srr1 = agent.get(MAILBOX + 0xC0, 3)
    return vector, srr0, srr1


def test_a_lean_batch_that_does_not_end_where_the_mailbox_says_is_an_exception(agent: Agent) -> None:
    """What a hypercall that changes r29 would cause: the loop and the mailbox disagree."""
    agent.put(0x90_0000, RECORDS + 80)
    agent.put(VECTORS, *filled(memop_copy(MAILBOX + 0x20, 0x90_0000, 3, 1)))
    agent.ring(LEAN, 1)
    vector, srr0, srr1 = fault(agent)
    assert vector == 0x700
    assert 0 < srr0 - agent.labels["rig_lean_end"] < 0x30
    assert srr1 & ~MSR_ME == MSR_EXPECTED | 0x2_0000 | (agent.variant == "le"), "a trap"
    assert agent.field(0x40) == 0, "the batch never counts as completed"


@pytest.mark.parametrize("kind", [LEAN, FULL])
def test_an_exception_is_recorded_and_leaves_the_registers(agent: Agent, kind: int) -> None:
    """A call puts `trap` at the stop label: the batch ends in a program interrupt."""
    struct.pack_into(f"{agent.order}I", agent.ram, 0x90_0000, 0x7FE0_0008)
    call = memop_copy(agent.labels["rig_done"], 0x90_0000, 2, 1)
    if kind == LEAN:
        agent.put(VECTORS, *filled(call))
    else:
        agent.ram[VECTORS : VECTORS + FULL_SIZE] = pattern(agent, 3, call)
    number = agent.ring(kind, 1)
    vector, srr0, srr1 = fault(agent)
    assert (vector, srr0) == (0x700, agent.labels["rig_done"])
    assert srr1 & ~MSR_ME == MSR_EXPECTED | 0x2_0000 | (agent.variant == "le")
    registers = agent.gprs()
    assert registers[31] == MAILBOX
    assert registers[3] == number
    assert registers[4] == (80 if kind == LEAN else call[1]), "r4 as the batch left it"


def test_a_system_call_without_a_routine_is_an_exception(agent: Agent) -> None:
    """A call puts `sc` at the stop label: nothing of what it would end is under way."""
    struct.pack_into(f"{agent.order}I", agent.ram, 0x90_0000, 0x4400_0002)
    agent.put(VECTORS, *filled(memop_copy(agent.labels["rig_done"], 0x90_0000, 2, 1)))
    agent.ring(LEAN, 1)
    vector, srr0, srr1 = fault(agent)
    assert vector == 0x700
    assert agent.labels["rig_secondary"] < srr0 < agent.labels["rig_lean_end"]
    assert srr1 & 0x2_0000


def test_a_routine_is_entered_with_the_vectors_registers(agent: Agent) -> None:
    """It ends with `sc 0`; the record has its registers, and MSR as it ran."""
    struct.pack_into(f"{agent.order}2I", agent.ram, 0x90_0000, 0x7C64_2A14, 0x4400_0002)  # add r3, r4, r5; sc
    agent.put(MAILBOX + 0xF0, 0x90_0000)
    vector = pattern(agent, 3, (1, 40, 2))
    (record,) = agent.full(vector)
    agent.put(MAILBOX + 0xF0, 0)
    general = struct.unpack_from(f"{agent.order}32Q", record)
    entered = struct.unpack_from(f"{agent.order}32Q", vector)
    assert general == (*entered[:3], 42, *entered[4:])
    assert record[CR:MSR] == vector[CR:MSR], "CR, LR, CTR and XER"
    msr, srr0, srr1 = struct.unpack_from(f"{agent.order}3Q", record, MSR)
    assert (msr & ~MSR_ME, srr0) == (MSR_EXPECTED | (agent.variant == "le"), 0x90_0008)
    assert srr1 == msr
    assert record[VSR:] == vector[VSR:]


def test_only_a_reset_ends_an_exception(agent: Agent) -> None:
    agent.lean((UNKNOWN,))
    agent.monitor("nmi")
    assert fault(agent)[0] == 0x100
    agent.ring(LEAN, 1)
    agent.put(RECORDS, 0x1234)
    agent.monitor("system_reset")
    agent.until(lambda: agent.field(0x50) == READY and agent.field(0xE8) == 1, "start after reset")
    assert agent.get(RECORDS) == (0x1234,), "nothing was run in between"
    assert agent.field(0x40) == 0
    assert not any(agent.get(MAILBOX + 0xC0, 5)), "the image was loaded anew"
    assert agent.lean((UNKNOWN,))[0][0] == H_FUNCTION


def test_a_further_cpu_has_its_own_mailbox(start: Starter) -> None:
    agent = start("-smp", "2")
    mailbox = 0x2_0000
    agent.ram[mailbox : mailbox + 0x100] = bytes(0x100)
    agent.put(mailbox, *agent.get(MAILBOX, 2))
    start_cpu = 0x2006
    entry = agent.labels["rig_secondary"]
    struct.pack_into(">7I", agent.ram, 0x91_0000, start_cpu, 3, 1, 1, entry, mailbox, 0x5555_5555)
    assert agent.lean((H_RTAS, 0x91_0000))[0][0] == 0
    agent.until(lambda: agent.field(0xE8, mailbox) == 1, "start of CPU 1")
    assert agent.field(0x58, mailbox) == mailbox
    assert agent.field(0x60, mailbox) & (MSR_SF | 1) == MSR_SF
    vector = pattern(agent, 9, (UNKNOWN,))
    (record,) = agent.full(vector, mailbox=mailbox)
    assert changed(agent, vector, record) == {8 * 3: H_FUNCTION}
    assert word(agent, record, SPRG0) == mailbox
    assert agent.lean((UNKNOWN,), mailbox=mailbox)[0][0] == H_FUNCTION
    assert agent.lean((UNKNOWN,))[0][0] == H_FUNCTION, "the boot CPU still answers"
