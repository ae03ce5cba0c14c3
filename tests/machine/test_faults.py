"""Faults at every stage: each must end with its cause, in bounded time, with nothing left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.build import Build
from rig.machine.errors import AgentError, DebuggerError, Hung, LaunchError, MachineError
from rig.machine.machine import Machine
from rig.program import H_LOGICAL_MEMOP, Call, Host, MachineOptions

Boot = Callable[..., Machine]
UNKNOWN = 0xF00C
#: a hypercall that keeps QEMU busy for minutes
LONG = Call(H_LOGICAL_MEMOP, (0x100_0000, 0x100_0000, 0, 1 << 30, 0), timeout=30)
SMALL = MachineOptions(memory=256)


@pytest.fixture(scope="module", autouse=True)
def warm(build: Build, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One machine first, for the descriptors that live as long as the rig."""
    with Machine(build, SMALL, tmp_path_factory.mktemp("warm")):
        pass


@pytest.fixture(autouse=True)
def nothing_left(warm: None) -> Iterator[None]:
    """No descriptor and no private directory of sockets may stay open."""
    gc.collect()  # what earlier tests left to the collector is not this one's
    before = psutil.Process().num_fds()
    yield
    assert psutil.Process().num_fds() <= before
    assert not list(Path("/tmp").glob(f"rig-{os.getpid()}-*"))


def qemu_of(machine: Machine) -> psutil.Process:
    """Its QEMU, which is the child with its command line."""
    line = list(machine.command_line)
    return next(child for child in psutil.Process().children() if child.cmdline() == line)


def gdb_of(machine: Machine) -> psutil.Process:
    return psutil.Process(machine.debugger.process.pid)


def test_a_stop_that_is_lost_does_not_hide_that_the_call_came_back(boot: Boot) -> None:
    """As QEMU 11.1 loses some under load: here there is no breakpoint at the agent's label any more."""
    machine = boot()
    machine.debugger.command("-break-delete 1", Deadline(5))
    for _ in range(2):
        (outcome,) = machine.call([Call(UNKNOWN, timeout=30)])
        assert outcome.ending == "returned"
        assert outcome.registers["r3"] == (1 << 64) - 2  # H_FUNCTION
        assert outcome.seconds < 20


def test_qemu_killed_in_a_batch_is_an_outcome_with_the_signal(boot: Boot) -> None:
    machine = boot()
    victim = qemu_of(machine)
    threading.Timer(0.2, victim.kill).start()
    outcomes = machine.call([Call(UNKNOWN, (1,)), LONG, Call(UNKNOWN)])
    assert [outcome.ending for outcome in outcomes] == ["returned", "died"]
    assert outcomes[0].registers["r4"] == 1
    assert "SIGKILL" in outcomes[1].last_words
    assert outcomes[1].before["r3"] == H_LOGICAL_MEMOP
    assert not machine.alive
    assert machine.memory.read(agent.MAILBOX, 8) == b"RIGAGENT"


def test_qemu_killed_between_batches_is_an_outcome(boot: Boot) -> None:
    machine = boot()
    qemu_of(machine).kill()
    outcome = machine.call([Call(UNKNOWN)])[0]
    assert outcome.ending == "died"
    assert "SIGKILL" in outcome.last_words
    with pytest.raises(MachineError, match="SIGKILL"):
        machine.reset()
    assert machine.host(Host("query-status")).ending == "died"


def test_a_stopped_qemu_is_told_from_a_busy_one(boot: Boot) -> None:
    machine = boot()
    qemu_of(machine).suspend()
    with pytest.raises(Hung, match=r"monitor.*CPU time"):
        machine.call([replace(LONG, timeout=0.2)])
    machine.close()
    assert "SIGKILL" in machine.last_words()


def test_a_killed_gdb_is_an_error_of_the_rig(boot: Boot) -> None:
    machine = boot()
    gdb_of(machine).kill()
    with pytest.raises(DebuggerError, match=r"(?s)gdb ended.*SIGKILL") as caught:
        machine.call([Call(UNKNOWN)])
    assert str(machine.build.path) in str(caught.value)
    assert machine.alive


def test_gdb_killed_in_a_batch_is_an_error_of_the_rig(boot: Boot) -> None:
    machine = boot()
    threading.Timer(0.2, gdb_of(machine).kill).start()
    with pytest.raises(DebuggerError, match=r"(?s)gdb ended.*SIGKILL"):
        machine.call([LONG])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (replace(SMALL, cpu="power99"), r"unable to find CPU model 'power99'"),
        (replace(SMALL, devices=("no-such-device",)), r"no-such-device"),
        (replace(SMALL, memory=100), r"RMA|Memory size"),
        (replace(SMALL, arguments=("-no-such-option",)), r"no-such-option"),
    ],
)
def test_options_that_qemu_refuses_end_with_its_words(boot: Boot, options: MachineOptions, text: str) -> None:
    with pytest.raises(
        LaunchError, match=rf"(?s)exit status 1.*stderr: .*{text}.*command line: .*-M pseries"
    ):
        boot(options)


