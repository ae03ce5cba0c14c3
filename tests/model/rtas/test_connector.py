"""ibm,configure-connector: a pretended platform tells a card's node, rightly and wrongly."""

from __future__ import annotations

import pytest

from rig.model.hypercall import H_SUCCESS
from rig.model.memory import Memory
from rig.model.model import Model
from rig.model.pci import Pci
from rig.model.rtas.connector import PCI_ALWAYS
from rig.program import Host, Outcome

SET, CONFIGURE = 0x201A, 0x201E
CARD, EMPTY, BRIDGE, MEMORY = 0x4000_0018, 0x4000_0010, 0x2000_0000, 0x8000_0004
CPU, NEW_CPU = 0x1000_0000, 0x1000_0001
AREA, PAGE = 0x4000, 0x1000
DONE, SIBLING, CHILD, PROPERTY, PARENT = 0, 1, 2, 3, 4


@pytest.fixture
def model(reconfigurable) -> Model:
    return Model(reconfigurable())


@pytest.fixture
def platform(judge, prepare, cells):
    """A platform whose answers are made up; each method returns the checks that it breaks."""

    def piece(status: int, name: str = "", value: bytes = b"", length: int | None = None, at: int = 0x100):
        def build(memory: Memory) -> int:
            memory.write(0x1014, cells(status))
            entries = cells(0x80, len(value) if length is None else length, at)
            memory.write(AREA + 8, entries)
            memory.write(AREA + 0x80, name.encode() + b"\0")
            memory.write(AREA + 0x100, value)
            return H_SUCCESS

        return build

    class Platform:
        def begin(self, model: Model, index: int, area: int = AREA) -> None:
            model.memory.write(area, cells(index) + bytes(PAGE - 4))

        def configure(self, model: Model, build, area: int = AREA, extent: int = 0) -> list[str]:
            return judge(model, prepare(model, CONFIGURE, (area, extent)), build)[1]

        def tell(self, model: Model, status: int, name: str = "", value: bytes = b"") -> list[str]:
            return self.configure(model, piece(status, name, value))

        def end(self, model: Model, status: int) -> list[str]:
            def build(memory: Memory) -> int:
                memory.write(0x1014, cells(status))
                return H_SUCCESS

            return self.configure(model, build)

        def set(self, model: Model, *args: int) -> None:
            def build(memory: Memory) -> int:
                memory.write(0x1018, cells(0))
                return H_SUCCESS

            assert judge(model, prepare(model, SET, args), build)[1] == []

        def again(self, model: Model, index: int) -> None:
            """Isolate and unisolate, so that there is something to configure."""
            self.set(model, 9001, index, 0)
            self.set(model, 9001, index, 1)
            self.begin(model, index)

    Platform.piece = staticmethod(piece)
    return Platform()


def test_a_card_is_told_piece_by_piece(model: Model, platform) -> None:
    platform.again(model, CARD)
    assert platform.tell(model, CHILD, "ethernet@3") == []
    for name in PCI_ALWAYS:
        assert platform.tell(model, PROPERTY, name, b"value") == []
    assert platform.end(model, DONE) == []


@pytest.mark.parametrize("missing", ["compatible", "ibm,loc-code"])
def test_a_card_has_what_every_card_has(model: Model, platform, missing: str) -> None:
    platform.again(model, CARD)
    platform.tell(model, CHILD, "ethernet@3")
    for name in PCI_ALWAYS:
        if name != missing:
            platform.tell(model, PROPERTY, name)
    assert platform.end(model, DONE) == [f"connector.pci-{missing}"]


@pytest.mark.parametrize("status", [DONE, SIBLING, PROPERTY, PARENT, -1, -3, -9003])
def test_a_walk_begins_with_a_child(model: Model, platform, status: int) -> None:
    platform.again(model, CARD)
    assert platform.tell(model, status, "ethernet@3") == ["status"]


def test_a_walk_goes_down_and_up(model: Model, platform) -> None:
    platform.again(model, CARD)
    assert platform.tell(model, CHILD, "bridge@3") == []
    assert platform.tell(model, PARENT) == ["status"]  # above the top there is nothing
    platform.again(model, CARD)
    steps = [(CHILD, "bridge@3"), (CHILD, "a"), (PROPERTY, "x"), (SIBLING, "b"), (PROPERTY, "y")]
    for status, name in [*steps, (PARENT, ""), (CHILD, "c")]:
        assert platform.tell(model, status, name) == []
    assert platform.tell(model, PARENT) == []
    assert platform.tell(model, PROPERTY, "late") == ["status"]


def test_a_name_lies_in_the_page(model: Model, platform) -> None:
    platform.again(model, CARD)
    assert platform.tell(model, CHILD, "") == ["connector.name"]


@pytest.mark.parametrize(("length", "at"), [(5, 0xFFC), (0x1001, 0), (0xFFFF_FFFF, 0x100), (1, 0x1000)])
def test_a_value_lies_in_the_page(model: Model, platform, length: int, at: int) -> None:
    platform.again(model, CARD)
    assert platform.tell(model, CHILD, "ethernet@3") == []
    build = platform.piece(PROPERTY, "reg", b"", length, at)
    assert platform.configure(model, build) == ["connector.value"]


def test_nothing_but_the_area_is_written(model: Model, platform) -> None:
    platform.again(model, CARD)

    def build(memory: Memory) -> int:
        memory.write(AREA + PAGE, b"!")
        return platform.piece(CHILD, "ethernet@3")(memory)

    assert platform.configure(model, build) == ["memory"]


def test_busy_tells_nothing(model: Model, platform) -> None:
    platform.again(model, CARD)
    for status in (-2, 9900, 9905):
        assert platform.end(model, status) == []
    assert platform.tell(model, CHILD, "ethernet@3") == []


