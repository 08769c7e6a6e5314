"""Owns the worker's line to the command: frames of JSON over pipes, one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import struct
import threading
from typing import Any, Protocol

PROTOCOL = 1
# A frame beyond this is refused on both sides: it would be held in memory whole.
MAX_FRAME = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")


class Line(Protocol):
    """What carries frames: the native channel, or the one in Python."""

    def send(self, payload: bytes) -> None:
        """Write one frame whole; BrokenPipeError when nobody listens any more."""

    def receive(self) -> bytes | None:
        """Read one frame; None at the end."""

    def set_cloexec(self) -> None:
        """Keep the descriptors from programs that this process starts."""


class PythonLine:
    """The native module's `Channel` in Python: for tests, and where that module is missing.

    Frames of threads are kept apart by a mutex, those of forked children by a record lock on
    `lock_fd`, which the system gives back when its holder dies.
    """

    def __init__(self, read_fd: int, write_fd: int, lock_fd: int) -> None:
        self._read = read_fd
        self._write = write_fd
        self._lock = lock_fd
        self._mutex = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        # A thread that the child does not have may have held it.
        self._mutex = threading.Lock()

    def send(self, payload: bytes) -> None:
        if len(payload) > MAX_FRAME:
            raise TooLargeError(len(payload))
        rest = memoryview(_LENGTH.pack(len(payload)) + payload)
        with self._mutex:
            # An interrupt in the middle would leave half a frame behind.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX)
                while rest:
                    rest = rest[os.write(self._write, rest) :]
            finally:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def receive(self) -> bytes | None:
        head = self._exactly(_LENGTH.size)
        if not head:
            return None
        (size,) = _LENGTH.unpack(head)
        if size > MAX_FRAME:
            raise TooLargeError(size)
        body = self._exactly(size)
        if body is None:
            raise EOFError("the frame ends early")
        return body

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = os.read(self._read, size - len(parts))
            if not part:
                if parts:
                    raise EOFError("the frame ends early")
                return None
            parts += part
        return bytes(parts)

    def set_cloexec(self) -> None:
        for fd in (self._read, self._write, self._lock):
            os.set_inheritable(fd, False)


class TooLargeError(ValueError):
    """A frame beyond the protocol's bound; `size` is in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a message of {size} bytes; at most {MAX_FRAME} go over the line")
        self.size = size


class Channel:
    """Messages as dictionaries with a `type`, over a line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.open = True
        # Set once the outcome of a run has been sent: nothing may follow it.
        self.told = False

    @classmethod
    def on(cls, read_fd: int, write_fd: int, lock_fd: int, *, native: bool = True) -> Channel:
        """Open the channel on three descriptors, natively where that is possible and wanted."""
        line: Line | None = None
        if native:
            with contextlib.suppress(ImportError):
                import synapse_native

                line = synapse_native.Channel(read_fd, write_fd, lock_fd)
        if line is None:
            line = PythonLine(read_fd, write_fd, lock_fd)
        line.set_cloexec()
        return cls(line)

    def send(self, kind: str, /, **fields: Any) -> None:
        """Send one message. Raises TooLargeError.

        Once the other end is gone messages go nowhere: it is for the one who started this
        process to end it, not for the action's next log line to fail.
        """
        self.send_encoded(encode(kind, **fields))

    def send_encoded(self, payload: bytes) -> None:
        """Send a message that `encode` made."""
        if len(payload) > MAX_FRAME:
            raise TooLargeError(len(payload))
        if not self.open:
            return
        try:
            self._line.send(payload)
        except BrokenPipeError:
            self.open = False

    def receive(self) -> dict[str, Any] | None:
        """Read the next request; None at the end. Raises ValueError for what is none."""
        payload = self._line.receive()
        if payload is None:
            return None
        request = json.loads(payload)
        if not isinstance(request, dict):
            raise ValueError("the request is not an object")
        return request


def encode(kind: str, /, **fields: Any) -> bytes:
    """Return a message's bytes. The fields must be plain JSON data."""
    text = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate, as in an undecodable file name, has no UTF-8 and is no JSON either.
    return text.encode("utf-8", "replace")
