"""ibm,change-msi and ibm,query-interrupt-source-number."""

from __future__ import annotations

import pytest

from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.pci import Pci
from rig.model.rtas.connectors import Connector, Connectors

UNIT = (0x0800_0000, 0x2000_0000)
NET, EXPRESS, BRIDGE, SILENT, ABSENT = 0x800, 0x1000, 0x1800, 0x2000, 0xF800
QUERY, CHANGE, DEFAULT, MSI, MSIX, MSI32 = range(6)
LSI = 0x1200
RETS_OF_CHANGE, RETS_OF_QUERY = 0x1024, 0x101C


@pytest.fixture
def model(slots) -> Model:
    return Model(slots())


@pytest.fixture
def calls(judge, prepare, cells):
    """Both calls on a pretended build; the checks that it breaks."""

    class Calls:
        @staticmethod
        def change(
            model: Model, function: int, kind: int, count: int, *rets: int, sequence: int = 1, nret: int = 4
        ) -> list[str]:
            def build(memory: Memory) -> int:
                memory.write(RETS_OF_CHANGE, cells(*rets))
                return H_SUCCESS

            args = (function, *UNIT, kind, count, sequence)
            return judge(model, prepare(model, 0x2019, args, nret=nret), build)[1]

        @staticmethod
        def query(model: Model, function: int, interrupt: int, *rets: int) -> list[str]:
            def build(memory: Memory) -> int:
                memory.write(RETS_OF_QUERY, cells(*rets))
                return H_SUCCESS

            call = prepare(model, 0x2018, (function, *UNIT, interrupt), nret=3)
            return judge(model, call, build)[1]

        @staticmethod
        def facts(model: Model, function: int, kind: int, count: int, sequence: int = 1) -> set[str]:
            call = prepare(model, 0x2019, (function, *UNIT, kind, count, sequence), nret=4)
            return set(model.expect(call).facts)

    return Calls


# ---- what is given ----


def test_what_was_asked_for_is_given_or_less(model: Model, calls) -> None:
    assert calls.change(model, NET, MSIX, 2, 0, 2, 2, 2) == []
    assert calls.change(model, EXPRESS, MSIX, 4, 0, 3, 9, 2) == []
    assert calls.change(model, EXPRESS, MSIX, 4, 0, 5, 2, 2) == ["rets"]
    assert calls.change(model, EXPRESS, MSIX, 4, 0, 0, 2, 2) == ["rets"]


def test_no_more_is_given_than_the_function_has(model: Model, calls) -> None:
    assert calls.change(model, NET, MSIX, 9, 0, 4, 2, 2) == ["rets"]
    assert calls.change(model, NET, MSIX, 9, 0, 3, 2, 2) == []


def test_a_function_that_was_told_to_have_more_may_give_more(model: Model, calls) -> None:
    assert calls.change(model, EXPRESS, MSI, 4, 0, 2, 2, 1) == ["rets"]
    pci = model.state.of(Pci)
    function = next(one for one in pci.functions if one.devfn == EXPRESS >> 8)
    pci.write(function, 0xD2, 1, 0x20)
    assert calls.change(model, EXPRESS, MSI, 4, 0, 4, 2, 1) == []
    assert calls.change(model, EXPRESS, MSI, 4, 0, 5, 2, 1) == ["rets"]
    assert calls.change(model, EXPRESS, MSIX, 9, 0, 6, 2, 2) == ["rets"]


def test_fewer_than_before_are_always_given(model: Model, calls) -> None:
    calls.change(model, NET, MSIX, 3, 0, 3, 2, 2)
    assert calls.change(model, NET, MSIX, 2, 0, 1, 2, 2) == ["rets"]
    assert calls.change(model, NET, MSIX, 1, -1) != []


@pytest.mark.parametrize(
    ("kind", "type_", "expected"),
    [
        (MSI, 1, []),
        (MSI, 2, ["rets"]),
        (MSIX, 2, []),
        (MSIX, 1, ["rets"]),
        (CHANGE, 1, []),
        (CHANGE, 2, []),
        (CHANGE, 0, ["rets"]),
        (MSI32, 1, []),
        (MSI32, 2, ["rets"]),
    ],
)
def test_the_type_is_the_one_asked_for(model: Model, calls, kind: int, type_: int, expected) -> None:
    assert calls.change(model, EXPRESS, kind, 1, 0, 1, 2, type_) == expected


def test_three_outputs_show_no_type(model: Model, calls) -> None:
    assert calls.change(model, EXPRESS, MSI, 1, 0, 1, 2, nret=3) == []
    assert calls.change(model, EXPRESS, MSI, 1, 0, 1, 2, 1, nret=3) == ["memory"]
    # function 1 is for MSI then, and there is none
    assert calls.change(model, NET, CHANGE, 1, -3, nret=3) == []
    assert calls.change(model, NET, CHANGE, 1, -3) != []


