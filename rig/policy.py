"""What QEMU is told to do when a guest reboots, powers off or panics.

``-no-reboot``, ``-no-shutdown`` and, since 6.0, ``-action`` say it; the last word on each counts.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import zip_longest

from rig.frozen import frozen
from rig.program import MachineOptions


@frozen
class Policy:
    """The values of ``-action`` by its own names: ``reboot`` reset or shutdown, ``shutdown`` poweroff or
    pause, ``panic`` pause, shutdown, exit-failure or none.
    """

    reboot: str = "reset"
    shutdown: str = "poweroff"
    panic: str = "shutdown"

    @classmethod
    def of(cls, options: MachineOptions) -> Policy:
        """The policy of a machine made with ``options``."""
        policy = cls(shutdown="pause" if options.no_shutdown else "poweroff")
        for word, value in zip_longest(options.arguments, options.arguments[1:], fillvalue=""):
            match word.removeprefix("-"):
                case "-no-reboot" | "no-reboot":
                    policy = replace(policy, reboot="shutdown")
                case "-no-shutdown" | "no-shutdown":
                    policy = replace(policy, shutdown="pause")
                case "-action" | "action":
                    given = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
                    # there is a watchdog too, and QEMU itself refuses what it does not know
                    policy = replace(
                        policy, **{one.name: given[one.name] for one in fields(cls) if one.name in given}
                    )
        return policy

    @property
    def resets(self) -> bool:
        """Whether ``system_reset`` resets the machine, which otherwise shuts down instead."""
        return self.reboot == "reset"

    @property
    def standing(self) -> frozenset[str]:
        """QEMU's run states in which the machine is left standing; others pass, or QEMU ends."""
        pauses = self.shutdown == "pause"
        panics = self.panic == "pause" or (self.panic == "shutdown" and pauses)
        return frozenset(
            {"suspended"} | ({"shutdown"} if pauses else set()) | ({"guest-panicked"} if panics else set())
        )
