"""One point in which an outcome breaks its expectation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rig.frozen import frozen
from rig.machine.sanitizer import Report
from rig.model.expectation import Expectation


@frozen
class Violation:
    """What was broken, where, and which rule says so.

    ``check`` is a stable name: ``r3``, ``register``, ``status``, ``rets``, ``memory``, ``event``,
    ``console``, ``ending``, ``liveness``, ``host``, ``sanitizer`` or the name of a breach or relation of the
    model (``memop.outside-memory``).
    ``call`` is the hypercall or service, ``arguments`` and ``facts`` are those of its expectation; of a
    sanitizer's report it is the function of QEMU's, or the file.
    """

    check: str
    call: str
    text: str
    expected: str = ""
    observed: str = ""
    #: the observed value where it is one number, unsigned
    value: int | None = None
    rule: str = ""
    address: int | None = None
    arguments: Mapping[str, int] = field(default_factory=dict)
    facts: frozenset[str] = frozenset()
    step: int = 0

    @property
    def signature(self) -> str:
        """What makes two violations the same defect: call and check."""
        return f"{self.call}/{self.check}"

    def __str__(self) -> str:
        parts = [f"step {self.step}: {self.call}: {self.text}"]
        if self.expected or self.observed:
            parts.append(f"expected {self.expected}, observed {self.observed}")
        if self.rule:
            parts.append(f"[{self.rule}]")
        return " ".join(parts)


def sanitized(report: Report, step: int = 0) -> Violation:
    """What a sanitizer said after ``step``: it has nothing to say of a program that is right."""
    rule = "generic check: a sanitizer has nothing to report"
    return Violation("sanitizer", report.where, report.words, rule=rule, step=step)


@dataclass(slots=True)
class Reporter:
    """Collects the violations of one step."""

    expectation: Expectation
    step: int
    violations: list[Violation] = field(default_factory=list)

    def add(
        self,
        check: str,
        text: str,
        expected: str = "",
        observed: str = "",
        value: int | None = None,
        rule: str = "",
        address: int | None = None,
    ) -> None:
        """Record one violation of the step's expectation."""
        call = self.expectation
        self.violations.append(
            Violation(
                check,
                call.call,
                text,
                expected,
                observed,
                value,
                rule,
                address,
                call.arguments,
                call.facts,
                self.step,
            )
        )
