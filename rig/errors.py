"""What a user can mend: the command line shows the message and no traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something outside the rig is not as it must be; the message names it and says what to do."""
