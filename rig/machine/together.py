"""Batches of several CPUs at once: the guest runs without breakpoints until all of them are done.

A stop at one CPU's breakpoint stops every CPU.  Here each agent looks at its mailbox until the sequence
number changes (images/PROTOCOL.md), so the batches start within microseconds of each other.
"""

from __future__ import annotations

import mmap
import select
from collections.abc import Sequence

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.batch import Batch
from rig.machine.doorbell import LOOK, Doorbell
from rig.machine.errors import AgentError, MachineError
from rig.machine.execution import Execution
from rig.machine.registers import FULL_SIZE
from rig.program import Ending


def run(batches: Sequence[Batch], live: Execution, ram: mmap.mmap, deadline: Deadline) -> Ending:
    """Start all batches, whose CPUs stand ready, and wait for all of them.

    Ends as ``running`` when time is up before the last is done.  Raises :class:`AgentError` when an agent met
    an exception.
    """
    for batch in batches:
        live.place(batch)
        live.memory.write(batch.records_at, batch.unwritten)
    try:
        return _all(batches, live, Doorbell(live, ram), deadline)
    except MachineError:
        if not live.dead():
            raise
        return "died"


def _all(batches: Sequence[Batch], live: Execution, bell: Doorbell, deadline: Deadline) -> Ending:
    bell.release()
    select.select([], [], [], LOOK)
    awaited = {batch.cpu: bell.start(batch.cpu) for batch in batches}
    while awaited:
        if not live.live.process.alive:
            return "died"
        if deadline.expired:
            return live.overdue(deadline)
        live.listen(LOOK)
        for cpu, sequence in list(awaited.items()):
            mailbox = live.mailbox(cpu)
            if mailbox.state in (agent.BAD_MAILBOX, agent.EXCEPTION):
                raise AgentError(f"CPU {cpu}: batch {sequence} was not done: {mailbox}")
            if mailbox.done == sequence:
                del awaited[cpu]
    bell.recall()
    return "returned"


def areas(cpus: Sequence[int]) -> dict[int, int]:
    """Where each CPU's vectors begin: the batch area in equal parts, aligned for vectors."""
    share = (agent.TABLES - agent.BATCH) // len(cpus) & -FULL_SIZE
    return {cpu: agent.BATCH + index * share for index, cpu in enumerate(cpus)}


__all__ = ["areas", "run"]
