"""Pictures of the screen: read, compared, written."""

from __future__ import annotations

import struct
import zlib

import pytest

from rig.picture import BadPicture, Picture, from_ppm, from_words, to_png

PICTURE = Picture(2, 2, bytes(range(12)))


def test_a_ppm_of_qemus_is_read() -> None:
    assert from_ppm(b"P6\n2 2\n255\n" + PICTURE.rgb) == PICTURE


@pytest.mark.parametrize(
    "data", [b"", b"P5\n2 2\n255\n", b"P6\n2 2\n255\n" + bytes(11), b"P6\n2 2\n255\n" + bytes(13)]
)
def test_what_is_no_whole_ppm_is_refused(data: bytes) -> None:
    with pytest.raises(BadPicture):
        from_ppm(data)


def test_words_of_a_frame_buffer_become_pixels_without_their_first_byte() -> None:
    assert from_words(2, 1, bytes.fromhex("ff010203 00040506")) == Picture(2, 1, bytes(range(1, 7)))


def test_equal_pictures_do_not_differ() -> None:
    assert PICTURE.difference(Picture(2, 2, bytes(range(12)))) == ""


def test_the_first_wrong_pixel_is_named() -> None:
    other = Picture(2, 2, PICTURE.rgb[:9] + b"\xff" + PICTURE.rgb[10:])
    assert PICTURE.difference(other) == "1 pixels differ, the first at x 1 y 1: ff0a0b instead of 090a0b"


def test_another_size_differs() -> None:
    assert "1x4 pixels instead of 2x2" in PICTURE.difference(Picture(1, 4, PICTURE.rgb))


def test_a_png_holds_the_pixels() -> None:
    data = to_png(PICTURE)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks = {}
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (2, 2, 8, 2, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0" + PICTURE.rgb[:6] + b"\0" + PICTURE.rgb[6:]
