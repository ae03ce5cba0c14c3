"""The schema against the program's own fields, and as JSON Schema."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from pydantic import BaseModel

from rig import program
from rig.scenario import schema


@pytest.mark.parametrize(
    ("model", "type_"),
    [
        (schema.Machine, program.MachineOptions),
        (schema.Requires, program.Requirement),
        (schema.Call, program.Call),
        (schema.Rtas, program.Rtas),
        (schema.Host, program.Host),
        (schema.Await, program.Await),
        (schema.Arrive, program.Arrive),
    ],
)
def test_fields_are_those_of_the_program(model: type[BaseModel], type_: type) -> None:
    assert set(model.model_fields) == {field.name for field in fields(type_)}


def test_json_schema() -> None:
    exported = schema.json_schema()
    json.dumps(exported)
    assert exported["additionalProperties"] is False
    step = exported["$defs"]["Step"]
    assert set(step["properties"]) >= {"seed", "call", "memop", "rtas", "host", "await", "arrive"}
    assert step["maxProperties"] == 1
    assert "bytes" in exported["$defs"]["Seed"]["properties"]
