"""Batches without a stop: the guest runs free, and a sequence number in its mailbox starts the next batch.

A stop at a breakpoint and the way on from it cost milliseconds, a batch of small calls takes not many more.
Without breakpoints the agent looks at its mailbox until the sequence number changes (images/PROTOCOL.md).
"""

from __future__ import annotations

import mmap
import select
import sys

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.errors import AgentError
from rig.machine.execution import ANSWER, FINAL_EVENTS, STANDING, Execution
from rig.program import Ending, Event

#: seconds between two looks at the mailbox
LOOK = 1e-4
#: looks from one time that everyone else is listened to, to the next
LISTEN = 100


class Doorbell:
    """Rings for the boot CPU of a guest that stands at its stop label; ``ram`` maps guest memory.

    Between :meth:`release` and :meth:`recall` nothing else may be asked of the machine but its memory and
    its monitor.
    """

    def __init__(self, execution: Execution, ram: mmap.mmap) -> None:
        self._live = execution
        self._ram = memoryview(ram).cast("Q")
        self.idle = True

    def release(self) -> None:
        """Take the breakpoints away and let the guest look for work."""
        self._live.live.debugger.disarm(Deadline(ANSWER))
        self._live.resume(Deadline(ANSWER))

    def recall(self) -> None:
        """Bring an idle guest back to its stop label, with its breakpoints."""
        deadline = Deadline(ANSWER)
        debugger = self._live.live.debugger
        debugger.interrupt(deadline)
        debugger.rearm(deadline)
        # The way to the stop label leads through a batch.
        self._request(agent.BATCH, agent.BATCH, 0)
        self._live.resume(deadline)
        self._live.settle(deadline)

    def ring(self, vectors: int, records: int, count: int) -> None:
        """Start a batch of ``count`` lean vectors at address ``vectors``."""
        self.idle = False
        self._request(vectors, records, count)

    def start(self, cpu: int) -> int:
        """Start the batch whose request is in a CPU's mailbox already; its sequence number."""
        self.idle = False
        self._live.sequence += 1
        self._ram[(agent.mailbox_at(cpu) + agent.AT_SEQUENCE) // 8] = self._stored(self._live.sequence)
        return self._live.sequence

    def _request(self, vectors: int, records: int, count: int) -> None:
        live = self._live
        live.memory.write(
            agent.MAILBOX + agent.AT_REQUEST, live.codec.request(vectors, records, count, full=False)
        )
        # Last, and in one store: the agent may look at any moment.
        self.start(0)

    def _stored(self, value: int) -> int:
        """A doubleword of the agent as this host reads it."""
        return int.from_bytes(self._live.codec.sequence(value), sys.byteorder)

    @property
    def index(self) -> int:
        """The vector that the agent is at."""
        return self._live.mailbox().index

    def events(self) -> tuple[Event, ...]:
        """QMP events that nobody has taken.

        Raises :class:`rig.machine.errors.MachineError` when the monitor does not answer.
        """
        self._live.status()
        return self._live.take_events("returned")

    def wait(self, deadline: Deadline) -> Ending:
        """Until the batch is done, QEMU stands or has ended, or time is up (``running``).

        Raises :class:`AgentError` when the agent met an exception, and :class:`rig.machine.errors.Hung` when
        QEMU does nothing at all.
        """
        expected = self._stored(self._live.sequence)
        done = (agent.MAILBOX + agent.AT_DONE) // 8
        pidfd = self._live.live.process.pidfd
        looks = 0
        while self._ram[done] != expected:
            ended, _, _ = select.select([pidfd], [], [], LOOK)
            looks += 1
            if ended or looks % LISTEN == 0:
                ending = self._otherwise(deadline)
                if ending is not None:
                    return ending
        self.idle = True
        return "returned"

    def _otherwise(self, deadline: Deadline) -> Ending | None:
        """How a batch ended that was not done when it was last looked at; nothing when it goes on."""
        live = self._live
        live.listen(0.0)
        if not live.live.process.alive:
            return "died"
        if any(event.name in FINAL_EVENTS for event in live.events):
            ending = STANDING.get(live.status())
            if ending is not None:
                return ending
        mailbox = live.mailbox()
        if mailbox.state in (agent.BAD_MAILBOX, agent.EXCEPTION):
            raise AgentError(f"batch {live.sequence} was not done: {mailbox}")
        return live.overdue(deadline) if deadline.expired else None
