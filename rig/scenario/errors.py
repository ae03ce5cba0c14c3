"""What is wrong with a scenario: the one exception of this package that users are meant to read."""

from __future__ import annotations


class BadScenario(ValueError):
    """A scenario that cannot be loaded, selected or resolved.

    The message says where (``file:line:column`` as far as known) and what is wrong.
    """
