"""QMP: commands, answers and events, through qemu.qmp on one private event-loop thread.

The face is synchronous and every wait has a deadline.  It knows the wire protocol and no command's meaning.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from typing import TextIO, TypeVar

from qemu.qmp import ExecInterruptedError, ExecuteError, Message, QMPClient, QMPError, Runstate

from rig.deadline import Deadline
from rig.machine.errors import MonitorError, Refused, Timeout
from rig.program import Event

T = TypeVar("T")

_numbers = itertools.count(1)
_loops: dict[int, asyncio.AbstractEventLoop] = {}
_loops_lock = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """This process's event loop, on a daemon thread; a forked child gets its own."""
    with _loops_lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="rig-qmp", daemon=True).start()
        return loop


class _Client(QMPClient):
    """Writes every message to ``log`` as it is: to make it pretty takes longer than all the rest."""

    def __init__(self, name: str, log: TextIO) -> None:
        super().__init__(name)
        self._log = log

    def _note(self, arrow: str, message: Message) -> Message:
        now = datetime.now().isoformat(" ", "milliseconds")
        self._log.write(f"{now} {arrow} {bytes(message).decode(errors='replace').rstrip()}\n")
        return message

    def _cb_outbound(self, msg: Message) -> Message:
        return self._note("-->", msg)

    def _cb_inbound(self, msg: Message) -> Message:
        return self._note("<--", msg)


class Monitor:
    """One QMP session over a connected socket, which it owns from then on.

    ``log`` receives every message.  Events arrive in order in a queue that :meth:`events` empties; ``fileno``
    is readable while there are any.
    """

    def __init__(self, connection: socket.socket, log: Path) -> None:
        self._socket = connection
        self._events: deque[Event] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._log = log.open("a", buffering=1)
        self._client = _Client(f"rig-{os.getpid()}-{next(_numbers)}", self._log)
        self._client.logger.propagate = False
        self._client.logger.setLevel(logging.DEBUG)
        self._handler = logging.StreamHandler(self._log)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._client.logger.addHandler(self._handler)
        # A filter that keeps the event itself: the listener's own history would grow for ever.
        self._client.events.event_filter = self._take
        self._connected = False
        #: what waits for QEMU, and the task that ends it when QEMU closes the connection
        self._waiting: set[asyncio.Task[object]] = set()
        self._watch: asyncio.Task[None] | None = None

    def _take(self, message: Message) -> bool:
        data = message.get("data", {})
        assert isinstance(data, Mapping)
        self._events.append(Event(str(message["event"]), data))
        os.eventfd_write(self._wake, 1)
        return False

    def fileno(self) -> int:
        """For select: readable while events wait."""
        return self._wake

    def _run(self, work: Coroutine[object, object, T], deadline: Deadline, what: str) -> T:
        """``work`` on the loop's thread; raises :class:`Timeout` and :class:`MonitorError`."""
        answer = asyncio.run_coroutine_threadsafe(self._unless_ended(work), _loop())
        try:
            return answer.result(deadline.remaining())
        except TimeoutError:
            answer.cancel()
            raise Timeout(f"the monitor did not answer {what} within {deadline.seconds:g} s") from None
        except ExecuteError as error:
            raise Refused(error.error_class, str(error)) from None
        except (QMPError, ExecInterruptedError, EOFError, OSError) as error:
            why = str(error) or type(error).__name__
            raise MonitorError(f"the monitor connection was lost at {what}: {why}") from error

    def connect(self, deadline: Deadline) -> None:
        """Await the greeting and leave capabilities negotiation."""
        self._run(self._connect(), deadline, "the connection")
        self._connected = True

    async def _connect(self) -> None:
        await self._client.connect(self._socket)
        self._watch = asyncio.ensure_future(self._interrupt())

    def execute(self, command: str, arguments: Mapping[str, object] | None, deadline: Deadline) -> object:
        """What ``command`` returns; raises :class:`Refused` when QEMU answers with an error.

        All events that QEMU sent before its answer are in the queue when this returns.
        """
        return self._run(self._client.execute(command, dict(arguments or {}) or None), deadline, command)

    def events(self) -> list[Event]:
        """Take all events that have arrived, oldest first."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        return [self._events.popleft() for _ in range(len(self._events))]

    async def _closed(self) -> None:
        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()

    async def _interrupt(self) -> None:
        """End what a QEMU that closes the connection would leave waiting for ever."""
        await self._closed()
        for task in self._waiting:
            task.cancel()

    async def _unless_ended(self, work: Coroutine[object, object, T]) -> T:
        if not self._connected:
            return await work
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            return await work
        except asyncio.CancelledError:
            if self._client.runstate != Runstate.RUNNING:
                raise EOFError("QEMU closed the connection") from None
            raise
        finally:
            self._waiting.discard(task)

    def ended(self, deadline: Deadline) -> None:
        """Wait until QEMU has closed the connection: every event that it sent is then in the queue."""
        with contextlib.suppress(MonitorError):
            self._run(self._closed(), deadline, "the end of the connection")

    def close(self) -> None:
        """End the session, whether or not the peer still lives.  May be called twice."""
        if self._wake < 0:
            return
        if self._connected:
            self._connected = False
            with contextlib.suppress(MonitorError, Timeout):  # how the peer ended is the process's to tell
                self._run(self._client.disconnect(), Deadline(5.0), "disconnect")
        self._socket.close()
        self._client.logger.removeHandler(self._handler)
        self._log.close()
        os.close(self._wake)
        self._wake = -1