@pytest.mark.parametrize("register", [0, 0x10])
def test_nobody_can_say_which_function_is_meant(
    model: Model, calls, monkeypatch: pytest.MonkeyPatch, register: int
) -> None:
    """As after its bridge was given other bus numbers: what a build says then breaks a rule by name."""
    monkeypatch.setattr("rig.model.rtas.interrupts.answers", lambda place, state: (None, True))
    assert calls.query(model, NET + register, 0, -3) == []
    assert calls.query(model, NET + register, 0, 1) == []
    freed = "msi-register" if register else "change-msi-none-to-free"
    asked = "msi-register" if register else "interrupt-not-assigned"
    assert calls.query(model, NET + register, 0, -1) == [f"rtas.{asked}"]
    assert calls.change(model, NET + register, MSI, 0, -1) == [f"rtas.{freed}"]
    assert calls.change(model, NET + register, MSI, 0, -5) == ["status"]


@pytest.mark.parametrize("status", [-2, 9900, 9905])
def test_a_busy_platform_has_changed_nothing(model: Model, calls, status: int) -> None:
    assert calls.change(model, NET, MSIX, 2, status, 0, 2, 0) == []
    assert calls.query(model, NET, 0, 0, LSI, 0) == []
    assert calls.change(model, NET, MSIX, 0, status) != []  # R1-7.3.10.5.1-10
    assert calls.change(model, NET, QUERY, 0, status) != []


@pytest.mark.parametrize(
    ("function", "kind"), [(NET, MSI), (NET, MSI32), (BRIDGE, MSIX), (SILENT, CHANGE), (SILENT, MSI)]
)
def test_a_type_that_is_not_there_is_refused(model: Model, calls, function: int, kind: int) -> None:
    assert calls.change(model, function, kind, 1, -3) == []
    assert calls.change(model, function, kind, 1, -1) == ["status"]
    assert calls.change(model, function, kind, 1, 0, 1, 2, 1) == ["status"]
    assert {"no-msi", "no-msi-x"} & calls.facts(model, function, kind, 1)


@pytest.mark.parametrize("kind", [6, 0x100, 0xFFFF_FFFF])
def test_there_are_six_functions(model: Model, calls, kind: int) -> None:
    assert calls.change(model, NET, kind, 1, -3) == []
    assert calls.change(model, NET, kind, 1, 0, 1, 2, 2) == ["status"]


def test_none_may_be_freed_where_there_are_none(model: Model, calls) -> None:
    assert "none-assigned" in calls.facts(model, NET, MSIX, 0)
    assert calls.change(model, NET, MSIX, 0, 0, 0) == []
    assert calls.change(model, NET, MSIX, 0, -1) == ["rtas.change-msi-none-to-free"]
    assert "status" in calls.change(model, NET, MSIX, 0, -3)
    calls.change(model, NET, MSIX, 1, 0, 1, 2, 2)
    assert calls.change(model, NET, MSIX, 0, -1) != ["rtas.change-msi-none-to-free"]


def test_a_query_shows_what_there_is(model: Model, calls) -> None:
    assert calls.change(model, NET, QUERY, 0, 0, 0) == []
    assert calls.change(model, NET, QUERY, 0, 0, 1, 0, 2) == ["rets"]
    calls.change(model, NET, MSIX, 2, 0, 2, 2, 2)
    assert calls.change(model, NET, QUERY, 9, 0, 2, 0, 2) == []
    assert calls.change(model, NET, QUERY, 9, 0, 2, 0, 1) == ["rets"]
    assert calls.change(model, NET, QUERY, 9, -3) == ["rtas.change-msi-function"]
    assert calls.query(model, NET, 1, 0, 0x1301, 1) == []


def test_the_default_is_that_of_the_boot(model: Model, calls) -> None:
    calls.change(model, NET, MSIX, 2, 0, 2, 2, 2)
    assert calls.change(model, NET, DEFAULT, 9, -3) == ["rtas.change-msi-function"]
    assert calls.query(model, NET, 1, 0, 0x1301, 1) == []
    assert calls.change(model, NET, DEFAULT, 9, 0, 2, 0, 2) == ["rets"]
    assert calls.change(model, NET, DEFAULT, 9, 0, 0) == []
    assert calls.query(model, NET, 0, 0, LSI, 0) == []


def test_another_sequence_number_may_be_refused(model: Model, calls) -> None:
    assert "sequence-not-1" in calls.facts(model, NET, MSIX, 1, 2)
    assert calls.change(model, NET, MSIX, 1, -3, sequence=2) == []
    assert calls.change(model, NET, MSIX, 1, 0, 1, 3, 2, sequence=2) == []
    assert calls.change(model, NET, MSIX, 1, -1, sequence=2) != []


