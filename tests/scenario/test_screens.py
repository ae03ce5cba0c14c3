"""The checks of the scenarios that look at a screen: each must be able to fail."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from rig.machine.slof import SlofMachine
from rig.model.environment import Region
from rig.model.memory import Memory
from rig.picture import Picture, from_words
from rig.resources import scenario_root
from rig.scenario.script import Disagreement


def module(name: str) -> ModuleType:
    """A scenario file, imported."""
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), scenario_root() / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@dataclass
class Stage:
    """A machine with RAM and a screen."""

    shows: Picture
    memory: Memory = field(default_factory=lambda: Memory((Region(0, 0x1000_0000),)))

    def screen(self, _: str) -> Picture:
        return self.shows


@pytest.fixture(scope="module")
def agent() -> ModuleType:
    return module("framebuffer/agent")


@pytest.fixture
def stage(agent: ModuleType) -> Stage:
    """A frame buffer that agrees with its twin, and a screen that shows it."""
    words = agent.drawing()
    stage = Stage(from_words(agent.WIDTH, agent.HEIGHT, words))
    stage.memory.write(agent.TWIN, words)
    stage.memory.write(agent.BACK, words)
    return stage


def test_a_screen_that_shows_its_twin_is_accepted(agent: ModuleType, stage: Stage) -> None:
    agent.Screen(stage, 0).compare("same")


def test_one_wrong_byte_in_the_frame_buffer_is_found(agent: ModuleType, stage: Stage) -> None:
    stage.memory.write(agent.BACK + 4 * 700, b"\1")
    with pytest.raises(
        Disagreement, match=r"agreement.frame-buffer: bad: byte 0xaf0 .* is 0x1, in RAM it is 0x0"
    ):
        agent.Screen(stage, 0).compare("bad")


def test_one_wrong_pixel_on_the_screen_is_found(agent: ModuleType, stage: Stage) -> None:
    rgb = bytearray(stage.shows.rgb)
    rgb[3 * 641] ^= 1
    stage.shows = Picture(agent.WIDTH, agent.HEIGHT, bytes(rgb))
    with pytest.raises(Disagreement, match=r"agreement.screen: bad: 1 pixels differ, the first at x 1 y 1"):
        agent.Screen(stage, 0).compare("bad")


class Slof(SlofMachine):
    """SLOF without a QEMU: what its prompt dumps, and a screen."""

    def __init__(self, dumped: bytes, shows: Picture) -> None:
        self._dumped, self._shows = dumped, shows
        self._ram = Memory((Region(0, 0x1000),))

    @property
    def memory(self) -> Memory:
        return self._ram

    def ask(self, line: str) -> str:
        return "2000 2 2 0 1 2" if "u." in line else ""

    def dump(self, address: int, length: int) -> bytes:
        return self._dumped

    def screen(self, name: str) -> Picture:
        return self._shows


def test_a_dump_that_shows_other_bytes_is_found() -> None:
    calls = module("slof/calls")
    calls.dumped(Slof(bytes(4), Picture(0, 0, b"")), (0x100, 4))
    with pytest.raises(Disagreement, match=r"agreement.dump: at 0x100 SLOF dumps 00 00 00 01"):
        calls.dumped(Slof(b"\0\0\0\1", Picture(0, 0, b"")), (0x100, 4))


def test_a_screen_that_is_not_what_the_model_says_is_found() -> None:
    screens = module("slof/screen")
    slof = Slof(b"", Picture(2, 2, bytes(range(12))))
    screen = screens.Screen(slof)
    expected = screen.held(screen.picture("before"))
    screen.compare(expected, "same")
    screens.apply(expected, screens.INVERT, screen.address, screen.address, screen.size)
    with pytest.raises(Disagreement, match=r"agreement.screen: inverted: 4 pixels differ"):
        screen.compare(expected, "inverted")
