"""What a run says it has covered."""

from __future__ import annotations

from typing import Any

from rig.model.rtas.families import SERVICES
from rig.report.coverage import NOT_SEEN, coverage
from rig.report.result import Result


def covered(*results: Result) -> Any:
    return coverage(results, SERVICES, {"H_LOGICAL_MEMOP"})


def test_calls_are_counted_over_all_results_by_what_they_returned() -> None:
    first = Result("a", 0, "conforms", returns={("H_LOGICAL_MEMOP", 0): 2, ("0xf00f", -2): 1})
    second = Result("b", 0, "deviates", returns={("H_LOGICAL_MEMOP", -4): 1, ("H_LOGICAL_MEMOP", 7): 1})
    assert covered(first, second)["hypercalls"] == {
        "0xf00f": {"calls": 1, "returns": {"H_FUNCTION": 1}},
        "H_LOGICAL_MEMOP": {"calls": 4, "returns": {"7": 1, "H_PARAMETER": 1, "H_SUCCESS": 2}},
    }


def test_host_actions_are_no_hypercalls() -> None:
    assert covered(Result("a", 0, "conforms", returns={("system_reset", 0): 1}))["hypercalls"] == {}


def test_a_service_tells_what_was_never_seen_and_why() -> None:
    returns = {("ibm,nmi-register", 0): 2, ("ibm,nmi-register", 99): 1}
    entry = covered(Result("a", 0, "conforms", returns=returns))["rtas"]["ibm,nmi-register"]
    assert entry == {
        "calls": 3,
        "statuses": {"99": 1, "0": 2},
        "endings": {},
        "never": {"-1": "needs hardware that fails", "-3": NOT_SEEN},
    }


def test_calls_that_did_not_return_are_counted() -> None:
    entry = covered(Result("a", 0, "conforms", endings={("system-reboot", "reset"): 3}))["rtas"][
        "system-reboot"
    ]
    assert (entry["calls"], entry["endings"]) == (3, {"reset": 3})


def test_every_service_is_there_called_or_not() -> None:
    entries = covered()["rtas"]
    assert entries.keys() == SERVICES.keys()
    assert all(entry["calls"] == 0 for entry in entries.values())


def test_requirements_name_the_scenarios_that_were_played() -> None:
    results = (
        Result("a", 0, "conforms", requirements=("R1-2.3-1", "R1-2.3-2")),
        Result("a", 1, "mismatch", requirements=("R1-2.3-1",)),
        Result("b", 0, "deviates", requirements=("R1-2.3-1",)),
        Result("c", 0, "skipped", requirements=("R1-2.3-3",)),
        Result("d", 0, "error", requirements=("R1-2.3-1",)),
    )
    assert covered(*results)["requirements"] == {"R1-2.3-1": ["a", "b"], "R1-2.3-2": ["a"]}
