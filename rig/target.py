"""The seam between a program and whatever executes it.

A machine (:mod:`rig.machine`) and the reference model (:mod:`rig.model`) are both targets, so conformance
is machine against model, A/B is machine against machine, and a mutated model against a machine is the
rig's test of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from rig.program import Arrive, Await, Call, Host, Outcome, Run

#: what can be put into memory
Data = bytes | bytearray | memoryview


class GuestMemory(Protocol):
    """Guest-physical memory, however it is reached.  Addresses and lengths are in bytes."""

    def read(self, address: int, length: int) -> bytes:
        """The bytes at ``address``; raises :class:`ValueError` outside RAM."""

    def write(self, address: int, data: Data) -> None:
        """Put ``data`` at ``address``; raises :class:`ValueError` outside RAM."""

    def extents(self) -> Iterable[tuple[int, int]]:
        """Page-aligned (address, length) in ascending order that may hold anything but zero."""


class Target(Protocol):
    """Anything that can execute a program, step by step."""

    @property
    def memory(self) -> GuestMemory:
        """RAM as it stands after the last step."""

    def call(self, calls: Sequence[Call]) -> Sequence[Outcome]:
        """Execute hypercalls in order, all registers resolved; one outcome for each."""

    def together(self, parts: Sequence[Call | Run]) -> Sequence[Outcome]:
        """Execute hypercalls and routines, each CPU its own in order and all CPUs at once."""

    def host(self, action: Host) -> Outcome:
        """Carry out one host action."""

    def wait(self, event: Await | Arrive) -> Outcome:
        """Wait for an event, or for a CPU."""