def test_an_abandoned_walk_begins_anew_or_goes_on(model: Model, platform) -> None:
    for status in (CHILD, PROPERTY):
        platform.again(model, CARD)
        platform.tell(model, CHILD, "ethernet@3")
        platform.begin(model, CARD)
        assert platform.tell(model, status, "ethernet@3") == []


def test_a_logical_connector_that_is_isolated_is_complete(model: Model, platform) -> None:
    platform.set(model, 9001, CARD, 0)
    platform.set(model, 9001, BRIDGE, 0)
    platform.begin(model, BRIDGE)
    assert platform.end(model, DONE) == []
    assert platform.end(model, -9003) == ["connector.isolated-refused"]
    assert platform.tell(model, CHILD, "pci@0") != []


def test_a_slot_without_a_card_has_nothing_to_tell(model: Model, platform) -> None:
    platform.begin(model, EMPTY)
    assert platform.end(model, DONE) == []
    assert platform.end(model, -9003) == []
    assert platform.tell(model, CHILD, "ethernet@2") != []


@pytest.mark.parametrize(("index", "permitted"), [(NEW_CPU, (-9003,)), (7, (-3, -9001, -9002, -9003))])
def test_what_cannot_be_configured_is_refused(
    model: Model, platform, index: int, permitted: tuple[int, ...]
) -> None:
    platform.begin(model, index)
    for status in (DONE, CHILD, -1, -3, -9001, -9002, -9003):
        assert platform.end(model, status) == ([] if status in permitted else ["status"])


@pytest.mark.parametrize(("area", "extent"), [(AREA + 4, 0), (0xF800, 0), (0x2_0000, 0), (AREA, 0x5000)])
def test_an_area_astray_may_be_refused(model: Model, platform, cells, area: int, extent: int) -> None:
    def build(memory: Memory) -> int:
        memory.write(0x1014, cells(-3))
        return H_SUCCESS

    assert platform.configure(model, build, area, extent) == []


@pytest.mark.parametrize("status", [CHILD, PROPERTY])
def test_after_an_error_elsewhere_a_walk_begins_anew_or_goes_on(
    model: Model, platform, cells, status: int
) -> None:
    def refuse(memory: Memory) -> int:
        memory.write(0x1014, cells(-3))
        return H_SUCCESS

    platform.again(model, CARD)
    assert platform.tell(model, CHILD, "ethernet@3") == []
    assert platform.configure(model, refuse, AREA + PAGE, AREA) == []
    assert platform.tell(model, status, "ethernet@3") == []


@pytest.mark.parametrize("status", [CHILD, PROPERTY, SIBLING, PARENT, -9003])
def test_after_a_step_elsewhere_nobody_can_say_where_a_walk_stands(
    model: Model, platform, cells, status: int
) -> None:
    platform.again(model, CARD)
    assert platform.tell(model, CHILD, "ethernet@3") == []
    assert platform.configure(model, platform.piece(PROPERTY, "reg"), AREA, AREA + PAGE) == []
    assert platform.tell(model, status, "x") == []
    assert platform.tell(model, -3) == ["status"]
    assert platform.end(model, DONE) == []
    # What is isolated begins again.
    platform.again(model, CARD)
    assert platform.tell(model, PROPERTY, "x") == ["status"]


@pytest.mark.parametrize(
    ("index", "extent", "lost"),
    [(CARD, 0, True), (BRIDGE, 0, True), (CPU, 0, False), (CARD, AREA + PAGE, True)],
    ids=["slot", "bridge", "cpu", "some connector"],
)
def test_the_platform_initialises_the_registers_behind_a_connector(
    reconfigurable, platform, cells, index: int, extent: int, lost: bool
) -> None:
    environment = reconfigurable()
    environment.tree.find("/pci@0").properties["reg"] = cells(0x0800_0000, 0x2000_0000)
    card = environment.tree.find("/pci@0/ethernet@3")
    card.properties.update({"vendor-id": cells(0x1AF4), "reg": cells(0x1800), "interrupts": cells(1)})
    model = Model(environment)
    (function,) = model.state.of(Pci).functions
    for status in (CHILD, PROPERTY, DONE) if extent else (CHILD,):
        function.registers.write(0x3C, 1, 5)
        platform.begin(model, index)
        assert platform.configure(model, platform.piece(status, "x"), AREA, extent) == []
        assert function.registers.read(0x3C, 1) == ((0, 0) if lost else (0xFF, 5))
        extent = 0


def plug_memory(model: Model) -> None:
    for action in (
        Host("object-add", {"id": "ram1", "size": 0x1000_0000}),
        Host("device_add", {"driver": "pc-dimm", "id": "d", "memdev": "ram1", "addr": 0x4000_0000}),
    ):
        model.settle(model.expect_host(action).cases[0], Outcome(answer={"return": {}}))


@pytest.mark.parametrize(
    ("base", "kind", "broken"),
    [
        (0x4000_0000, True, []),
        (0x8000_0000, True, ["connector.reg"]),
        (0x4000_0000, False, ["connector.as-at-boot"]),
    ],
)
def test_memory_is_told_as_at_boot(
    model: Model, platform, cells, base: int, kind: bool, broken: list[str]
) -> None:
    plug_memory(model)
    platform.set(model, 9003, MEMORY, 1)
    platform.set(model, 9001, MEMORY, 1)
    platform.begin(model, MEMORY)
    assert platform.tell(model, CHILD, "memory@40000000") == []
    assert platform.tell(model, PROPERTY, "reg", cells(0, base, 0, 0x1000_0000)) == []
    if kind:
        assert platform.tell(model, PROPERTY, "device_type", b"memory\0") == []
    assert platform.end(model, DONE) == broken
