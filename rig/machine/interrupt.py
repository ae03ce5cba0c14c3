"""A system reset interrupt (inject-nmi) on a machine that stands: what it left in each CPU, and the way back.

A routine that the boot CPU has registered is executed and must return with ``rfid``.  Nobody handles 0x100 in
the agent, nor an interrupt on a further CPU: those are taken back by the debugger, as a routine would.
An interrupt takes a little-endian CPU to big-endian code (Power ISA Book III, LPCR[ILE]).
"""

from __future__ import annotations

from collections.abc import Mapping

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.debugger import CORE
from rig.machine.execution import ANSWER, FINAL_EVENTS, NEWS, STANDING, Execution
from rig.program import Ending

#: what the boot CPU saved; QEMU 5.2 shows special registers of no other CPU
SAVED = ("srr0", "srr1")
#: 64-bit mode, in which the agent and every interrupt are: MSR's first bit (Power ISA Book III)
SF = 1 << 63
#: the agent's entry
ENTRY = 0x100
#: seconds between two looks at CPUs to which the interrupt is still to come
PAUSE = 0.01
#: seconds within which a CPU that the interrupt wakes does wake
AWAKE = 0.1

Registers = Mapping[str, int]


class Interruption:
    """Made before the interrupt; ``before`` and ``after`` are the boot CPU's registers around it.

    ``after`` has those of a further CPU as ``pc@1``, and ``woken@1`` where the interrupt found it halted and
    left it running.
    """

    def __init__(self, live: Execution, deadline: Deadline) -> None:
        self._live = live
        self._deadline = deadline
        self._debugger = live.live.debugger
        self.before: Registers = {}
        self.after: Registers = {}
        if self._look(0)["pc"] != agent.DONE:  # in the agent's idle loop, which no routine would leave again
            self._debugger.assign({"pc": agent.DONE}, deadline)
        halted = self._halted()
        self._asleep = [cpu for cpu, asleep in halted.items() if asleep]
        self._befores = {cpu: self._look(cpu) for cpu, asleep in halted.items() if cpu == 0 or not asleep}

    def take(self) -> Ending:
        """See where the interrupt took each CPU, and let it come back; how that ended.

        With ``reset`` the agent is still to be run to its stop label.  With a CPU woken the guest is lost.
        """
        afters = self._taken()
        woken = self._woken()
        self.before, self.after = self._befores[0], dict.fromkeys((f"woken@{cpu}" for cpu in woken), 1)
        for cpu, registers in afters.items():
            self.after |= {f"{name}@{cpu}" if cpu else name: value for name, value in registers.items()}
        ending = self._ended()
        if ending in NEWS or ending == "reset":
            return ending
        if woken:
            return "running"
        for cpu, before in self._befores.items():
            if cpu or self.after["pc"] in (ENTRY, before["pc"]):
                # Going on at the stop label itself, a CPU would stop there at once.
                pc = agent.PAST_DONE if before["pc"] == agent.DONE else before["pc"]
                # With MSR goes the order in which registers are written: it is the last of them.
                self._put_back({"pc": pc, "r3": before["r3"], "msr": before["msr"]}, cpu)
        if self.after["pc"] in (ENTRY, self.before["pc"]):
            return "returned"
        self._live.resume(self._deadline)
        return self._live.settle(self._deadline)

    def _taken(self) -> dict[int, Registers]:
        """The registers once every CPU is elsewhere, the machine stands, or neither comes to be."""
        patience = Deadline(min(ANSWER, self._deadline.remaining()))
        while True:
            ended = self._ended() is not None
            self._debugger.forget(self._deadline)
            afters = {cpu: self._look(cpu) for cpu in self._befores}
            moved = all(afters[cpu]["pc"] != before["pc"] for cpu, before in self._befores.items())
            if moved or ended or patience.expired:
                return afters
            self._live.listen(PAUSE)

    def _woken(self) -> list[int]:
        """The CPUs that slept and do no longer; one that is to stay asleep gives no sign."""
        patience = Deadline(AWAKE)
        while True:
            halted = self._halted() if self._asleep else {}
            woken = [cpu for cpu in self._asleep if not halted[cpu]]
            if woken or not self._asleep or patience.expired:
                return woken
            self._live.listen(PAUSE)

    def _ended(self) -> Ending | None:
        """What the platform made of the interrupt instead of forwarding it.

        A machine that stands at a breakpoint is not stopped once more by a panic: it only tells of it.
        """
        standing = STANDING.get(self._live.status())
        names = {event.name for event in self._live.events}
        if standing is not None:
            return standing
        return "reset" if "RESET" in names else "returned" if names & FINAL_EVENTS else None

    def _look(self, cpu: int) -> Registers:
        names = CORE if cpu else (*CORE, *SAVED)
        seen = self._debugger.registers(names, self._deadline, cpu)
        if self._debugger.endian == "big" or seen["msr"] & SF:
            return seen
        with self._debugger.taken_as("big", self._deadline):
            return self._debugger.registers(names, self._deadline, cpu)

    def _put_back(self, registers: Registers, cpu: int) -> None:
        """Set registers of a CPU that an interrupt was taken on."""
        with self._debugger.taken_as("big", self._deadline):
            self._debugger.assign(registers, self._deadline, cpu)

    def _halted(self) -> dict[int, bool]:
        """Whether each CPU is halted."""
        threads = self._debugger.command("-thread-info", self._deadline)["threads"]
        return {int(thread["id"]) - 1: "halted" in thread.get("details", "") for thread in threads}
