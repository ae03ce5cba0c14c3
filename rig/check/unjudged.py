"""Outcomes of which nobody can say whether they are right: the program asks for what cannot be judged."""

from __future__ import annotations

from collections.abc import Sequence

from rig.check.violation import Violation
from rig.model.dispatch import UNDESCRIBED
from rig.model.expectation import Expectation
from rig.program import Outcome
from rig.scenario.reserved import trespass


def reason(expectation: Expectation, outcome: Outcome, violations: Sequence[Violation]) -> str | None:
    """Why the violations of one call say nothing about the build, in words; ``None`` when they do."""
    if outcome.ending == "running" and (words := trespass(expectation)):
        return f"{expectation.call} was told to write over the agent, which is gone: {words}"
    if violations and UNDESCRIBED in expectation.facts:
        return (
            f"this build has a hypercall {expectation.call} that the model does not describe, so nobody can "
            "judge it: remove the step, or describe the call in a package (entry-point group rig.hypercalls)"
        )
    return None
