"""The trace: JSON lines, one a judged step."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rig.check.judge import Judged
from rig.program import Arrive, Await, Call, Host, Together
from rig.scenario.resolve import Resolved

#: at most so many bytes of one write are spelt out
LONGEST = 4096


def line(scenario: str, judged: Judged) -> str:
    """One step as a JSON object: call with registers in and out, memory, events, expectation, violations."""
    outcome, case = judged.outcome, judged.case
    return json.dumps(
        {
            "scenario": scenario,
            "index": judged.index,
            "call": {
                "name": judged.expectation.call,
                "step": _step(judged.step),
                "arguments": {name: hex(value) for name, value in judged.expectation.arguments.items()},
                "in": _registers(outcome.before),
                "out": _registers(outcome.registers),
            },
            "ending": outcome.ending,
            "memory": [
                {
                    "address": hex(write.address),
                    "bytes": write.data[:LONGEST].hex(),
                    "length": len(write.data),
                }
                for write in case.writes
            ],
            "cells": [
                {"address": hex(cell.address), "what": cell.what, "permitted": str(cell.permitted)}
                for cell in case.cells
            ],
            "events": [{"name": event.name, "data": dict(event.data)} for event in outcome.events],
            "console": outcome.console.decode("latin-1"),
            "expectation": {
                "case": case.name,
                "of": [one.name for one in judged.expectation.cases],
                "facts": sorted(judged.expectation.facts),
                "registers": {name: str(permitted) for name, permitted in case.registers.items()},
            },
            "violations": [str(violation) for violation in judged.violations],
        }
    )


def _registers(values: Mapping[str, int]) -> dict[str, str]:
    return {name: hex(value) for name, value in values.items() if not name.startswith("vs")}


def _step(step: Resolved) -> str:
    match step:
        case Call():
            return f"opcode {step.opcode:#x}" if isinstance(step.opcode, int) else str(step.opcode)
        case Together():
            return f"{len(step.parts)} parts at once"
        case Host():
            return step.command
        case Await():
            return step.event
        case Arrive():
            return f"cpu {step.cpu}"
    return "seed"
