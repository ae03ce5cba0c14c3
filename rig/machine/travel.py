"""Take a machine's state along: back to an earlier moment of the same QEMU, or over to another QEMU.

Snapshots lie in an image of the machine's own, which no device uses.  A move goes through a file or a socket
and ends when the destination says that it has everything.  All raise :class:`Refused` when QEMU refuses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.deadline import Deadline
from rig.machine import agent
from rig.machine.errors import MachineError, Refused, Timeout
from rig.machine.execution import Execution

#: the snapshot's name and its image's node
NAME = "rig"
#: bytes that the image has for a guest, who never sees it
VISIBLE = 1 << 20
#: seconds that a destination which refused has to end
GOING = 1.0
#: events of these moves, which are not the guest's
OWN_EVENTS = frozenset({"MIGRATION", "MIGRATION_PASS", "JOB_STATUS_CHANGE"})


def save(live: Execution, directory: Path, deadline: Deadline) -> None:
    """Keep all of the state; replaces what was kept before."""
    image = directory.absolute() / "snapshots.qcow2"
    nodes = live.live.monitor.execute("query-named-block-nodes", {"flat": True}, deadline)
    assert isinstance(nodes, Sequence)
    if not any(node["node-name"] == NAME for node in nodes):  # another QEMU of this machine may have had it
        image.unlink(missing_ok=True)
        _create(live, {"driver": "file", "filename": os.fspath(image), "size": 0}, deadline)
        file = {"driver": "file", "node-name": f"{NAME}-file", "filename": os.fspath(image)}
        live.live.monitor.execute("blockdev-add", file, deadline)
        _create(live, {"driver": "qcow2", "file": file["node-name"], "size": VISIBLE}, deadline)
        node = {"driver": "qcow2", "node-name": NAME, "file": file["node-name"]}
        live.live.monitor.execute("blockdev-add", node, deadline)
    _by_hand(live, f"savevm {NAME}", deadline)


def load(live: Execution, deadline: Deadline) -> None:
    """Bring back what :func:`save` kept."""
    _by_hand(live, f"loadvm {NAME}", deadline)
    live.live.debugger.forget(deadline)


def move(source: Execution, destination: Execution, route: str, directory: Path, deadline: Deadline) -> None:
    """Bring the state of ``source`` to ``destination``, which was started with ``-incoming defer``.

    ``route`` is ``file`` (all of it is written before any of it is read) or ``socket``.
    """
    place = directory.absolute() / "state"
    _let_go(source, deadline)
    try:
        _carry(source, destination, route, place, deadline)
    except (MachineError, Refused):
        if source.live.process.alive:
            _take_hold(source, deadline)
        raise
    finally:
        place.unlink(missing_ok=True)
    destination.sequence = source.sequence
    destination.live.debugger.forget(deadline)
    _take_hold(destination, deadline)


def _carry(source: Execution, destination: Execution, route: str, place: Path, deadline: Deadline) -> None:
    if route == "file":
        _start(source, "migrate", f"exec:cat > '{place}'", deadline)
        _finish(source, deadline)
        _start(destination, "migrate-incoming", f"exec:cat '{place}'", deadline)
    else:
        _start(destination, "migrate-incoming", f"unix:{place}", deadline)
        _start(source, "migrate", f"unix:{place}", deadline)
        try:
            _finish(source, deadline)
        except Refused as error:  # the reason is the destination's to tell, which ends when it refuses
            destination.live.process.wait(Deadline(GOING))
            raise Refused(error.error_class, f"{error.description}\n{_why(destination, deadline)}") from error
    _finish(destination, deadline)


def _let_go(live: Execution, deadline: Deadline) -> None:
    """Pause the guest away from its breakpoint.

    A QEMU that receives the state of a guest at a breakpoint calls that an invalid transition and aborts.  On
    a busy host the interrupt may come before the guest has executed anything.
    """
    debugger = live.live.debugger
    debugger.disarm(deadline)
    pc = agent.DONE
    while pc == agent.DONE:
        live.resume(deadline)
        debugger.interrupt(deadline)
        pc = debugger.registers(("pc",), deadline)["pc"]


def _take_hold(live: Execution, deadline: Deadline) -> None:
    """Bring a paused guest to its stop label, the way to which leads through a batch."""
    live.live.debugger.rearm(deadline)
    live.sequence += 1
    request = live.codec.request(agent.BATCH, agent.BATCH, 0, full=False)
    live.memory.write(agent.MAILBOX + agent.AT_REQUEST, request)
    live.memory.write(agent.MAILBOX + agent.AT_SEQUENCE, live.codec.sequence(live.sequence))
    live.resume(deadline)
    live.settle(deadline)


def drop_events(live: Execution) -> None:
    """Forget the events that the move itself caused."""
    live.events += live.live.monitor.events()
    live.events[:] = [event for event in live.events if event.name not in OWN_EVENTS]


def _create(live: Execution, options: Mapping[str, object], deadline: Deadline) -> None:
    """Make an image; QEMU does so in a job."""
    job = f"create-{options['driver']}"
    live.live.monitor.execute("blockdev-create", {"job-id": job, "options": options}, deadline)
    live.expect_event("JOB_STATUS_CHANGE", {"id": job, "status": "concluded"}, deadline)
    live.live.monitor.execute("job-dismiss", {"id": job}, deadline)


def _by_hand(live: Execution, line: str, deadline: Deadline) -> None:
    """A command of the human monitor, which says something only when it fails."""
    arguments = {"command-line": line}
    if said := str(live.live.monitor.execute("human-monitor-command", arguments, deadline)).strip():
        raise Refused("GenericError", said)


def _start(live: Execution, command: str, uri: str, deadline: Deadline) -> None:
    events = {"capabilities": [{"capability": "events", "state": True}]}
    live.live.monitor.execute("migrate-set-capabilities", events, deadline)
    live.live.monitor.execute(command, {"uri": uri}, deadline)


def _finish(live: Execution, deadline: Deadline) -> None:
    """Wait until one side has all of the state behind it."""
    while True:
        states = {str(event.data.get("status")) for event in live.events if event.name == "MIGRATION"}
        if "completed" in states:
            return
        if "failed" in states or not live.live.process.alive:
            raise Refused("GenericError", _why(live, deadline))
        if deadline.expired:
            raise Timeout(f"the state was not moved within {deadline.seconds:g} s")
        live.listen(deadline.remaining())


def _why(live: Execution, deadline: Deadline) -> str:
    """What is known of a move that failed."""
    said = live.live.process.stderr_tail()
    try:
        answer = live.live.monitor.execute("query-migrate", None, deadline)
        if isinstance(answer, Mapping) and "error-desc" in answer:
            return f"{answer['error-desc']}\n{said}"
    except MachineError:
        return f"{live.live.process.last_words()}\n{said}"
    return said
