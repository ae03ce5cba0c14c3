"""Let the guest run and find out how that ended: agent back, machine reset, QEMU gone, or time up.

It knows the agent's mailbox and where the agent may stop; vectors, records and outcomes are the machine's.
"""

from __future__ import annotations

import select
from collections.abc import Mapping

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.batch import Batch
from rig.machine.debugger import Stop
from rig.machine.errors import AgentError, Hung, MachineError, Timeout
from rig.machine.launch import Running
from rig.machine.memory import Saved
from rig.machine.translation import SEGMENT
from rig.policy import Policy
from rig.program import Ending, Event, MachineOptions
from rig.target import GuestMemory

#: seconds within which a QEMU that is well answers its monitor
ANSWER = 4.0
#: the same for a build whose call is overdue: it has had that call's time before
OVERDUE = 1.5
#: a QEMU that uses less than this share of a CPU does nothing
IDLE = 0.05
#: seconds without a sign of life after which an idle guest is looked at; doubles each time
QUIET = 0.1

#: seconds between two looks at a QEMU that is about to end
MOMENT = 0.02

#: run states that are an ending
STANDING: Mapping[str, Ending] = {
    "shutdown": "shutdown",
    "guest-panicked": "panicked",
    "suspended": "suspended",
}
#: events that announce one of them
FINAL_EVENTS = frozenset({"SHUTDOWN", "GUEST_PANICKED", "SUSPEND"})
#: events that the rig causes itself, at every stop and continuation
OURS = frozenset({"STOP", "RESUME"})
#: endings at which it was not the rig that stopped the machine
NEWS = frozenset({*STANDING.values(), "died"})


