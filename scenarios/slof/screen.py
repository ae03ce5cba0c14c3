"""SLOF's own users of H_LOGICAL_MEMOP: the words that draw on its screen.

The model applies to the picture before what the word is to do, and the picture after must be the result,
pixel by pixel.
"""

from __future__ import annotations

from functools import partial

from rig.machine.slof import SlofMachine
from rig.model.environment import Region
from rig.model.memop import COPY, INVERT, Operation, stores
from rig.model.memory import Memory
from rig.picture import Picture, from_words
from rig.program import H_LOGICAL_MEMOP, Call, MachineOptions, Requirement, Seed
from rig.scenario.script import Disagreement, Playing, Stage, scenario

#: the machine of scenarios/slof/calls.py
MACHINE = MachineOptions(
    memory=256,
    devices=("VGA,romfile=",),
    arguments=("-prom-env", "auto-boot?=false"),
    firmware="slof",
)
on_screen = partial(
    scenario,
    machine=MACHINE,
    requires=Requirement(devices=("VGA",)),
    needs=frozenset({"screen"}),
    issues=frozenset({H_LOGICAL_MEMOP}),
)

#: the frame buffer's place, known to QEMU's documents only by way of SLOF
GEOMETRY = ("frame-buffer-adr", "screen-width", "screen-height", "window-top", "char-height", "#lines")
DRAWING = 0x100_0000
#: the prompt itself is shown on the screen: its text and cursor would be in the way
MUTE = "' drop to draw-character ' noop to toggle-cursor ' drop to delete-lines ' drop to insert-lines"


class Screen:
    """SLOF's screen: 32 bits a pixel, and the lines of text on it."""

    def __init__(self, slof: SlofMachine) -> None:
        self._slof = slof
        slof.ask(MUTE)
        printed = slof.ask(" ".join(f"{word} u." for word in GEOMETRY)).split()
        self.address, self.width, self.height, self.top, self.font, self.lines = (
            int(number, 16) for number in printed
        )
        self.pitch = 4 * self.width
        self.size = self.pitch * self.height

    def picture(self, name: str) -> Picture:
        """What it shows."""
        return self._slof.screen(name)

    def held(self, picture: Picture) -> Memory:
        """The frame buffer that shows ``picture``, as memory for the model."""
        words = bytearray(4 * picture.width * picture.height)
        for colour in range(3):
            words[colour + 1 :: 4] = picture.rgb[colour::3]
        memory = Memory((Region(self.address, self.size),))
        memory.write(self.address, bytes(words))
        return memory

    def compare(self, expected: Memory, name: str) -> None:
        """Raise :class:`Disagreement` unless the screen shows ``expected``."""
        wanted = from_words(self.width, self.height, expected.read(self.address, self.size))
        wrong = wanted.difference(self.picture(name))
        if wrong:
            raise Disagreement("agreement.screen", f"{name}: {wrong}")


def apply(memory: Memory, operation: Operation, dst: int, src: int, length: int) -> None:
    """Do to ``memory`` what the model says an operation does."""
    for write in stores(memory, operation, dst, src, length):
        memory.write(write.address, write.data)


def drawn(stage: Stage) -> Playing:
    """The screen, with rows of text on it that are all different; returns it."""
    assert isinstance(stage, SlofMachine)
    screen = Screen(stage)
    picture = b"".join(
        bytes(value for x in range(screen.width) for value in (0, x & 0xFF, (x ^ y) & 0xFF, y & 0xFF))
        for y in range(screen.height)
    )
    yield Seed(DRAWING, picture)
    yield Call(H_LOGICAL_MEMOP, (screen.address, DRAWING, 3, screen.size >> 3, 0))
    expected = Memory((Region(screen.address, screen.size),))
    expected.write(screen.address, picture)
    screen.compare(expected, "before")
    return screen


@on_screen(
    name="invert",
    summary="SLOF's invert-screen inverts every pixel, and again gives the picture back",
)
def invert(stage: Stage) -> Playing:
    """The word and its inverse."""
    assert isinstance(stage, SlofMachine)
    screen = yield from drawn(stage)
    expected = screen.held(screen.picture("before"))
    for name in ("inverted", "inverted-twice"):
        stage.ask("invert-screen")
        apply(expected, INVERT, screen.address, screen.address, screen.size)
        screen.compare(expected, name)


def scroll(stage: Stage, name: str, lines: int) -> Playing:
    """Delete lines at the top: the text below moves up, and what is free is black."""
    assert isinstance(stage, SlofMachine)
    screen = yield from drawn(stage)
    lines = lines or screen.lines - 1
    expected = screen.held(screen.picture("before"))
    stage.ask(f"line# 0 to line# {lines:x} fb8-delete-lines to line#")
    text, gone = screen.font * screen.pitch * screen.lines, screen.font * screen.pitch * lines
    start = screen.address + screen.top * screen.pitch
    apply(expected, COPY, start, start + gone, text - gone)
    expected.write(start + text - gone, bytes(gone))
    screen.compare(expected, name)


@on_screen(
    name="scroll-line",
    summary="SLOF scrolls its screen by one line",
)
def scroll_line(stage: Stage) -> Playing:
    """An overlapping copy of nearly the whole screen."""
    yield from scroll(stage, "scrolled-line", 1)


@on_screen(
    name="scroll-page",
    summary="SLOF scrolls its screen by all lines but one",
)
def scroll_page(stage: Stage) -> Playing:
    """One line is left at the top."""
    yield from scroll(stage, "scrolled-page", 0)
