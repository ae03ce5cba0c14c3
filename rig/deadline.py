"""One point in time by which something must have happened, passed down instead of many timeouts."""

from __future__ import annotations

import time


class Deadline:
    """``seconds`` from now on the monotonic clock."""

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the point in time has passed."""
        return self.remaining() == 0.0