class Execution:
    """The guest of one running QEMU, with ``memory`` as the way to the agent's mailbox.

    ``copies`` of RAM are stale whenever the guest has run.
    """

    def __init__(
        self, live: Running, memory: GuestMemory, copies: Saved, codec: agent.Codec, options: MachineOptions
    ) -> None:
        self.live = live
        self.memory = memory
        self.copies = copies
        self.codec = codec
        self.translation = options.translation
        #: whether there are further CPUs, so that QEMU may be busy although the one in question does nothing
        self.company = options.smp != "1"
        #: run states that will not pass
        self.standing = Policy.of(options).standing
        #: sequence number of the last batch posted
        self.sequence = 0
        #: whether the CPU that gdb has selected stands at the stop label, so that it may go on just past it
        self.landed = False
        #: events that have arrived and were not taken
        self.events: list[Event] = []
        #: what was found out about a guest that did not come back in time
        self.late = ""
        #: whether QEMU's monitor may be expected to answer
        self.responsive = True
        #: QEMU's run state when last asked
        self.run_state = ""

    def mailbox(self, cpu: int = 0) -> agent.Mailbox:
        """The agent's mailbox for a CPU as it stands."""
        return self.codec.mailbox(self.memory.read(agent.mailbox_at(cpu), agent.MAILBOX_SIZE))

    def vacate(self, cpu: int) -> None:
        """Make the mailbox of a CPU that does not run ready for its next start."""
        self.memory.write(agent.mailbox_at(cpu), self.codec.blank())

    def post(self, batch: Batch) -> None:
        """Put a batch where the agent of its CPU finds it when it runs next."""
        if self.live.debugger.running:
            raise MachineError("the guest is still at an earlier batch: reset the machine first")
        self.place(batch)
        self.sequence += 1
        self.memory.write(agent.mailbox_at(batch.cpu) + agent.AT_SEQUENCE, self.codec.sequence(self.sequence))

    def place(self, batch: Batch) -> None:
        """Put a batch and all of its request into memory but the sequence number, which starts it."""
        mailbox = agent.mailbox_at(batch.cpu)
        segment = SEGMENT if self.translation == "hash" and batch.msr else 0
        self.memory.write(batch.at, batch.vectors)
        self.memory.write(
            mailbox + agent.AT_REQUEST,
            self.codec.request(batch.at, batch.records_at, batch.count, batch.full, batch.msr),
        )
        self.memory.write(mailbox + agent.AT_ELSEWHERE, self.codec.elsewhere(batch.routine, segment))

    def resume(self, deadline: Deadline) -> None:
        """Let the guest run."""
        self.copies.forget()
        try:
            self.live.debugger.resume(deadline, agent.PAST_DONE if self.landed else None)
        except Timeout:
            self.overdue(deadline)  # raises Hung, if it is QEMU that gdb waits for
            raise
        finally:
            self.landed = False

    def arrive(self, cpu: int, deadline: Deadline) -> Ending:
        """Run until a CPU that was started has come to the agent."""
        if self.mailbox(cpu).started:
            return "returned"
        self.resume(deadline)
        return self.settle(deadline, cpu)

    def settle(self, deadline: Deadline, cpu: int = 0, *, posted: bool = False) -> Ending:
        """Wait until the guest stands, QEMU has ended or time is up; how the batch of ``cpu`` ended.

        With a batch ``posted`` the agent's word counts, too: QEMU 11.1 may lose the stop at the agent's label
        after a call that wrote to a drive, and the agent then looks for its next batch.
        Raises :class:`AgentError` when the agent broke its protocol and :class:`Hung` when QEMU hangs.
        """
        live = self.live
        quiet, asked, announced = QUIET, False, False
        while True:
            while (stop := live.debugger.take_stop()) is not None:
                if asked and stop.signal == "SIGINT":
                    asked = False
                    if posted and self._completed(cpu):
                        return self._standing(deadline) or "returned"
                    if live.debugger.halted(cpu, Deadline(ANSWER)):
                        return "stopped"
                elif (ending := self._place(stop, cpu, deadline)) is not None:
                    return ending
                live.debugger.resume(
                    deadline
                )  # it was interrupted in vain, or another CPU at its own stop label
            if not live.process.alive:
                return "died"
            if announced and (ending := self._standing(deadline)) is not None:
                self._stand(ending)
                return ending
            if deadline.expired:
                return self.overdue(deadline)
            used = live.process.cpu_seconds()
            slice_ = min(quiet, deadline.remaining())
            lost = posted and self._completed(cpu)  # and so before a time in which no stop comes
            if self.listen(slice_):
                announced = announced or any(event.name in FINAL_EVENTS for event in self.events)
            elif not asked and (lost or self.company or live.process.cpu_seconds() - used < IDLE * slice_):
                live.debugger.send("-exec-interrupt")  # an idle guest: perhaps its CPU has stopped itself
                asked, quiet = True, quiet * 2

    def _completed(self, cpu: int) -> bool:
        """Whether the agent says that it is done with the batch posted last."""
        mailbox = self.mailbox(cpu)
        return mailbox.state == agent.BATCH_DONE and mailbox.done == self.sequence

    def listen(self, seconds: float) -> bool:
        """Wait for a sign of life from anyone and take what there is; whether there was one."""
        live = self.live
        console = live.console if live.console is not None and live.console.open else None
        sources = [live.debugger.fileno(), live.monitor.fileno(), live.process.pidfd]
        sources += [] if console is None else [console.fileno()]
        ready, _, _ = select.select(sources, [], [], seconds)
        if console is not None and console.fileno() in ready:
            console.pump()
        if live.monitor.fileno() in ready:
            self.events += live.monitor.events()
        if live.debugger.fileno() in ready:
            try:
                live.debugger.pump()
            except MachineError:
                if not self.dead():
                    raise
        return bool(ready)

    def status(self, seconds: float = ANSWER) -> str:
        """QEMU's run state, kept in ``run_state``.  All events until now have arrived when this returns."""
        answer = self.live.monitor.execute("query-status", None, Deadline(seconds))
        assert isinstance(answer, Mapping)
        self.events += self.live.monitor.events()
        self.run_state = str(answer["status"])
        return self.run_state

    def dead(self) -> bool:
        """Whether QEMU has ended; its connections end a moment before the process."""
        return self.live.process.wait(Deadline(1.0))

    def expect_event(self, name: str, data: Mapping[str, object], deadline: Deadline) -> None:
        """Wait until an event is among those not yet taken; raises :class:`Timeout`."""
        while not any(matches(event, name, data) for event in self.events):
            if deadline.expired or not self.live.process.alive:
                with_data = f" with {dict(data)}" if data else ""
                raise Timeout(f"the event {name}{with_data} did not come within {deadline.seconds:g} s")
            self.listen(deadline.remaining())

    def take_events(self, ending: Ending) -> tuple[Event, ...]:
        """All events not yet taken, without those that the rig caused itself.

        When something else than the rig stopped the machine, its STOP is news.
        """
        self.events += self.live.monitor.events()
        ours = OURS - {"STOP"} if ending in NEWS else OURS
        events = tuple(event for event in self.events if event.name not in ours)
        self.events.clear()
        return events

    def _standing(self, deadline: Deadline) -> Ending | None:
        """The ending that QEMU's run state means, if any; waits where QEMU is about to end."""
        if self._leaving():
            return "died" if self.live.process.wait(deadline) else self.overdue(deadline)
        try:
            while (status := self.status()) in STANDING:
                if status in self.standing:
                    return STANDING[status]
                if self.live.process.wait(Deadline(min(MOMENT, deadline.remaining()))):
                    return "died"
                if deadline.expired:
                    return self.overdue(deadline)
        except MachineError:
            if self.dead():
                return "died"
            raise
        return None

    def _leaving(self) -> bool:
        """Whether QEMU has announced that it will end.

        It must not be asked anything then: a command that comes while QEMU 7.2 cleans up makes it hang there.
        """
        self.events += self.live.monitor.events()
        return "shutdown" not in self.standing and any(
            event.name == "SHUTDOWN" or event.data.get("action") == "poweroff" for event in self.events
        )

    def _stand(self, ending: Ending) -> None:
        """Let gdb learn that the machine stands; it never hears of a suspended one."""
        patience = Deadline(ANSWER)
        while ending in ("shutdown", "panicked") and self.live.debugger.running and not patience.expired:
            self.live.debugger.pump(patience.remaining())

    def _place(self, stop: Stop, cpu: int, deadline: Deadline) -> Ending | None:
        """What a stop means for a batch of ``cpu``; ``None`` when it goes on."""
        if stop.reason.startswith("exited") and self.dead():
            return "died"
        if stop.reason != "breakpoint-hit" and "shutdown" not in self.standing:
            self.listen(QUIET)  # the event that tells why may still be on its way
        if (ending := self._standing(deadline)) is not None:
            return ending
        # An exception takes a little-endian CPU to big-endian code, whose registers gdb shows reversed.
        pc = stop.pc if stop.pc in (agent.DONE, agent.FAULT) else _reversed(stop.pc)
        if self.run_state != "debug" or pc not in (agent.DONE, agent.FAULT):
            raise AgentError(
                f"the guest stopped where it should not: {stop}, run state {self.run_state}; {self.mailbox()}"
            )
        return self._landing(pc, stop.cpu - 1, cpu)

    def _landing(self, pc: int, cpu: int, awaited: int) -> Ending | None:
        """A CPU is at one of the agent's stop labels while another, or itself, is waited for."""
        mailbox = self.mailbox(cpu)
        at = agent.mailbox_at(cpu)
        if (mailbox.magic, mailbox.version) != (agent.MAGIC, agent.VERSION):
            raise AgentError(
                f"the agent's mailbox at {at:#x} was overwritten: magic {mailbox.magic:#x}, "
                f"version {mailbox.version}"
            )
        if pc == agent.FAULT and mailbox.stumbled:
            self.late = f"CPU {cpu}: {mailbox}"
            return "running"
        if pc == agent.FAULT:
            raise AgentError(f"CPU {cpu}: {mailbox}")
        arrived = mailbox.state == agent.READY and mailbox.done == 0
        if arrived and cpu == 0 and mailbox.boot["r3"] != at:  # not started by a call
            self.landed = True
            return "reset"
        if cpu != awaited or (arrived and mailbox.sequence):  # it has yet to look into its mailbox
            return None
        self.landed = True
        if arrived or (mailbox.state == agent.BATCH_DONE and mailbox.done == self.sequence):
            return "returned"
        raise AgentError(f"the agent stopped with batch {self.sequence} unanswered: {mailbox}")

    def overdue(self, deadline: Deadline) -> Ending:
        """Time is up: tell a slow or lost guest, which is an outcome, from a QEMU that hangs."""
        live = self.live
        used = live.process.cpu_seconds()
        try:
            status = self.status(OVERDUE)
        except MachineError as error:
            if not live.process.alive or (not isinstance(error, Timeout) and self.dead()):
                return "died"
            self.responsive = False
            used = live.process.cpu_seconds() - used
            if used < IDLE * OVERDUE:
                raise Hung(
                    f"QEMU hung: no answer for {deadline.seconds:g} s, none from its monitor either, only "
                    f"{used:.2f} s of CPU time in {OVERDUE:g} s"
                ) from error
            self.late = f"the monitor does not answer; QEMU used {used:.1f} s of CPU time in {OVERDUE:g} s"
        else:
            self.late = f"the monitor answers: {status}"
        return "running"


def _reversed(register: int) -> int:
    return int.from_bytes(register.to_bytes(8, "little"), "big")


def matches(event: Event, name: str, data: Mapping[str, object]) -> bool:
    """Whether an event has this name and contains these data."""
    return event.name == name and all(event.data.get(key) == value for key, value in data.items())
