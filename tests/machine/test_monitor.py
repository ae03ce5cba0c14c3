"""QMP against a peer that the test plays."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.deadline import Deadline
from rig.machine.errors import MonitorError, Refused, Timeout
from rig.machine.monitor import Monitor
from rig.program import Event

GREETING = {
    "QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}
}
Peer = Callable[..., Monitor]


def say(end: socket.socket, message: object) -> None:
    end.sendall(json.dumps(message).encode() + b"\r\n")


@pytest.fixture
def peer(short_tmp: Path) -> Iterator[Peer]:
    """Monitors whose peer answers every command after negotiation with ``messages``, or hangs up then."""
    monitors: list[Monitor] = []
    threads: list[threading.Thread] = []
    ends: list[socket.socket] = []

    def start(*messages: dict[str, object], hang_up: bool = False, greet: bool = True) -> Monitor:
        ours, theirs = socket.socketpair()
        ends.append(theirs)

        def play() -> None:
            if not greet:
                return
            say(theirs, GREETING)
            while data := theirs.recv(65536):  # one command, which nothing delimits
                command = json.loads(data)
                if command["execute"] == "qmp_capabilities":
                    say(theirs, {"return": {}})  # it has no id
                    continue
                for message in messages:
                    say(theirs, message if "event" in message else {**message, "id": command["id"]})
                if hang_up:
                    break
            if hang_up:
                theirs.close()

        threads.append(threading.Thread(target=play))
        threads[-1].start()
        monitors.append(Monitor(ours, short_tmp / "qmp.log"))
        return monitors[-1]

    yield start
    for monitor in monitors:
        monitor.close()
        monitor.close()
    for end in ends:
        end.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def event(name: str, **data: object) -> dict[str, object]:
    return {"event": name, "data": data, "timestamp": {"seconds": 0, "microseconds": 0}}


def test_events_before_an_answer_are_there_with_it_in_order(peer: Peer) -> None:
    monitor = peer(event("STOP"), event("RESET", guest=True), {"return": {"x": 1}})
    monitor.connect(Deadline(10))
    assert monitor.execute("anything", None, Deadline(10)) == {"x": 1}
    assert select.select([monitor.fileno()], [], [], 0)[0]
    assert monitor.events() == [Event("STOP"), Event("RESET", {"guest": True})]
    assert monitor.events() == []
    assert not select.select([monitor.fileno()], [], [], 0)[0]


def test_a_refusal_is_not_a_failure_of_the_rig(peer: Peer) -> None:
    monitor = peer({"error": {"class": "DeviceNotFound", "desc": "no such thing"}})
    monitor.connect(Deadline(10))
    with pytest.raises(Refused, match="DeviceNotFound: no such thing"):
        monitor.execute("device_del", {"id": "x"}, Deadline(10))


def test_a_peer_without_greeting_is_not_awaited_for_ever(peer: Peer) -> None:
    with pytest.raises(Timeout, match=r"did not answer the connection within 0\.1 s"):
        peer(greet=False).connect(Deadline(0.1))


def test_a_command_without_answer_is_not_awaited_for_ever(peer: Peer) -> None:
    monitor = peer()
    monitor.connect(Deadline(10))
    with pytest.raises(Timeout, match=r"did not answer query-status within 0\.1 s"):
        monitor.execute("query-status", None, Deadline(0.1))


def test_a_peer_that_hangs_up_is_a_lost_connection(peer: Peer) -> None:
    monitor = peer(hang_up=True)
    monitor.connect(Deadline(10))
    for _ in range(2):
        with pytest.raises(MonitorError, match="connection was lost at query-status"):
            monitor.execute("query-status", None, Deadline(10))


def test_the_log_has_every_message(peer: Peer, short_tmp: Path) -> None:
    monitor = peer({"return": {"answer": 42}})
    monitor.connect(Deadline(10))
    monitor.execute("question", None, Deadline(10))
    text = (short_tmp / "qmp.log").read_text()
    assert '"question"' in text
    assert '"answer": 42' in text