def test_a_truncated_image_is_refused_before_launch(boot: Boot, short_tmp: Path) -> None:
    image = short_tmp / "short.bin"
    image.write_bytes(agent.image("big").read_bytes()[:100])
    with pytest.raises(LaunchError, match=r"short\.bin has 100 bytes instead of 65536: restore it"):
        boot(image=image)


def test_an_image_of_other_code_is_refused_before_launch(boot: Boot, short_tmp: Path) -> None:
    image = short_tmp / "other.bin"
    image.write_bytes(bytes(agent.IMAGE_SIZE))
    with pytest.raises(LaunchError, match=r"other\.bin has magic 0x0"):
        boot(image=image)


def test_a_missing_image_is_named(boot: Boot, short_tmp: Path) -> None:
    with pytest.raises(LaunchError, match=r"none\.bin cannot be read"):
        boot(image=short_tmp / "none.bin")


def test_an_image_that_never_gets_ready_is_an_error(build: Build, short_tmp: Path) -> None:
    image = short_tmp / "spin.bin"
    code = bytearray(agent.image("big").read_bytes())
    code[0x100:0x104] = bytes.fromhex("48000000")  # b .
    image.write_bytes(code)
    machine = Machine(build, SMALL, short_tmp / "m", Deadline(1.5), image=image)
    with pytest.raises(AgentError, match=r"not become ready within 1\.5 s"):
        machine.start()
    assert not machine.alive


def test_a_mailbox_that_was_overwritten_is_an_error(boot: Boot) -> None:
    machine = boot()
    machine.memory.write(agent.MAILBOX, b"overrun!")
    with pytest.raises(AgentError, match=r"overwritten: magic 0x6f76657272756e21"):
        machine.call([Call(UNKNOWN)])


def test_an_exception_in_the_agent_is_an_error_with_its_registers(boot: Boot) -> None:
    machine = boot()
    machine.memory.write(agent.MAILBOX, b"RIGAGENT")
    image = agent.image("big").read_bytes()
    at = image.index(bytes.fromhex("44000022"))  # sc 1
    machine.memories["gdb"].write(at, bytes(4))  # no instruction at all
    with pytest.raises(AgentError, match=rf"exception 0x700 at vector 0 .*SRR0 {at:#x}"):
        machine.call([Call(UNKNOWN)], full=False)


def test_a_record_that_was_never_written_is_an_error(boot: Boot) -> None:
    machine = boot()
    image = agent.image("big").read_bytes()
    at = image.index(bytes.fromhex("44000022")) + 4
    nops = bytes.fromhex("60000000") * 10
    machine.memories["gdb"].write(at, nops)  # the ten stores of a lean record
    with pytest.raises(AgentError, match="wrote only 0 of 1 records"):
        machine.call([Call(UNKNOWN)], full=False)


def test_a_qemu_without_gdb_does_not_start(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rig.machine.debugger.CANDIDATES", ("no-such-gdb",))
    monkeypatch.delenv("RIG_GDB", raising=False)
    with pytest.raises(LaunchError, match=r"no-such-gdb.*install gdb-multiarch"):
        boot()


def test_a_wrong_gdb_ends_with_its_words(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIG_GDB", "/bin/false")
    with pytest.raises(LaunchError, match=r"gdb ended"):
        boot()


def test_a_worker_thread_that_ends_does_not_take_its_machine_with_it(boot: Boot) -> None:
    machines: list[Machine] = []
    thread = threading.Thread(target=lambda: machines.append(boot()))
    thread.start()
    thread.join()
    assert machines[0].call([Call(UNKNOWN)])[0].ending == "returned"


def test_a_killed_rig_leaves_no_process(qemu: Path, short_tmp: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from rig.machine.build import probe
from rig.machine.machine import Machine
from rig.program import MachineOptions
machine = Machine(probe({str(qemu)!r}), MachineOptions(memory=256), Path({str(short_tmp)!r}) / "m")
machine.start()
print("ready", flush=True)
sys.stdin.read()
"""
    root = Path(__file__).parents[2]
    rig = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with rig:
        assert rig.stdout is not None
        assert rig.stdout.readline() == b"ready\n"
        children = psutil.Process(rig.pid).children(recursive=True)
        assert {child.name()[:4] for child in children} == {"qemu", "gdb-"}
        rig.send_signal(signal.SIGKILL)
        rig.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
