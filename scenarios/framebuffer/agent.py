"""The screen drawn and scrolled by H_LOGICAL_MEMOP, which is what the call was made for.

No firmware has been there: the guest maps the VGA device by RTAS and sets its mode by cache-inhibited stores.
Every operation is made twice, on a twin of the frame buffer in RAM, which the model judges byte by byte, and
on the frame buffer; then both must hold the same bytes, and the screen must show them pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rig.picture import from_words
from rig.program import H_LOGICAL_MEMOP, Call, MachineOptions, Requirement, Rtas, Seed, Step
from rig.scenario.script import Disagreement, Playing, Stage, scenario

H_LOGICAL_CI_STORE = 0x40
READ, WRITE = "ibm,read-pci-config", "ibm,write-pci-config"

MACHINE = MachineOptions(devices=("VGA,romfile=,addr=1",))
on_screen = partial(
    scenario,
    machine=MACHINE,
    requires=Requirement(devices=("VGA",)),
    needs=frozenset({"screen"}),
    issues=frozenset({READ, WRITE, H_LOGICAL_MEMOP, H_LOGICAL_CI_STORE}),
)

BLOCK, IDENTITY = 0x90_0000, 0x1111_1234
#: the device's place in configuration space, the bridge's BUID, and where the two bases are put
FUNCTION, UNIT = 0x800, (0x0800_0000, 0x2000_0000)
PIXELS, REGISTERS = 0x0000_0000, 0x0200_0000

WIDTH, HEIGHT = 640, 480
PITCH = 4 * WIDTH
SIZE = PITCH * HEIGHT
#: pixel rows in a line of text
LINE = 16

TWIN, BACK = 0x100_0000, 0x180_0000

COPY, INVERT = 0, 1


def drawing() -> bytes:
    """A picture without symmetry in which no row and no column is like another: 0x00RRGGBB words."""
    columns = range(WIDTH)
    return b"".join(
        bytes(value for x in columns for value in (0, (x + y) & 0xFF, (x * 7 + y * 3 >> 3) & 0xFF, y >> 1))
        for y in range(HEIGHT)
    )


def window(stage: Stage) -> tuple[int, int]:
    """Where the 32-bit memory window begins: PCI address, and address that the guest uses."""
    node = stage.environment.tree.find("/pci@800000020000000")
    cells = node.cells("ranges") if node is not None else ()
    for i in range(0, len(cells) - 6, 7):
        if cells[i] >> 24 & 3 == 2:
            return cells[i + 1] << 32 | cells[i + 2], cells[i + 3] << 32 | cells[i + 4]
    raise Disagreement("agreement.pci", "the host bridge has no window of 32-bit memory")


def mapping(pci: int) -> Iterator[Step]:
    """Give the device its bases (0 frame buffer, 2 registers) and enable its memory."""
    for register, size, value in ((0x10, 4, pci + PIXELS), (0x18, 4, pci + REGISTERS), (0x04, 2, 2)):
        yield Rtas(WRITE, (FUNCTION + register, *UNIT, size, value))


def mode(registers: int) -> Iterator[Step]:
    """Set 640x480 pixels of 32 bits and unblank the screen (QEMU docs/specs/standard-vga)."""
    disabled, enabled = (4, 0), (4, 0x41)
    settings = (disabled, (1, WIDTH), (2, HEIGHT), (3, 32), (5, 0), (6, WIDTH), (8, 0), (9, 0), enabled)
    for index, value in settings:  # the device's registers are little-endian
        swapped = int.from_bytes(value.to_bytes(2, "little"), "big")
        yield Call(H_LOGICAL_CI_STORE, (2, registers + 0x500 + 2 * index, swapped))
    yield Call(H_LOGICAL_CI_STORE, (1, registers + 0x400, 0x20))


class Screen:
    """The frame buffer at ``address`` with its twin in RAM."""

    def __init__(self, stage: Stage, address: int) -> None:
        self._stage = stage
        self.address = address

    def both(self, dst: int, src: int, esize: int, length: int, op: int) -> Iterator[Step]:
        """One operation on the twin and on the frame buffer; offsets and length in bytes."""
        for base in (TWIN, self.address):
            yield Call(H_LOGICAL_MEMOP, (base + dst, base + src, esize, length >> esize, op))

    def read(self) -> Iterator[Step]:
        """Copy the frame buffer to where the host can see it."""
        yield Call(H_LOGICAL_MEMOP, (BACK, self.address, 3, SIZE >> 3, COPY))

    def compare(self, name: str) -> None:
        """Raise :class:`Disagreement` unless bytes and pixels are the twin's."""
        twin, back = (self._stage.memory.read(area, SIZE) for area in (TWIN, BACK))
        if back != twin:
            at = next(at for at in range(SIZE) if back[at] != twin[at])
            raise Disagreement(
                "agreement.frame-buffer",
                f"{name}: byte {at:#x} of the frame buffer is {back[at]:#x}, in RAM it is {twin[at]:#x}",
            )
        wrong = from_words(WIDTH, HEIGHT, twin).difference(self._stage.screen(name))
        if wrong:
            raise Disagreement("agreement.screen", f"{name}: {wrong}")


