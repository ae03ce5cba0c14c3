"""The agent at work: from a start or reset to its stop label, and from there through batches.

The two need each other: a batch may end with a reset, and translation comes into force by a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from rig.deadline import Deadline
from rig.machine import agent, together
from rig.machine import translation as mmu
from rig.machine.batch import CARRIED, Batch, Outcomes, kind, seconds
from rig.machine.errors import AgentError, MachineError
from rig.machine.execution import ANSWER
from rig.machine.memory import Mapped
from rig.machine.session import Session, now
from rig.machine.translation import Translation
from rig.program import Call, Ending, Outcome, Run

#: seconds for a call without a limit of its own, and for a reset
PATIENCE = 20.0


# ---- start and reset ---------------------------------------------------------------------------------------


def start(session: Session, deadline: Deadline, meanwhile: Callable[[], object] | None = None) -> None:
    """Bring QEMU up, calling ``meanwhile`` as it comes, and run the agent to its first stop.

    Leaves nothing behind when it fails.
    """
    with session.blamed():
        session.launch(deadline, meanwhile)
        try:
            arrive(session, deadline)
        except BaseException:
            session.close()
            raise


def arrive(session: Session, deadline: Deadline) -> Ending:
    """From a start or reset to the agent's stop label."""
    live = session.live
    session.asleep = None
    if live.live.debugger.running:  # a suspended machine was reset behind gdb's back
        live.live.monitor.execute("cont", None, deadline)
    else:
        live.resume(deadline)
    ending = live.settle(deadline)
    if ending != "reset":
        raise AgentError(
            f"the agent did not become ready within {deadline.seconds:g} s (ending: {ending})",
            last_words=session.last_words() if ending == "died" else live.late,
        )
    _arrived(session, deadline)
    return ending


def _arrived(session: Session, deadline: Deadline) -> None:
    """The boot CPU stands ready after a start or reset: read what is new."""
    live = session.live
    session.boot = live.mailbox().boot
    session.carried = {0: live.live.debugger.registers(CARRIED, deadline)}
    for cpu in range(1, agent.CPUS if live.company else 1):
        live.vacate(cpu)
    session.environment = session.look_around()
    _translate(session)


def _translate(session: Session) -> None:
    """Bring the translation that the options ask for into force."""
    wanted = session.options.translation
    if calls := mmu.prepare(wanted, session.environment, session.memory):
        outcomes = execute(session, calls, "off")
        mmu.check(wanted, [outcome.registers["r3"] for outcome in outcomes])
        session.live.events[:0] = outcomes[-1].events  # of the start or reset, to whose step they belong


def _require(session: Session, cpu: int) -> None:
    """Raise :class:`MachineError` for a CPU that the machine does not have: nobody would answer."""
    if cpu in session.carried:
        return
    found = session.live.live.monitor.execute("query-cpus-fast", None, Deadline(ANSWER))
    present = {one["cpu-index"] for one in cast(list[dict[str, int]], found)}
    if cpu not in present:
        known = ", ".join(map(str, sorted(present)))
        raise MachineError(f"a step is for CPU {cpu}, but the machine has {known}: see smp in machine:")


def join(session: Session, cpu: int, deadline: Deadline) -> Outcome:
    """Let a CPU that was started come to the agent, which tells what it was started with."""
    _require(session, cpu)
    live, began = session.live, now()
    try:
        ending = live.arrive(cpu, deadline)
    except MachineError:
        if not live.dead():
            raise
        ending = "died"
    outcome = session.left(began, ending)
    if ending != "returned":
        return outcome
    live.landed = False  # gdb may have selected another CPU
    # QEMU's stub shows special-purpose registers of the boot CPU only.
    session.carried[cpu] = live.live.debugger.registers(("msr",), deadline, cpu)
    return replace(outcome, registers=live.mailbox(cpu).boot)


# ---- batches -----------------------------------------------------------------------------------------------


def execute(
    session: Session, parts: Sequence[Call | Run], translation: Translation, *, full: bool = True
) -> Outcomes:
    """Execute parts that fit one batch of one CPU."""
    batch = Batch.of(parts, session.codec, translation, full=full)
    cpu = batch.cpu
    _require(session, cpu)
    deadline = Deadline(seconds(parts, PATIENCE))
    live, began = session.live, now()
    try:
        session.memory.write(batch.records_at, batch.unwritten)
        live.post(batch)
        live.resume(deadline)
        ending = live.settle(deadline, cpu, posted=True)
    except MachineError:
        if not live.dead():
            raise
        ending = "died"
    if ending == "stopped":
        live.vacate(cpu)
    outcomes = finished(session, batch, ending, began)
    if ending == "reset":  # only now: translation comes into force by a batch in the same place
        _arrived(session, Deadline(ANSWER))
    return outcomes


def at_once(session: Session, parts: Sequence[Call | Run]) -> list[Outcome]:
    """Execute calls and routines of several CPUs at once; one outcome for each part."""
    shares = {cpu: [part for part in parts if part.cpu == cpu] for cpu in {part.cpu for part in parts}}
    translation = session.options.translation
    for share in shares.values():
        if len({kind(part, translation) for part in share}) > 1:
            raise ValueError("at once a CPU has either calls, all in one state, or one routine")
    for cpu in shares:
        _require(session, cpu)
    if len(shares) == 1:
        return list(execute(session, parts, translation))
    if not isinstance(session.memory, Mapped):
        raise MachineError("several CPUs at once need a mapping of the machine's memory")
    live, began = session.live, now()
    areas = together.areas(sorted(shares))
    batches = [Batch.of(share, session.codec, translation, at=areas[cpu]) for cpu, share in shares.items()]
    ending = together.run(batches, live, session.memory.mapping(), Deadline(seconds(parts, PATIENCE)))
    last = session.left(began, ending)
    found: dict[int, Iterator[Outcome]] = {}
    for one in batches:
        written = records(session, one.count, one.full, one.at)
        carried = session.carried.setdefault(one.cpu, {})
        found[one.cpu] = iter(one.outcomes(written, last, carried, session.codec))
    return [next(found[part.cpu], last) for part in parts]


def finished(session: Session, batch: Batch, ending: Ending, began: tuple[float, float]) -> Outcomes:
    """The outcomes of a batch, as far as there are records."""
    session.asleep = batch if ending == "suspended" else None
    found = records(session, batch.count, batch.full, batch.at)
    carried = session.carried.setdefault(batch.cpu, {})
    return batch.outcomes(found, session.left(began, ending), carried, session.codec)


def records(session: Session, count: int, full: bool, at: int = agent.BATCH) -> bytes:
    """The records of a batch whose vectors begin at ``at``; none when they went with QEMU."""
    if not session.alive and "mapping" not in session.memories:
        return b""
    return session.memory.read(agent.records_at(count, full, at), count * agent.size(full))
