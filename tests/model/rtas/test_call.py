"""H_RTAS: the parameter block, and what may be written around it."""

from __future__ import annotations

import pytest

from rig.model.hypercall import H_PARAMETER, H_SUCCESS, MASK64
from rig.model.memory import Memory
from rig.model.model import Model
from rig.program import H_RTAS, Call

GET, SET, SHOW, UNMODELLED = 0x2001, 0x2002, 0x2000, 0x20FF
UNKNOWN = 0x2FFF
RAM_END = 0x10000
BLOCK = 0x1000
NOW = (1_700_000_000.0, 1_700_000_000.1)
NOW_CELLS = (2023, 11, 14, 22, 13, 20, 50_000_000)
DATE = (2001, 2, 3, 4, 5, 6, 0)


def writes(address: int, data: bytes, r3: int = H_SUCCESS):
    """A build that writes ``data`` and returns ``r3``."""

    def build(memory: Memory) -> int:
        if data:
            memory.write(address, data)
        return r3

    return build


def breaches(model: Model, call: Call) -> set[str]:
    return {case.breach.check for case in model.expect(call).cases if case.breach}


def test_a_service_answers_in_its_outputs(model: Model, judge, prepare, cells) -> None:
    call = prepare(model, GET, nret=8)
    expectation = model.expect(call)
    assert expectation.call == "get-time-of-day"
    assert expectation.arguments == {"token": GET, "nargs": 0, "nret": 8}
    assert expectation.facts == set()
    assert expectation.footprint == ((BLOCK, 44),)
    case, checks = judge(model, call, writes(BLOCK + 12, cells(0, *NOW_CELLS)), clock=NOW)
    assert (case.name, checks) == ("status 0", [])


def test_a_service_that_emits_events_runs_alone(model: Model, prepare) -> None:
    assert model.expect(prepare(model, SET, DATE)).footprint is None


def test_arguments_have_their_names(model: Model, prepare) -> None:
    expectation = model.expect(prepare(model, SET, DATE))
    assert expectation.arguments["year"] == 2001
    assert expectation.arguments["nanosecond"] == 0


@pytest.mark.parametrize("top", [0x1000_0000_0000_0000, 0xF000_0000_0000_0000])
def test_bits_above_the_real_address_are_ignored(model: Model, judge, prepare, cells, top: int) -> None:
    prepare(model, GET, nret=8)
    call = Call(H_RTAS, (BLOCK | top,))
    assert model.expect(call).facts == {"address-high-bits"}
    assert judge(model, call, writes(BLOCK + 12, cells(0, *NOW_CELLS)), clock=NOW)[1] == []


@pytest.mark.parametrize(
    ("data", "r3", "expected"),
    [
        ((0, *NOW_CELLS), H_PARAMETER, ["r3"]),
        ((-5, *NOW_CELLS), H_SUCCESS, ["status"]),
        ((-1, *NOW_CELLS), H_SUCCESS, ["status"]),
        ((0, *NOW_CELLS, 0), H_SUCCESS, ["memory"]),
        ((0, 2023, 13, *NOW_CELLS[2:]), H_SUCCESS, ["rets"]),
        ((0, 2023, 11, 31, *NOW_CELLS[3:]), H_SUCCESS, ["rtas.time-of-day"]),
    ],
    ids=["r3", "status", "hardware-error", "past-the-end", "field", "date"],
)
def test_a_wrong_answer_is_rejected(model: Model, judge, prepare, cells, data, r3, expected) -> None:
    build = writes(BLOCK + 12, cells(*data), r3)
    assert judge(model, prepare(model, GET, nret=8), build, clock=NOW)[1] == expected


def test_an_answer_that_puts_off_may_leave_anything_in_the_outputs(
    model: Model, judge, prepare, cells
) -> None:
    build = writes(BLOCK + 12, cells(-2, 1, 2, 3, 4, 5, 6, 7))
    assert judge(model, prepare(model, GET, nret=8), build, clock=NOW)[1] == []


def test_outputs_that_a_success_does_not_name_stay(model: Model, judge, prepare, cells) -> None:
    build = writes(BLOCK + 12 + 28, cells(0, 0))
    assert judge(model, prepare(model, SET, DATE), build, clock=NOW)[1] == ["memory"]


# ---- unknown tokens ----


