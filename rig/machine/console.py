"""The guest's console: what it printed, through pexpect on an inherited socket.

QEMU itself writes the lossless transcript (``logfile=`` of the chardev); this is the live end.
"""

from __future__ import annotations

import socket

import pexpect
from pexpect.fdpexpect import fdspawn

#: pexpect searches so much of the end of what it holds; its default is everything
WINDOW = 4096


class Console:
    """One end of the console's socket, which it owns.

    ``spawn`` is pexpect's face for scenarios that hold a conversation; bytes that it consumed are not seen by
    :meth:`drain`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.spawn: fdspawn[bytes] = fdspawn(connection.fileno(), maxread=65536, searchwindowsize=WINDOW)
        self._held = bytearray()
        self._open = True

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    @property
    def open(self) -> bool:
        """Whether more can come: false once QEMU has closed its end."""
        return self._open

    def pump(self, seconds: float = 0.0) -> None:
        """Take what has arrived, waiting at most ``seconds`` for the first byte."""
        while self._open:
            try:
                self._held += self.spawn.read_nonblocking(65536, timeout=seconds)
            except pexpect.TIMEOUT:
                return
            except (pexpect.EOF, ConnectionResetError):
                self._open = False
            seconds = 0.0

    def drain(self) -> bytes:
        """All bytes that have arrived since the last drain."""
        self.pump()
        data = bytes(self._held)
        self._held.clear()
        return data

    def send(self, data: bytes) -> None:
        """Type ``data``."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Close the socket.  May be called twice."""
        self._open = False
        self._socket.close()
