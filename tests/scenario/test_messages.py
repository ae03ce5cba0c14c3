"""What is wrong with a scenario file: the message, and the place it points to."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.scenario.loader import BadScenario, load_file

from .conftest import GOOD, Write, bad_step


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:1", "is empty"),
        ("- a\n", "1:1", "valid dictionary"),
        ("scenarios: [}\n", "1:13", "no YAML"),
        ("a: \tb: c\n", "1:", "no YAML"),
        ("scenarios: &a [*a]\n", "", "no tree"),
        ("scenarios: 2020-13-45\n", "", "no YAML"),
        (f"scenarios: {'9' * 5000}\n", "", "no YAML"),
        ("scenarios: []\n", "1:12", "at least 1 item"),
        ("scenarios:\n  - 3\n", "2:5", "valid dictionary"),
        (GOOD + "extra: 1\n", "6:1", "unknown key 'extra'"),
        (GOOD.replace("summary", "sumary"), "2:5", "'summary' is missing"),
        (GOOD.replace("summary", "sumary"), "3:5", "unknown key 'sumary'"),
        (GOOD.replace("name: good", "name: Not Good"), "2:11", "should match pattern"),
        (GOOD.replace("    steps", "    summary: t\n    steps"), "4:5", "'summary' is there twice"),
        (
            GOOD.replace("    steps", "    machine: {memory: 64}\n    steps"),
            "4:23",
            "greater than or equal to 128",
        ),
        (GOOD.replace("    steps", "    machine: {ram: 64}\n    steps"), "4:15", "unknown key 'ram'"),
        (GOOD.replace("    steps", "    requires: {versions: 7.2}\n    steps"), "4:26", "valid string"),
        (GOOD.replace("    steps", "    requires: {versions: new}\n    steps"), "4:26", "should match"),
        (GOOD.replace("    steps", "    requirements: [7.3]\n    steps"), "4:20", "valid string"),
        (GOOD.replace("    steps", "    matrix: {a: 3}\n    steps"), "4:17", "list of values"),
        (GOOD.replace("    steps", "    matrix: {a: []}\n    steps"), "4:17", "no values"),
        (
            bad_step("call: {opcode: '${b}'}").replace("    steps", "    matrix: {a: [1]}\n    steps"),
            "6:24",
            "not in the matrix",
        ),
        (
            bad_step("call: {opcode: '${a'}").replace("    steps", "    matrix: {a: [1]}\n    steps"),
            "6:24",
            "not closed",
        ),
        (bad_step("call: {opcode: 0x10000000000000000}"), "5:24", "does not fit in 64 bits"),
        (bad_step("call: {opcode: H_MEMOP}"), "5:24", "no hypercall is called 'H_MEMOP'"),
        (bad_step("call: {opcode: H_LOGICAL_MEMO}"), "5:24", "did you mean H_LOGICAL_MEMOP"),
        (bad_step("call: {opcode: true}"), "5:24", "no number"),
        (bad_step("call: {opcode: 1, args: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}"), "5:33", "at most 9 items"),
        (bad_step("call: {opcode: 0xf001, args: {dest: 1}}"), "5:15", "no argument 'dest'"),
        (bad_step("call: {opcode: 5, args: {dest: 1}}"), "5:15", "have no names"),
        (bad_step("call: {opcode: 1, args: [$ram.middle]}"), "5:34", "is no reference"),
        (bad_step("call: {opcode: 1, args: ['$x.r4']}"), "5:9", "step 'x' that is not before it"),
        (bad_step("call: {opcode: 1, registers: {r3: 1}}"), "5:43", "no register that a call can set"),
        (bad_step("call: {opcode: 1, timeout: 0}"), "5:36", "greater than 0"),
        (bad_step("call: {opcode: 1, name: ram}"), "5:33", "cannot name a step"),
        (bad_step("call: {opcode: 1, problem: true}"), "5:9", "problem state needs translation"),
        (
            bad_step("together: {parts: [{rtas: {service: a, problem: true}}]}"),
            "5:9",
            "problem state needs translation",
        ),
        (GOOD.replace("    steps", "    machine: {smp: 0}\n    steps"), "4:20", "greater than or equal to 1"),
        (GOOD.replace("    steps", '    machine: {cpu: "a\\0b"}\n    steps'), "4:20", "should match pattern"),
        (
            GOOD.replace("    steps", "    machine: {arguments: [-daemonize]}\n    steps"),
            "4:27",
            "-daemonize would leave QEMU behind",
        ),
        (bad_step("seed: {at: 0x900000}"), "5:15", "exactly one of bytes, text"),
        (bad_step("seed: {at: 0x900000, text: }"), "5:15", "exactly one of bytes, text"),
        (bad_step("seed: {at: 0x900000, cells: }"), "5:15", "exactly one of bytes, text"),
        (bad_step("seed: {at: 0x900000, bytes: '0'}"), "5:37", "hexadecimal digits"),
        (bad_step("seed: {at: 0x900000, bytes: 12}"), "5:37", "put it in quotes"),
        (bad_step("seed: {at: 0x900000, cells: [1], width: 3}"), "5:49", "1, 2, 4 or 8"),
        (bad_step("seed: {at: 0x900000, cells: [256], width: 1}"), "5:15", "does not fit in 8 bits"),
        (bad_step("seed: {at: 0x900000, pattern: {kind: fill, length: 0}}"), "5:60", "must be 1"),
        (
            bad_step("seed: {at: 0x900000, pattern: {kind: zero, length: 1}}"),
            "5:46",
            "'counter', 'random' or 'fill'",
        ),
        (bad_step("seed: {at: 0x7fffff, bytes: 00 11}"), "5:9", "overlaps the agent's memory"),
        (bad_step("seed: {at: 0xffff, bytes: 00 11}"), "5:9", "overlaps the agent's memory"),
        (
            bad_step("rtas: {service: ibm,os-term}"),
            "5:29",
            "unknown key 'os-term'; a name with a comma needs quotes",
        ),
        (bad_step("rtas: {service: x, block: 0x3000}"), "5:9", "overlaps the agent's memory"),
        (bad_step("rtas: {service: x, args: [0x100000000]}"), "5:35", "does not fit in 32 bits"),
        (bad_step("memop: {destination: 1, source: 2, esize: 0}"), "5:16", "'count' is missing"),
        (bad_step("jump: {}"), "5:9", "unknown key 'jump'"),
        (bad_step("{}"), "5:9", "exactly one of seed"),
        (bad_step("host: {command: a}\n        await: {event: B}"), "5:9", "exactly one of seed"),
        (bad_step("call:"), "5:9", "exactly one of seed"),
        (bad_step("together: {parts: [{}]}"), "5:28", "exactly one of call, memop, rtas, run"),
        (bad_step("together: {parts: [{call: }]}"), "5:28", "exactly one of call, memop, rtas, run"),
        (
            bad_step("together: {parts: [{call: {opcode: 1}, run: {address: 1}}]}"),
            "5:28",
            "exactly one of call, memop, rtas, run",
        ),
        (
            bad_step("together: {parts: [{call: {opcode: 1, name: x}}, {call: {opcode: '$x.r4'}}]}"),
            "5:9",
            "step 'x' that is not before it",
        ),
        (
            bad_step("together: {parts: [{rtas: {service: x, block: 0x3000}}]}"),
            "5:9",
            "overlaps the agent's memory",
        ),
        (bad_step("run: {address: 1, touches: [[$ram.end-16, 8]]}"), "5:38", "is no number"),
        (bad_step("await: {event: reset}"), "5:24", "should match"),
    ],
)
def test_message(text: str, place: str, message: str, write: Write, root: Path) -> None:
    path = write("bad.yaml", text)
    with pytest.raises(BadScenario) as info:
        load_file(path, root)
    lines = str(info.value).splitlines()
    assert any(line.startswith(f"{path}:{place}") and message in line for line in lines), str(info.value)


def test_error_in_a_repeated_step_is_reported_once_where_it_is_written(write: Write, root: Path) -> None:
    text = """\
scenarios:
  - name: x
    summary: s
    matrix: {a: {range: [0, 50]}}
    steps:
      - host: {command: stop}
      - call: {opcode: "${a}", args: ["${a << 64}", 0x1ffffffffffffffff]}
"""
    path = write("bad.yaml", text)
    with pytest.raises(BadScenario) as info:
        load_file(path, root)
    assert {line.split(": ")[0] for line in str(info.value).splitlines()} == {f"{path}:7:39", f"{path}:7:53"}
