"""Loading: what a file becomes, which files are checked again, which scenarios are chosen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rig.program import Await, Call, Host, MachineOptions, Ref, Requirement, Rtas, Seed, Step
from rig.scenario import stamps
from rig.scenario.loader import BadScenario, load_all, load_file, select

from .conftest import GOOD, Write, bad_step


def steps(text: str, write: Write, root: Path) -> list[Step]:
    """The steps of a scenario, given as the lines below ``steps:``."""
    lines = "".join(f"      {line}\n" for line in text.strip().splitlines())
    path = write("x.yaml", f"scenarios:\n  - name: x\n    summary: s\n    steps:\n{lines}")
    (scenario,) = load_file(path, root)
    assert scenario.steps is not None
    return list(scenario.steps())


def test_every_kind_of_step(write: Write, root: Path) -> None:
    found = steps(
        """
- seed: {at: 0x900000, bytes: "00 ff 55 aa"}
- seed: {at: "0x900000", text: abc}
- seed: {at: $ram.end-16, pattern: {kind: counter, length: 4, value: 254}}
- seed: {at: 0x900000, pattern: {kind: fill, length: 3, value: 7}, name: here}
- seed: {at: 0x900000, cells: [1, -1, $fdt.start], width: 8}
- call: {opcode: 0x3c, args: [4, 0x900000], name: load, timeout: 2, registers: {r14: -1, cr: 0x80000000}}
- call: {opcode: H_LOGICAL_MEMOP, args: [1, 2, 3, "0xffffffffffffffff", -4]}
- memop: {destination: $load.r4, source: 2, esize: 3, count: 4}
- rtas: {service: get-time-of-day, nret: 8, name: now}
- rtas: {service: 0xa, args: [-1, "$now.rets[1]"], nargs: 9, block: 0x910000, address: 1}
- host: {command: qom-get, arguments: {path: /machine}, fails: GenericError}
- await: {event: RESET, data: {guest: true}}
""",
        write,
        root,
    )
    top = (1 << 64) - 1
    assert found == [
        Seed(0x90_0000, b"\0\xff\x55\xaa"),
        Seed(0x90_0000, b"abc"),
        Seed(Ref("$ram.end-16"), b"\xfe\xff\0\1"),
        Seed(0x90_0000, b"\7\7\7", name="here"),
        Seed(0x90_0000, cells=(1, top, Ref("$fdt.start")), width=8),
        Call(0x3C, (4, 0x90_0000), "load", {"r14": (1 << 128) - 1, "cr": 0x8000_0000}, 2),
        Call(0xF001, (1, 2, 3, top, top - 3)),
        Call(0xF001, (Ref("$load.r4"), 2, 3, 4, 0)),
        Rtas("get-time-of-day", nret=8, name="now"),
        Rtas(0xA, (0xFFFF_FFFF, Ref("$now.rets[1]")), nargs=9, block=0x91_0000, address=1),
        Host("qom-get", {"path": "/machine"}, fails="GenericError"),
        Await("RESET", {"guest": True}),
    ]


def test_arguments_by_name(write: Write, root: Path) -> None:
    found = steps(
        "- call: {opcode: H_LOGICAL_MEMOP, args: {count: 1, source: 5, destination: 6}}", write, root
    )
    assert found == [Call(0xF001, (6, 5, 0, 1, 0))]


def test_random_is_the_same_every_time(write: Write, root: Path) -> None:
    one = "- seed: {at: 0x900000, pattern: {kind: random, length: 64, seed: 5}}"
    assert steps(one, write, root) == steps(one, write, root)
    assert steps(one, write, root) != steps(one.replace("5}", "6}"), write, root)


HEAD = """\
scenarios:
  - name: first
    summary: what it shows
    machine: {memory: 1024, cpu: power8_v2.0, smp: 2, devices: [nec-usb-xhci], mapping: false, endian: little}
    requires: {versions: ">=7.2,<10.0", devices: [nec-usb-xhci], services: ["ibm,os-term"]}
    requirements: [R1-7.3.2.1-1]
    steps:
      - host: {command: stop}
  - name: second
    summary: another
    steps:
      - host: {command: cont}