@pytest.mark.parametrize("token", [UNKNOWN, 0, 0xFFFF_FFFF])
def test_an_unknown_token_is_a_bad_parameter(model: Model, judge, prepare, cells, token: int) -> None:
    call = prepare(model, token, (1, 2), nret=3)
    expectation = model.expect(call)
    assert expectation.call == "H_RTAS"
    assert expectation.facts == {"unknown-token"}
    assert judge(model, call, writes(BLOCK + 20, b"", H_PARAMETER))[1] == []
    assert judge(model, call, writes(BLOCK + 20, cells(-3, 1, 2), H_PARAMETER))[1] == []
    call = prepare(model, token, (1, 2), nret=3)
    assert judge(model, call, writes(BLOCK + 20, cells(-3), H_SUCCESS))[1] == ["r3"]
    assert judge(model, call, writes(BLOCK + 32, cells(0), H_PARAMETER))[1] == ["memory"]


def test_an_unknown_token_without_outputs_writes_none(model: Model, judge, prepare, cells) -> None:
    call = prepare(model, UNKNOWN, (1,), nret=0)
    assert model.expect(call).facts == {"unknown-token", "nret-zero"}
    assert judge(model, call, writes(0, b"", H_PARAMETER))[1] == []
    case, checks = judge(model, call, writes(BLOCK + 16, cells(-3), H_PARAMETER))
    assert checks == ["rtas.writes-past-nret"]
    call = prepare(model, UNKNOWN, (1,), nret=0)
    assert "memory" in judge(model, call, writes(BLOCK + 20, cells(-3), H_PARAMETER))[1]
    assert case.breach is not None


def test_token_0xa_is_unknown_although_a_build_may_take_it(model: Model, judge, prepare, cells) -> None:
    call = prepare(model, 0xA, (0x41,))
    assert model.expect(call).facts == {"unknown-token", "token-0xa"}
    assert judge(model, call, writes(BLOCK + 16, cells(-3), H_PARAMETER))[1] == []
    call = prepare(model, 0xA, (0x41,))
    lax = writes(BLOCK + 16, cells(0))
    assert judge(model, call, lax, console=b"A")[1] == ["rtas.token-0xa-accepted"]
    call = prepare(model, 0xA, (0x41,))
    assert judge(model, call, lax, console=b"B")[1] == ["rtas.token-0xa-accepted", "console"]


def test_the_alias_is_foreseen_in_any_shape(model: Model, prepare) -> None:
    assert "rtas.token-0xa-accepted" in breaches(model, prepare(model, 0xA, (), nret=1))
    assert "rtas.token-0xa-accepted" not in breaches(model, prepare(model, 0xB, (), nret=1))


def test_a_service_without_a_model_is_called(model: Model, judge, prepare, cells) -> None:
    call = prepare(model, UNMODELLED, nret=2)
    assert model.expect(call).facts == {"service-unmodelled"}
    assert judge(model, call, writes(BLOCK + 12, cells(5, 6)))[1] == []
    assert judge(model, call, writes(BLOCK + 20, cells(7)))[1] == ["memory"]


# ---- shapes that the service does not have ----


def test_another_shape_may_be_refused_or_run(model: Model, judge, prepare, cells) -> None:
    for status, r3 in ((-3, H_SUCCESS), (0, H_SUCCESS), (-1, H_SUCCESS), (77, H_PARAMETER)):
        call = prepare(model, GET, nret=3)
        assert "wrong-shape" in model.expect(call).facts
        assert judge(model, call, writes(BLOCK + 12, cells(status, 1, 2), r3), clock=NOW)[1] == []


@pytest.mark.parametrize(("status", "expected"), [(-2, ["status"]), (77, ["status"])])
def test_another_shape_still_has_a_status_of_the_services_table(
    model: Model, judge, prepare, cells, status: int, expected: list[str]
) -> None:
    call = prepare(model, SET, DATE[:6])
    assert judge(model, call, writes(BLOCK + 12 + 24, cells(status)), clock=NOW)[1] == expected


def test_outputs_past_nret_are_a_breach_reported_once(model: Model, judge, prepare, cells) -> None:
    for nret, data in ((0, (-3,)), (0, (0, *NOW_CELLS)), (2, (0, *NOW_CELLS))):
        call = prepare(model, GET, nret=nret)
        build = writes(BLOCK + 12, cells(*data))
        assert judge(model, call, build, clock=NOW)[1] == ["rtas.writes-past-nret"]


def test_what_is_past_the_services_results_is_never_its_to_write(model: Model, judge, prepare, cells) -> None:
    call = prepare(model, GET, nret=2)
    assert "memory" in judge(model, call, writes(BLOCK + 12 + 32, cells(0)), clock=NOW)[1]


