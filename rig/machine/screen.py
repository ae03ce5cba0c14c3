"""The guest's screen, photographed through QMP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rig.deadline import Deadline
from rig.machine.errors import MachineError, Refused
from rig.picture import BadPicture, Picture, from_ppm, to_png

if TYPE_CHECKING:  # imported while QEMU starts
    from rig.machine.monitor import Monitor

#: seconds that one picture may take
PATIENCE = 10.0


def photograph(monitor: Monitor, directory: Path, name: str) -> tuple[Picture, Path]:
    """What is on the screen, and the PNG file in ``directory`` that it was kept in.

    QEMU writes PPM in all versions, PNG only in some builds.  Raises :class:`MachineError`.
    """
    raw, kept = directory / f"{name}.ppm", directory / f"{name}.png"
    try:
        monitor.execute("screendump", {"filename": str(raw.absolute())}, Deadline(PATIENCE))
        picture = from_ppm(raw.read_bytes())
    except (Refused, OSError, BadPicture) as error:
        raise MachineError(f"QEMU took no whole picture of the screen: {error}") from error
    finally:
        raw.unlink(missing_ok=True)
    kept.write_bytes(to_png(picture))
    return picture, kept
