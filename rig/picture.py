"""What is on the guest's screen: read from QEMU's PPM, written as PNG."""

from __future__ import annotations

import re
import struct
import zlib

from rig.frozen import frozen

#: the header that QEMU writes: magic, width, height, largest value of a colour (ppm(5))
_HEADER = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")


class BadPicture(ValueError):
    """The data are no whole picture."""


@frozen
class Picture:
    """Pixels from the upper left, row by row, three bytes each: red, green, blue."""

    width: int
    height: int
    rgb: bytes

    def difference(self, other: Picture) -> str:
        """The first pixel in which ``other`` differs, in words; empty when none does."""
        if (self.width, self.height) != (other.width, other.height):
            return f"{other.width}x{other.height} pixels instead of {self.width}x{self.height}"
        if self.rgb == other.rgb:
            return ""
        wrong = [at for at in range(0, len(self.rgb), 3) if self.rgb[at : at + 3] != other.rgb[at : at + 3]]
        y, x = divmod(wrong[0] // 3, self.width)
        want, have = (picture.rgb[wrong[0] : wrong[0] + 3].hex() for picture in (self, other))
        return f"{len(wrong)} pixels differ, the first at x {x} y {y}: {have} instead of {want}"


def from_words(width: int, height: int, words: bytes) -> Picture:
    """A picture of big-endian words 0x00RRGGBB, as a frame buffer of 32 bits a pixel holds them."""
    rgb = bytearray(3 * width * height)
    for colour in range(3):
        rgb[colour::3] = words[colour + 1 : 4 * width * height : 4]
    return Picture(width, height, bytes(rgb))


def from_ppm(data: bytes) -> Picture:
    """The picture in a PPM file of QEMU's; raises :class:`BadPicture`."""
    header = _HEADER.match(data)
    if header is None:
        raise BadPicture(f"no PPM begins with {data[:16]!r}")
    width, height = int(header[1]), int(header[2])
    rgb = data[header.end() :]
    if len(rgb) != 3 * width * height:
        raise BadPicture(f"{width}x{height} pixels need {3 * width * height} bytes, {len(rgb)} are there")
    return Picture(width, height, rgb)


def to_png(picture: Picture) -> bytes:
    """The picture as a PNG file (ISO/IEC 15948): eight bits a colour, no filter."""
    pitch = 3 * picture.width
    rows = (picture.rgb[at : at + pitch] for at in range(0, len(picture.rgb), pitch))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows), 1)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
