"""System parameter 20, the SPLPAR characteristics: a string of ``Keyword=Value`` pairs (LoPAR A.3).

Which keywords a platform gives, and in what order, is its own business; unknown ones say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

#: lowest and highest value of each keyword (LoPAR Table A.2); ``None`` is no limit
RANGES: Mapping[str, tuple[int, int | None]] = {
    "BoundThrds": (0, 1),
    "CapInc": (1, 100),
    "DisWheRotPer": (1, None),
    "MinEntCap": (0, None),
    "MinEntCapPerVP": (1, 100),
    "MinMem": (0, None),
    "MinProcs": (0, None),
    "MaxEntCap": (1, None),
    "MaxPlatProcs": (1, None),
    "DesEntCap": (0, None),
    "DesMem": (0, None),
    "DesProcs": (0, None),
    "DesVarCapWt": (0, 255),
    "DedDonMode": (0, 1),
}

#: keywords of which the first must not exceed the second (notes of Table A.2)
ORDERED = (
    ("MinEntCap", "DesEntCap"),
    ("DesEntCap", "MaxEntCap"),
    ("MinMem", "DesMem"),
    ("MinProcs", "DesProcs"),
)
#: entitled capacity is in hundredths of a processor
HUNDREDTHS = ("MinEntCap", "MaxEntCap")


def wrong(data: bytes) -> str | None:
    """What is wrong with a complete parameter, in words; ``None`` when nothing is."""
    if data.find(0) != len(data) - 1:
        return f"the string does not end with its only NUL: {data!r}"
    values: dict[str, int] = {}
    for pair in data[:-1].decode("latin-1").split(","):
        keyword, equals, value = pair.partition("=")
        if not (keyword and equals and value.isascii() and value.isdecimal()):
            return f"{pair!r} is no Keyword=Value with a decimal value"
        if keyword in values:
            return f"{keyword} is given twice"
        values[keyword] = int(value)
    return _beyond(values) or _disordered(values)


def _beyond(values: Mapping[str, int]) -> str | None:
    for keyword, value in values.items():
        low, high = RANGES.get(keyword, (0, None))
        if value < low or (high is not None and value > high):
            return f"{keyword} is {value}, its range {low}..{'' if high is None else high}"
    return None


def _disordered(values: Mapping[str, int]) -> str | None:
    for low, high in ORDERED:
        if low in values and high in values and values[low] > values[high]:
            return f"{low} is {values[low]}, {high} only {values[high]}"
    for keyword in HUNDREDTHS:
        if "MaxPlatProcs" in values and values.get(keyword, 0) > 100 * values["MaxPlatProcs"]:
            return f"{keyword} is {values[keyword]} hundredths of {values['MaxPlatProcs']} processors"
    return None