"""


def test_scenario_fields(write: Write, root: Path) -> None:
    first, second = load_file(write("a/b.yaml", HEAD), root)
    assert (first.name, first.summary, first.line) == ("a/b/first", "what it shows", 2)
    assert first.source == str(root / "a/b.yaml")
    assert first.machine == MachineOptions(
        memory=1024, cpu="power8_v2.0", smp="2", devices=("nec-usb-xhci",), mapping=False, endian="little"
    )
    assert first.requires == Requirement(">=7.2,<10.0", ("nec-usb-xhci",), ("ibm,os-term",))
    assert first.requirements == ("R1-7.3.2.1-1",)
    assert (second.name, second.line, second.machine) == ("a/b/second", 9, MachineOptions())
    assert hash(first.machine) != hash(second.machine)


MATRIX = """\
scenarios:
  - name: all${}
    summary: s
    matrix: {{a: [1, 2], b: {{range: [0, 2]}}}}
    {}
    before:
      - seed: {{at: 0x900000, bytes: "01"}}
    steps:
      - call: {{opcode: 0xffff, args: ["${{a}}", "${{b}}", "${{index * 16}}"]}}
      - host: {{command: "query-${{a}}"}}
"""


def test_matrix_repeats_steps(write: Write, root: Path) -> None:
    (one,) = load_file(write("m.yaml", MATRIX.format("", "expand: steps").replace("all$", "all")), root)
    assert one.steps is not None
    found = list(one.steps())
    assert found[:3] == [Seed(0x90_0000, b"\1"), Call(0xFFFF, (1, 0, 0)), Host("query-1")]
    assert [step.args for step in found if isinstance(step, Call)] == [
        (1, 0, 0),
        (1, 1, 16),
        (2, 0, 32),
        (2, 1, 48),
    ]
    assert len(found) == 9


def test_matrix_makes_scenarios(write: Write, root: Path) -> None:
    found = load_file(
        write(
            "m.yaml", MATRIX.format("{a}-${{b}}".replace("{{", "{").replace("}}", "}"), "expand: scenarios")
        ),
        root,
    )
    assert [one.name for one in found] == ["m/all1-0", "m/all1-1", "m/all2-0", "m/all2-1"]
    assert found[3].steps is not None
    assert [step.args for step in found[3].steps() if isinstance(step, Call)] == [(2, 1, 48)]


def test_play_yields_all_steps_in_order(write: Write, root: Path) -> None:
    text = MATRIX.format("", "expand: steps").replace("all$", "all").replace("[1, 2]", "{range: [0, 300]}")
    (one,) = load_file(write("m.yaml", text), root)
    assert one.steps is not None
    played = [step for chunk in one.play(None) for step in chunk]  # type: ignore[arg-type, union-attr]
    assert played == list(one.steps())
    assert len(played) == 1 + 300 * 2 * 2


def test_calls(write: Write, root: Path) -> None:
    (one,) = load_file(
        write(
            "x.yaml",
            bad_step(
                "memop: {destination: 0, source: 0, esize: 0, count: 0}\n"
                "      - rtas: {service: display-character}"
            ),
        ),
        root,
    )
    assert one.calls("H_LOGICAL_MEMOP")
    assert one.calls("display-character")
    assert not one.calls("H_LOGICAL_CI_LOAD")
    assert not one.calls("set-time-of-day")


# ---- several files, and none ---------------------------------------------------------------------------


def test_duplicate_names(write: Write, root: Path) -> None:
    path = write("x.yaml", GOOD + GOOD.removeprefix("scenarios:\n"))
    with pytest.raises(BadScenario, match=rf"{path}:6: there is already a scenario x/good, at {path}:2"):
        load_file(path, root)


def test_same_id_in_two_files(write: Write, root: Path) -> None:
    write("x.yaml", GOOD)
    write("x.py", SCRIPT.replace("NAME", "good"))
    with pytest.raises(BadScenario, match="already a scenario x/good"):
        load_all(root)


def test_not_text(root: Path) -> None:
    (root / "x.yaml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(BadScenario, match=r"x\.yaml: cannot be read"):
        load_file(root / "x.yaml", root)


def test_missing_file(root: Path) -> None:
    with pytest.raises(BadScenario, match="cannot be read"):
        load_file(root / "none.yaml", root)


# ---- stamps -----------------------------------------------------------------------------------------------


def test_a_file_found_right_is_stamped_and_loads_the_same(write: Write, root: Path, own_cache: Path) -> None:
    path = write("x.yaml", HEAD)
    first = load_file(path, root)
    assert len(list((own_cache / "spapr-rig" / "checked").iterdir())) == 1
    again = load_file(path, root)
    assert [(a.name, a.machine, a.requires, a.line) for a in first] == [
        (a.name, a.machine, a.requires, a.line) for a in again
    ]
    assert [list(a.steps()) for a in first if a.steps] == [list(a.steps()) for a in again if a.steps]


def test_a_changed_file_is_checked_again(write: Write, root: Path) -> None:
    load_file(write("x.yaml", GOOD), root)
    with pytest.raises(BadScenario, match="unknown key"):
        load_file(write("x.yaml", GOOD + "extra: 1\n"), root)


def test_a_bad_file_is_never_stamped(write: Write, root: Path) -> None:
    path = write("x.yaml", GOOD + "extra: 1\n")
    for _ in range(2):
        with pytest.raises(BadScenario, match="unknown key"):
            load_file(path, root)


def test_a_cache_that_cannot_be_written_is_no_error(
    write: Write, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    load_file(write("x.yaml", GOOD), root)
    assert not stamps.known(stamps.digest(GOOD.encode()))


# ---- Python -----------------------------------------------------------------------------------------------

SCRIPT = """\
from rig.program import Call
from rig.scenario.script import scenario


