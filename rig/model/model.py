"""The reference model of one machine: it answers each step with an expectation.

A step is judged in this order: :meth:`Model.expect`, then the comparison brings :attr:`Model.memory` to
what was observed, then :meth:`Model.settle` brings the rest of the state there.  The model does no I/O.
"""

from __future__ import annotations

from copy import deepcopy

from rig.model import dispatch
from rig.model.environment import Environment
from rig.model.expectation import Case, Expectation
from rig.model.hypercall import H_PRIVILEGE, MASK64, Footprint, State, returns
from rig.model.memop import REVISIONS
from rig.model.memory import Memory
from rig.program import Arrive, Call, Host, Outcome, Ref, Value

#: argument registers of a hypercall: r4..r12
MAX_ARGUMENTS = 9


class UnresolvedCall(ValueError):
    """A call that the model cannot judge: a reference is left in it, or it has too many arguments."""


def registers_of(call: Call) -> dict[str, int]:
    """``r3``.. of a resolved call as unsigned 64-bit values; raises :class:`UnresolvedCall`."""
    if len(call.args) > MAX_ARGUMENTS:
        raise UnresolvedCall(
            f"call {call.name or call.opcode}: {len(call.args)} arguments, but r4..r12 hold {MAX_ARGUMENTS}"
        )
    values = (call.opcode, *call.args)
    return {f"r{number}": _resolved(call, value) for number, value in enumerate(values, 3)}


def _resolved(call: Call, value: Value) -> int:
    if isinstance(value, Ref):
        raise UnresolvedCall(
            f"call {call.name or call.opcode}: {value} must be resolved before the model sees it"
        )
    return value & MASK64


def refused_in_problem_state(opcode: int) -> Expectation:
    """Whatever the call: nothing is executed."""
    case = returns(H_PRIVILEGE, "R1-14.5.3-11")
    return Expectation(f"{opcode:#x} in problem state", (case,), facts=frozenset({"problem"}), footprint=())


class Model:
    """The model of a machine just started.

    ``revision`` is the H_LOGICAL_MEMOP to hold a build to, ``registry`` the hypercalls that exist, by default
    those of this installation.  Raises :class:`ValueError` for an unknown revision.
    """

    def __init__(
        self,
        environment: Environment,
        revision: str = "merged",
        registry: dispatch.Registry | None = None,
    ) -> None:
        if revision not in REVISIONS:
            raise ValueError(
                f"no revision {revision!r} of H_LOGICAL_MEMOP: choose one of {', '.join(REVISIONS)}"
            )
        self.state = State(environment, revision)
        self._kept: State | None = None
        self.registry = dispatch.installed() if registry is None else registry

    @property
    def memory(self) -> Memory:
        """RAM as the model has it; whoever observes the machine writes what it saw."""
        return self.state.memory

    def expect(self, call: Call) -> Expectation:
        """What the contract permits ``call`` to leave behind; raises :class:`UnresolvedCall`."""
        registers = registers_of(call)
        opcode = registers.pop("r3")
        self.state.caller = call.cpu
        if call.problem:
            return refused_in_problem_state(opcode)
        return self.registry.expect(opcode, registers, self.state)

    def footprint(self, call: Call) -> Footprint:
        """The footprint of what :meth:`expect` gives, also while calls before it are still to be settled."""
        registers = registers_of(call)
        opcode = registers.pop("r3")
        return () if call.problem else self.registry.footprint(opcode, registers, self.state)

    def expect_host(self, action: Host) -> Expectation:
        """What the contract permits a host action to leave behind."""
        from rig.model import host  # which knows every RTAS family

        return host.expect(action, self.state)

    def expect_arrival(self, arrival: Arrive) -> Expectation:
        """With what registers the contract permits a CPU to have been started."""
        from rig.model.rtas import cpu

        return cpu.arrival(arrival, self.state.of(cpu.Cpus))

    def settle(self, case: Case, outcome: Outcome) -> None:
        """Bring the families' states to where ``case`` left the machine; memory must be there already."""
        if case.effect is not None:
            case.effect(outcome)

    def restart(self, environment: Environment) -> None:
        """Another process was started on the same files; memory is the caller's to bring up to date."""
        self.state.restart(environment)

    def keep(self) -> None:
        """The machine's whole state was saved: remember all that is known of it."""
        self.state.lasting = True
        self._kept = deepcopy(self.state)

    def recall(self) -> None:
        """The state last saved was brought back; raises :class:`ValueError` when there is none."""
        if self._kept is None:
            raise ValueError("no state was saved that could be brought back")
        late = self.state.late
        self.state = deepcopy(self._kept)
        self.state.late |= late  # what the host is still to be told is no part of the machine

    def reset(self, environment: Environment) -> None:
        """The machine was reset and has a new device tree; memory is the caller's to bring up to date."""
        self.state.reset(environment)
