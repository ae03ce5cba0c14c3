"""Where the rig's files are: the scenarios and guest images that it ships, and what it keeps for the user.

In a source tree the shipped ones are the top-level folders ``scenarios`` and ``images``; an installed wheel
has copies in ``rig/_data``.  It only finds them and reads nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from rig.errors import UserError

_PACKAGE = Path(__file__).resolve().parent


class MissingResource(UserError):
    """A folder that every installation of the rig has is not there."""


def _root(name: str) -> Path:
    candidates = (_PACKAGE / "_data" / name, _PACKAGE.parent / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    places = " nor ".join(str(candidate) for candidate in candidates)
    raise MissingResource(
        f"the rig's {name} are missing: neither {places} is a folder; install spapr-rig again, "
        "or run it from a complete source tree"
    )


def scenario_root() -> Path:
    """The folder of the shipped scenarios; raises :class:`MissingResource` when the installation lacks it."""
    return _root("scenarios")


def image_root() -> Path:
    """The folder of the agent's images; raises :class:`MissingResource` when the installation lacks it."""
    return _root("images")


def cache(name: str) -> Path:
    """The folder ``name`` of the rig in the user's cache (XDG Base Directory Specification), made or not.

    A user without a home has none, and learns so on the first write.
    """
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        base = Path("/nonexistent")
    return base.absolute() / "spapr-rig" / name