def test_whether_a_service_ran_in_another_shape_is_told_by_its_status(
    model: Model, judge, prepare, cells
) -> None:
    call = prepare(model, SET, (*DATE, 0), nret=1)
    judge(model, call, writes(BLOCK + 12 + 32, cells(-3)), clock=NOW)
    get = prepare(model, GET, nret=8)
    assert judge(model, get, writes(BLOCK + 12, cells(0, *NOW_CELLS)), clock=NOW)[1] == []
    call = prepare(model, SET, (*DATE, 0), nret=1)
    judge(model, call, writes(BLOCK + 12 + 32, cells(0)), clock=NOW)
    get = prepare(model, GET, nret=8)
    assert judge(model, get, writes(BLOCK + 12, cells(0, *DATE)), clock=NOW)[1] == []


def test_a_service_may_take_what_follows_for_missing_arguments(model: Model, judge, prepare, cells) -> None:
    for shown in (b"\xa5", b""):  # the pattern in the outputs
        call = prepare(model, SHOW, nret=2)
        assert judge(model, call, writes(BLOCK + 12, cells(0)), console=shown)[1] == []
    call = prepare(model, SHOW, nret=2)
    assert judge(model, call, writes(BLOCK + 12, cells(0)), console=b"?")[1] == ["console"]


# ---- blocks that are not all memory, or not aligned ----


def test_a_block_outside_memory_may_end_either_way_and_touches_nothing(model: Model, judge, cells) -> None:
    call = Call(H_RTAS, (0x1000_0000,))
    assert "block-outside-memory" in model.expect(call).facts
    for r3 in (H_SUCCESS, H_PARAMETER):
        assert judge(model, call, writes(0, b"", r3))[1] == []
    assert judge(model, call, writes(0, b"", -1))[1] == ["r3"]
    assert judge(model, call, writes(0x100, cells(-3), H_PARAMETER))[1] == ["memory"]


def test_of_a_block_across_the_end_only_outputs_in_ram_may_change(
    model: Model, judge, prepare, cells
) -> None:
    at = RAM_END - 16
    call = prepare(model, GET, nret=8, at=at)
    assert {"block-outside-memory"} == model.expect(call).facts
    assert judge(model, call, writes(at + 12, cells(0)), clock=NOW)[1] == []
    call = prepare(model, GET, nret=8, at=at)
    assert judge(model, call, writes(at + 8, cells(0)), clock=NOW)[1] == ["status", "memory"]


def test_a_misaligned_block_may_be_refused_or_answered(model: Model, judge, prepare, cells) -> None:
    for data, r3 in ((cells(0, *NOW_CELLS), H_SUCCESS), (cells(-3), H_SUCCESS), (b"", H_PARAMETER)):
        call = prepare(model, GET, nret=8, at=BLOCK + 2)
        expectation = model.expect(call)
        assert expectation.facts == {"block-misaligned"}
        assert expectation.cases[0].name == "status 0"
        assert judge(model, call, writes(BLOCK + 14, data, r3), clock=NOW)[1] == []


def test_an_nargs_that_wraps_puts_no_status_over_the_arguments(model: Model, judge, prepare, cells) -> None:
    for token, r3 in ((GET, H_SUCCESS), (UNKNOWN, H_PARAMETER)):
        call = prepare(model, token, nargs=0x4000_0000)
        assert {"nargs-wraps", "block-outside-memory"} <= model.expect(call).facts
        assert judge(model, call, writes(0, b"", r3), clock=NOW)[1] == []
        wrapped = writes(BLOCK + 12, cells(-3), r3)
        assert judge(model, call, wrapped, clock=NOW)[1] == ["rtas.nargs-wraps"]


@pytest.mark.parametrize("nret", [0xFFFF_FFFF, 0x4000_0000])
def test_a_huge_nret_opens_what_follows_the_block_only(
    model: Model, judge, prepare, cells, nret: int
) -> None:
    call = prepare(model, GET, nret=nret)
    assert judge(model, call, writes(BLOCK + 12, cells(-3)), clock=NOW)[1] == []
    assert "memory" in judge(model, call, writes(BLOCK - 4, cells(1)), clock=NOW)[1]


def test_tokens_follow_the_device_tree(environment, prepare, cells) -> None:
    model = Model(environment())
    call = prepare(model, GET, nret=8)
    assert model.expect(call).call == "get-time-of-day"
    other = environment()
    del other.tree.children["rtas"].properties["get-time-of-day"]
    model.reset(other)
    assert model.expect(call).cases[0].registers["r3"].canonical == H_PARAMETER & MASK64