def test_a_request_for_more_than_there_are_is_marked(model: Model, calls) -> None:
    assert "pool-exceeded" not in calls.facts(model, NET, MSIX, 16)
    assert "pool-exceeded" in calls.facts(model, NET, MSIX, 17)
    calls.change(model, NET, MSIX, 3, 0, 3, 2, 2)
    assert "pool-exceeded" in calls.facts(model, EXPRESS, MSIX, 14)


# ---- where it is ----


def test_an_absent_function_is_a_bad_parameter(model: Model, calls) -> None:
    assert "function-absent" in calls.facts(model, ABSENT, MSIX, 1)
    for kind in range(7):
        assert calls.change(model, ABSENT, kind, 1, -3) == []
        assert calls.change(model, ABSENT, kind, 1, -1) == ["status"]
    assert calls.query(model, ABSENT, 0, -3) == []
    assert calls.query(model, ABSENT, 0, 1) == ["status"]


def test_a_function_that_was_plugged_may_have_anything(model: Model, calls) -> None:
    model.state.of(Connectors).devices["it"] = (Connector(1, "C248", "28", occupied=True),)
    assert "function-unknown" in calls.facts(model, ABSENT, MSIX, 1)
    for status in (0, -3):
        assert calls.change(model, ABSENT, MSIX, 1, status, 1, 2, 2) == []
    for status in (0, 1, -3):
        assert calls.query(model, ABSENT, 0, status, 1, 1) == []
    assert calls.query(model, ABSENT, 0, -1) == ["rtas.interrupt-not-assigned"]


@pytest.mark.parametrize("more", [4, 0x1000_0000, 0x0400_0000])
def test_a_register_or_a_reserved_bit_is_the_callers_fault(model: Model, calls, more: int) -> None:
    assert "register-given" in calls.facts(model, NET + more, MSIX, 1)
    assert calls.change(model, NET + more, MSIX, 1, -3) == []
    assert calls.change(model, NET + more, MSIX, 1, -1) == ["rtas.msi-register"]
    assert calls.query(model, NET + more, 0, -3) == []
    assert calls.query(model, NET + more, 5, 0, 0x1307, 1) == ["rtas.msi-register"]
    assert calls.query(model, NET, 0, 0, LSI, 0) == []
    calls.change(model, NET, MSIX, 1, 0, 1, 2, 2)
    assert calls.query(model, NET + more, 0, 0, 0x1308, 1) == []
    assert calls.query(model, NET, 0, 0, 0x1300, 1) == []
    assert calls.query(model, NET + more, 0, 0, 0x1308, 1) == ["rtas.msi-register"]
    # one that is taken leaves open what it has changed
    assert calls.change(model, NET + more, MSIX, 1, 0, 1, 2, 2) == []
    assert calls.query(model, NET, 0, 1) == []
    assert calls.query(model, NET, 0, 0, 0x1300, 1) == []


# ---- source numbers ----


def test_a_number_is_kept_until_the_next_change(model: Model, calls) -> None:
    calls.change(model, NET, MSIX, 2, 0, 2, 2, 2)
    assert calls.query(model, NET, 0, 0, 0x1300, 1) == []
    assert calls.query(model, NET, 0, 0, 0x1301, 1) == ["rets"]
    assert calls.query(model, NET, 0, 0, 0x1301, 1) == []
    calls.change(model, NET, MSIX, 2, 0, 2, 2, 2)
    assert calls.query(model, NET, 0, 0, 0x1399, 1) == []


def test_numbers_are_not_shared(model: Model, calls) -> None:
    calls.change(model, NET, MSIX, 2, 0, 2, 2, 2)
    calls.change(model, EXPRESS, MSIX, 2, 0, 2, 2, 2)
    assert calls.query(model, NET, 0, 0, 0x1300, 1) == []
    assert calls.query(model, NET, 1, 0, 0x1300, 1) == ["rets"]
    assert calls.query(model, EXPRESS, 0, 0, 0x1300, 1) == ["rets"]
    assert calls.query(model, EXPRESS, 1, 0, LSI, 1) == ["rets"]


def test_messages_are_edges(model: Model, calls) -> None:
    calls.change(model, NET, MSIX, 1, 0, 1, 2, 2)
    assert calls.query(model, NET, 0, 0, 0x1300, 0) == ["rets"]
    assert "status" in calls.query(model, NET, 0, -1)


def test_past_the_end_there_is_none(model: Model, calls) -> None:
    calls.change(model, NET, MSIX, 2, 0, 2, 2, 2)
    assert calls.query(model, NET, 2, 1) == []
    assert calls.query(model, NET, 0xFFFF_FFFF, 1) == []
    assert calls.query(model, NET, 2, -1) == ["rtas.interrupt-not-assigned"]
    assert calls.query(model, NET, 2, -3) == ["status"]
    assert calls.query(model, NET, 2, 0, 0x1302, 1) == ["status"]


