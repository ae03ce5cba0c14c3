"""The scenarios that the rig ships."""

from __future__ import annotations

from collections import Counter

from rig.program import Call
from rig.resources import image_root, scenario_root
from rig.scenario.loader import load_all, select


def test_all_load() -> None:
    scenarios = load_all(scenario_root())
    folders = Counter(scenario.name.split("/")[0] for scenario in scenarios)
    assert folders["memop"] >= 80
    assert folders["logical"] >= 30
    assert folders["rtas"] >= 80
    assert folders["agreement"] >= 4
    assert folders["releases"] >= 5
    assert all(scenario.summary for scenario in scenarios)


def test_exhaustive_memop_is_exhaustive() -> None:
    seen = set()
    for scenario in select(["memop/exhaustive"]):
        assert scenario.steps is not None
        for step in scenario.steps():
            if isinstance(step, Call):
                destination, source, esize, count, op = step.args
                assert isinstance(destination, int)
                assert isinstance(source, int)
                seen.add((esize, op, count, destination - source))
    assert seen == {
        (esize, op, count, distance)
        for esize in range(4)
        for op in range(2)
        for count in range(17)
        for distance in range(-64, 65, 1 << esize)
    }


def test_exhaustive_arenas_are_apart() -> None:
    for scenario in select(["memop/exhaustive"]):
        assert scenario.steps is not None
        seed, *calls = scenario.steps()
        arenas = [step.args[1] // 512 for step in calls]  # type: ignore[union-attr, operator]
        assert len(set(arenas)) == len(calls)
        assert len(seed.data) == 512 * len(calls)  # type: ignore[union-attr]


def test_images_are_there() -> None:
    assert (image_root() / "PROTOCOL.md").is_file()