def play(stage: Stage, *operations: tuple[str, tuple[int, int, int, int, int]]) -> Playing:
    """Draw, take a picture, and do each operation with a picture after it."""
    pci, guest = window(stage)
    yield Rtas(READ, (FUNCTION, *UNIT, 4), nret=2)
    identity = int.from_bytes(stage.memory.read(BLOCK + 32, 4), "big")
    if identity != IDENTITY:
        raise Disagreement("agreement.pci", f"the VGA device has identity {identity:#x}, not {IDENTITY:#x}")
    yield list(mapping(pci))
    yield list(mode(guest + REGISTERS))
    screen = Screen(stage, guest + PIXELS)
    yield Seed(TWIN, drawing())
    yield Call(H_LOGICAL_MEMOP, (screen.address, TWIN, 2, SIZE >> 2, COPY))
    yield list(screen.read())
    screen.compare("before")
    for name, arguments in operations:
        yield [*screen.both(*arguments), *screen.read()]
        screen.compare(name)


@on_screen(
    name="invert",
    summary="inverting the screen shows every pixel inverted, inverting it again shows it as it was",
)
def invert(stage: Stage) -> Playing:
    """In place, with the largest element and with the smallest."""
    yield from play(
        stage,
        ("inverted", (0, 0, 3, SIZE, INVERT)),
        ("inverted-twice", (0, 0, 0, SIZE, INVERT)),
    )


@on_screen(
    name="scroll-line",
    summary="a line of text scrolled up and down moves every pixel by sixteen rows",
)
def scroll_line(stage: Stage) -> Playing:
    """Overlapping copies: forward as the console scrolls, backward as it opens a line."""
    moved = SIZE - LINE * PITCH
    yield from play(
        stage,
        ("scrolled-up", (0, LINE * PITCH, 3, moved, COPY)),
        ("scrolled-down", (LINE * PITCH, 0, 2, moved, COPY)),
    )


@on_screen(
    name="scroll-page",
    summary="all but one line scrolled away leaves that line at the top",
)
def scroll_page(stage: Stage) -> Playing:
    """Source and destination no longer overlap."""
    moved = LINE * PITCH
    yield from play(stage, ("scrolled-page", (0, SIZE - moved, 3, moved, COPY)))


@on_screen(
    name="cursor",
    summary="rows of a cursor drawn by inverting eight pixels change no other pixel",
)
def cursor(stage: Stage) -> Playing:
    """The first, a middle and the last row of a character cell, 32 bytes each, as a console draws it."""
    corner = 5 * LINE * PITCH + 4 * 77
    yield from play(
        stage,
        *((f"cursor-row-{row}", (corner + row * PITCH,) * 2 + (2, 32, INVERT)) for row in (0, 7, 15)),
    )