def test_without_messages_there_is_the_pin(model: Model, calls) -> None:
    assert calls.query(model, NET, 0, 0, LSI, 0) == []
    assert calls.query(model, NET, 0, 0, LSI, 1) == ["rets"]
    assert calls.query(model, NET, 0, 0, LSI + 1, 0) == ["rets"]
    assert calls.query(model, NET, 0, -1) == ["rtas.interrupt-lsi"]
    assert calls.query(model, NET, 1, 1) == []
    assert calls.query(model, BRIDGE, 0, 0, 0x1207, 0) == []
    assert calls.query(model, SILENT, 0, 1) == []
    assert calls.query(model, SILENT, 0, -1) == ["rtas.interrupt-not-assigned"]


def test_a_function_of_pci_express_may_begin_with_messages(model: Model, calls) -> None:
    assert calls.query(model, EXPRESS, 0, 0, 0x1300, 1) == []
    assert calls.query(model, EXPRESS, 0, 0, 0x1200, 0) == []
    assert calls.query(model, EXPRESS, 0, 0, 0x1200, 2) == ["rets"]


def test_what_was_granted_in_part_must_be_there(model: Model, calls) -> None:
    calls.change(model, NET, MSIX, 1, 0, 1, 2, 2)
    calls.query(model, NET, 0, 0, 0x1300, 1)
    assert calls.change(model, NET, MSIX, 9, 0, 3, 2, 2) == []
    assert calls.query(model, NET, 2, -1) == ["rtas.msi-not-allocated"]
    # then there is what there was before, and the difference is reported once
    assert calls.query(model, NET, 2, 1) == []
    assert calls.query(model, NET, 0, 0, 0x1300, 1) == []
    assert calls.change(model, NET, MSIX, 9, 0, 3, 2, 2) == []
    assert calls.query(model, NET, 2, 0, 0x1302, 1) == []


def test_what_was_granted_in_part_and_is_not_there_cannot_be_freed(model: Model, calls) -> None:
    assert calls.change(model, NET, MSIX, 9, 0, 3, 2, 2) == []
    assert calls.change(model, NET, MSIX, 0, -1) == ["rtas.msi-not-allocated"]
    assert calls.change(model, NET, MSIX, 0, -1) == ["rtas.change-msi-none-to-free"]
    calls.change(model, NET, MSIX, 1, 0, 1, 2, 2)
    assert calls.change(model, NET, MSIX, 9, 0, 3, 2, 2) == []
    assert "status" in calls.change(model, NET, MSIX, 0, -1)


def test_what_was_granted_in_part_may_have_left_more_than_it_said(model: Model, calls) -> None:
    calls.change(model, EXPRESS, MSIX, 4, 0, 4, 2, 2)
    assert calls.change(model, EXPRESS, MSI, 9, 0, 1, 2, 1) == []
    assert calls.query(model, EXPRESS, 3, 1) == []
    assert calls.query(model, EXPRESS, 3, 0, 0x1303, 1) == ["rtas.msi-not-allocated"]
    # then there is what there was before
    assert calls.query(model, EXPRESS, 3, 0, 0x1303, 1) == []
    assert "status" in calls.query(model, EXPRESS, 4, 0, 0x1304, 1)


def test_what_was_granted_in_part_twice_is_doubted_from_the_first_time_on(model: Model, calls) -> None:
    for _ in range(2):
        calls.change(model, NET, MSIX, 9, 0, 3, 2, 2)
    assert calls.change(model, NET, MSIX, 0, -1) == ["rtas.msi-not-allocated"]


def test_what_was_granted_in_full_is_not_doubted(model: Model, calls) -> None:
    calls.change(model, NET, MSIX, 3, 0, 3, 2, 2)
    assert "status" in calls.query(model, NET, 2, -1)


def test_a_reset_frees_everything(slots, calls) -> None:
    model = Model(slots())
    calls.change(model, NET, MSIX, 2, 0, 2, 2, 2)
    model.reset(slots())
    assert calls.query(model, NET, 0, 0, LSI, 0) == []
    assert calls.query(model, NET, 1, 1) == []


def test_another_shape_leaves_the_state_open(model: Model, judge, prepare, cells, calls) -> None:
    def build(memory: Memory) -> int:
        memory.write(0x1028, cells(0, 1, 2, 2))
        return H_SUCCESS

    call = prepare(model, 0x2019, (NET, *UNIT, MSIX, 1, 1, 0), nret=4)
    assert judge(model, call, build)[1] == []
    assert calls.query(model, NET, 0, 0, 0x1300, 1) == []
    assert calls.query(model, NET, 0, 1) == []