@scenario(name="NAME", summary="s", issues=frozenset({"H_LOGICAL_ICBI", 0x50}))
def one(stage):
    yield Call(0x4c)
"""


def test_script(write: Write, root: Path) -> None:
    path = write("a/x.py", SCRIPT.replace("NAME", "one"))
    (one,) = load_file(path, root)
    assert (one.name, one.source, one.line, one.steps) == ("a/x/one", str(path), 5, None)
    assert one.calls("H_LOGICAL_ICBI")
    assert one.calls("H_LOGICAL_DCBF")
    assert not one.calls("H_LOGICAL_MEMOP")
    assert list(one.play(None)) == [Call(0x4C)]  # type: ignore[arg-type]
    assert not list(root.rglob("__pycache__"))
    assert not [name for name in sys.modules if name.endswith("/x.py")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"x\.py: defines no scenario"),
        ("\n1 / 0\n", r"x\.py:2: ZeroDivisionError"),
        ("a = 1\nb = (\n", r"x\.py:2: SyntaxError"),
        ("import no_such_module\n", r"x\.py:1: ModuleNotFoundError"),
    ],
)
def test_bad_script(text: str, message: str, write: Write, root: Path) -> None:
    path = write("x.py", text)
    with pytest.raises(BadScenario, match=message):
        load_file(path, root)


# ---- choosing ---------------------------------------------------------------------------------------------


@pytest.fixture
def tree(write: Write, root: Path) -> Path:
    """Two folders; one file that must not be parsed unless it is asked for."""
    write("memop/limits.yaml", HEAD)
    write("memop/other.py", SCRIPT.replace("NAME", "third"))
    write("logical/broken.yaml", "scenarios: [\n")
    write("memop/_hidden.yaml", "scenarios: [\n")
    write("rtas/clock.yaml", GOOD)
    return root


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("memop/limits/first", ["memop/limits/first"]),
        ("memop/limits", ["memop/limits/first", "memop/limits/second"]),
        ("memop", ["memop/limits/first", "memop/limits/second", "memop/other/third"]),
        ("memop/", ["memop/limits/first", "memop/limits/second", "memop/other/third"]),
        ("memop/*/[ft]*", ["memop/limits/first", "memop/other/third"]),
        ("rt*", ["rtas/clock/good"]),
    ],
)
def test_select(pattern: str, names: list[str], tree: Path) -> None:
    assert [scenario.name for scenario in select([pattern], tree)] == names


def test_select_each_once(tree: Path) -> None:
    found = select(["rtas", "memop/limits/first", "memop/limits"], tree)
    assert [one.name for one in found] == ["rtas/clock/good", "memop/limits/first", "memop/limits/second"]


def test_select_a_file(tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert [one.name for one in select([str(path)], tree)] == ["mine/good"]


def test_select_nothing_is_everything(tree: Path) -> None:
    (tree / "logical" / "broken.yaml").unlink()
    found = [one.name for one in select([], tree)]
    assert len([name for name in found if "@" not in name]) == 4
    assert [name for name in found if "@" in name] == ["rtas/clock/good@le"]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("memop/limits/frist", "memop/limits/first"), ("rtsa", "rtas"), ("zzz*", "rig list")],
)
def test_select_unknown(pattern: str, hint: str, tree: Path) -> None:
    (tree / "logical" / "broken.yaml").unlink()
    with pytest.raises(BadScenario, match=f"no scenario is called or matched.*{hint}"):
        select([pattern], tree)


def test_select_missing_file(tree: Path) -> None:
    with pytest.raises(BadScenario, match=r"no scenario file nowhere/x\.yaml"):
        select(["nowhere/x.yaml"], tree)


def test_one_id_from_two_files_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.yaml").write_text(GOOD)
    first, second = (str(tmp_path / folder / "x.yaml") for folder in ("a", "b"))
    assert len(select([first, first])) == 1
    with pytest.raises(BadScenario, match="there is already a scenario x/good"):
        select([first, second])
    with pytest.raises(BadScenario, match="is a folder"):
        load_file(tmp_path / "a")


def test_a_script_that_ends_python_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "ends.py"
    script.write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(BadScenario, match=r"ends\.py:2: SystemExit"):
        load_file(script)
