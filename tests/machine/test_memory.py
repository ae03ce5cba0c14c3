"""The memory file and the mapping, without a machine."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from rig.machine.memory import CHUNK, PAGE, SMALL, Anonymous, Mapped

SIZE = 1 << 29


@pytest.fixture
def file() -> Iterator[Anonymous]:
    file = Anonymous("rig-test", SIZE)
    yield file
    file.close()


def test_only_what_was_written_is_an_extent(file: Anonymous) -> None:
    memory = Mapped(file, SIZE)
    assert list(memory.extents()) == []
    memory.write(3 * PAGE + 5, b"x")
    memory.write(SIZE - 1, b"y")
    assert list(memory.extents()) == [(3 * PAGE, PAGE), (SIZE - PAGE, PAGE)]


def test_reading_a_large_hole_leaves_it_a_hole(file: Anonymous) -> None:
    memory = Mapped(file, SIZE)
    assert memory.read(PAGE, SMALL + PAGE) == bytes(SMALL + PAGE)
    assert list(memory.extents()) == []


def test_looking_at_all_of_a_large_ram_takes_little_memory(file: Anonymous) -> None:
    memory = Mapped(file, SIZE)
    before = psutil.Process().memory_info().rss
    for address in range(0, SIZE, 2 * SMALL):
        memory.read(address, 2 * SMALL)
    assert psutil.Process().memory_info().rss - before < 64 << 20


def test_clearing_makes_all_of_it_a_hole(file: Anonymous) -> None:
    memory = Mapped(file, SIZE)
    memory.write(0, b"abc")
    memory.clear()
    assert list(memory.extents()) == []
    assert memory.read(0, 3) == bytes(3)


def test_pages_of_zero_become_holes_and_others_stay(file: Anonymous) -> None:
    memory = Mapped(file, SIZE)
    memory.write(CHUNK - 2 * PAGE, bytes(5 * PAGE))
    memory.write(CHUNK - PAGE, b"abc")
    memory.write(CHUNK + PAGE + 7, b"d")
    memory.trim()
    assert list(memory.extents()) == [(CHUNK - PAGE, PAGE), (CHUNK + PAGE, PAGE)]
    assert memory.read(CHUNK - PAGE, 3) == b"abc"
    assert memory.read(CHUNK + PAGE, PAGE) == bytes(7) + b"d" + bytes(PAGE - 8)


@pytest.mark.parametrize(("address", "length"), [(SIZE, 1), (SIZE - 1, 2), (-1, 1)])
def test_outside_is_refused(file: Anonymous, address: int, length: int) -> None:
    memory = Mapped(file, SIZE)
    with pytest.raises(ValueError, match="not all RAM"):
        memory.read(address, length)
    with pytest.raises(ValueError, match="not all RAM"):
        memory.write(address, bytes(length))


def test_a_file_that_cannot_be_cleared_says_so(file: Anonymous) -> None:
    memory = Mapped(file, SIZE)
    file.close()
    with pytest.raises(OSError, match="could not be cleared"):
        memory.clear()


def test_several_files_are_one_memory() -> None:
    files = [Anonymous(f"rig-{start:x}", PAGE) for start in (0, PAGE, 8 * PAGE)]
    memory = Mapped(files[0], PAGE)
    memory.attach(files[2], 8 * PAGE, PAGE)
    memory.attach(files[1], PAGE, PAGE)
    memory.write(PAGE - 2, b"abcd")
    memory.write(9 * PAGE - 1, b"z")
    assert (files[0].read(PAGE - 2, 2), files[1].read(0, 2)) == (b"ab", b"cd")
    assert memory.read(PAGE - 3, 6) == b"\0abcd\0"
    assert list(memory.extents()) == [(0, PAGE), (PAGE, PAGE), (8 * PAGE, PAGE)]
    for start, length in ((2 * PAGE - 1, 2), (8 * PAGE - 1, 1), (9 * PAGE, 1), (-1, 1)):
        with pytest.raises(ValueError, match="not all RAM"):
            memory.read(start, length)
    with pytest.raises(ValueError, match="RAM already"):
        memory.attach(files[0], 9 * PAGE - 1, PAGE)
    memory.clear()
    assert list(memory.extents()) == []
    for file in files:
        file.close()
