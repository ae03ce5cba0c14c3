"""Write a program as a scenario file, so that ``rig replay`` can run it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import yaml

from rig.program import (
    Arrive,
    Await,
    Call,
    Host,
    MachineOptions,
    Ref,
    Requirement,
    Rtas,
    Run,
    Seed,
    Step,
    Together,
    Value,
)
from rig.scenario.contexts import MARK
from rig.scenario.script import Scenario


def dump_program(scenario: Scenario, steps: Iterable[Step]) -> str:
    """The YAML text of one scenario with the given steps."""
    entry: dict[str, Any] = {"name": _name(scenario), "summary": scenario.summary}
    for name, given in (("machine", scenario.machine), ("requires", scenario.requires)):
        if changed := _changed(given):
            entry[name] = changed
    entry["steps"] = [_step(step) for step in steps]
    return yaml.safe_dump({"scenarios": [entry]}, sort_keys=False, width=120)


def _name(scenario: Scenario) -> str:
    """The last part of the id; a context (:mod:`rig.scenario.contexts`) is in the machine's options."""
    return scenario.name.rpartition("/")[2].partition(MARK)[0]


def _changed(given: MachineOptions | Requirement) -> dict[str, Any]:
    """The fields that are not as they are by default."""
    plain = type(given)()
    names = (field.name for field in fields(given))
    return {name: _plain(value) for name in names if (value := getattr(given, name)) != getattr(plain, name)}


def _step(step: Step) -> dict[str, Any]:
    match step:
        case Seed():
            body: dict[str, Any] = {"at": _value(step.address)}
            if step.cells:
                body |= {"cells": [_value(cell) for cell in step.cells], "width": step.width}
            else:
                body["bytes"] = step.data.hex(" ")
            kind = "seed"
        case Call():
            kind, body = "call", {"opcode": _value(step.opcode), "args": [_value(arg) for arg in step.args]}
            if step.registers:
                body["registers"] = {name: hex(value) for name, value in step.registers.items()}
        case Rtas():
            kind = "rtas"
            service = step.service if isinstance(step.service, str) else _value(step.service)
            body = {"service": service, "args": [_value(arg) for arg in step.args], "nret": _value(step.nret)}
            body["block"] = _value(step.block)
            for name in ("nargs", "address"):
                if getattr(step, name) is not None:
                    body[name] = _value(getattr(step, name))
        case Run():
            kind, body = "run", {"address": _value(step.address)}
            body["registers"] = {name: hex(value) for name, value in step.registers.items()}
            body["touches"] = [[hex(start), hex(length)] for start, length in step.touches]
        case Together():
            kind, body = "together", {"parts": [_step(part) for part in step.parts]}
        case Host():
            kind, body = "host", {"command": step.command, "arguments": _plain(step.arguments)}
            if step.fails is not None:
                body["fails"] = step.fails
        case Await():
            kind, body = "await", {"event": step.event, "data": _plain(step.data), "timeout": step.timeout}
        case Arrive():
            kind, body = "arrive", {"cpu": step.cpu, "timeout": step.timeout}
    if step.name:
        body["name"] = step.name
    if isinstance(step, Call | Rtas | Run | Host) and step.timeout is not None:
        body["timeout"] = step.timeout
    if isinstance(step, Call | Rtas | Run) and step.cpu:
        body["cpu"] = step.cpu
    if isinstance(step, Call | Rtas) and step.problem:
        body["problem"] = True
    return {kind: body}


def _value(value: Value) -> str:
    return value.text if isinstance(value, Ref) else hex(value)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value
