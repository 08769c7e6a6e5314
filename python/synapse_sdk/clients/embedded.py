"""Owns the embedded backend of this process: finding one that runs, else starting one.

A process starts at most one, when something is first asked of it, and stops it at its exit;
it stops by itself when this process dies, for its standard input closes then.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from synapse_sdk import exceptions as errors
from synapse_sdk.clients import places
from synapse_sdk.clients.backend import BackendClient
from synapse_sdk.clients.transport import Secret, Transport, origin

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

#: Seconds that a start may take, and that a stop waits.
START, STOP = 30.0, 5.0

_lock = threading.Lock()
_found: tuple[str, str] | None = None


def executable() -> Path | None:
    """Return the `synapse` command: beside this Python, else on PATH, else `SYNAPSE_BIN`."""
    beside = Path(sys.executable).parent / "synapse" if sys.executable else None
    named = os.environ.get("SYNAPSE_BIN")
    for place in (beside, shutil.which("synapse"), named):
        if place and os.access(place, os.X_OK) and Path(place).is_file():
            return Path(place)
    return None


def available() -> bool:
    """Say whether a client of the embedded backend can be had; starts and asks nothing."""
    return _found is not None or _recorded() is not None or executable() is not None


def embedded_backend(gone: str | None = None) -> tuple[str, str] | None:
    """Return address and token of the embedded backend, starting it if none runs.

    None means that there is no `synapse` command to start it with.

    Args:
        gone: An address that nothing answers at any more; it is not given again.

    Raises:
        ClientConnectionError: It does not start; the text says what it said.
    """
    global _found
    with _lock:
        if _found is not None and _found[0] == gone:
            _found = None
        if _found is None:
            _found = _running() or _start()
        return _found


def _recorded() -> tuple[str, str] | None:
    """Return what a running server has left word of, if its process lives."""
    try:
        record = json.loads((places.data() / "backend" / "serve.json").read_bytes())
        url, token, pid = str(record["url"]), str(record["token"]), int(record["pid"])
        if pid <= 0:
            return None
        os.kill(pid, 0)
    except PermissionError:
        return None  # another user's process has that id now
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError):
        return None
    return url, token


def _running() -> tuple[str, str] | None:
    """Return the recorded server if it answers, and proves that the token is its own.

    The token is not sent before: another program may have the port by now.
    """
    recorded = _recorded()
    if recorded is None:
        return None
    url, token = recorded
    challenge = secrets.token_hex(16)
    proof = hashlib.sha256(f"{token}:{challenge}".encode()).hexdigest()
    try:
        asking = Transport(url, {}, (1.0, 5.0))
        answer = asking.json("GET", "health/", query={"challenge": challenge}, idempotent=False)
    except errors.ClientError:
        return None
    said = answer.get("proof") if isinstance(answer, dict) else None
    return recorded if isinstance(said, str) and secrets.compare_digest(said, proof) else None


def _headers(token: str) -> dict[str, str]:
    return {"Synapse-Access-Token": f"Token {token}"}


def _start() -> tuple[str, str] | None:
    program = executable()
    if program is None:
        return None
    said: IO[bytes]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [str(program), "backend", "serve", "--until-stdin-closes", "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for the action, not for its backend
        )
        lines: list[bytes] = []
        output = process.stdout
        assert output is not None
        reader = threading.Thread(target=lambda: lines.append(output.readline()), daemon=True)
        reader.start()
        reader.join(START)
        try:
            record: dict[str, Any] = json.loads(lines[0]) if lines else {}
            place = str(record["url"]), str(record["token"])
        except (ValueError, KeyError, TypeError):
            process.kill()
            process.wait()
            said.seek(0)
            words = " ".join(said.read(4000).decode("utf-8", "replace").split())
            reason = words or ("it says nothing" if lines else f"not within {START:g} s")
            raise errors.ClientConnectionError(
                f"the embedded backend does not start: {reason}", nothing_sent=True
            ) from None
    # What it prints later is read away: a full pipe would halt it.
    threading.Thread(target=lambda: shutil.copyfileobj(output, _Void()), daemon=True).start()
    atexit.register(_stop, process, os.getpid())
    return place


class _Void:
    def write(self, content: bytes) -> int:
        return len(content)


def _stop(process: subprocess.Popen[bytes], owner: int) -> None:
    """Stop the server, in the process that started it and in no forked child of that."""
    if os.getpid() != owner:
        return
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class EmbeddedTransport(Transport):
    """Talks to the embedded backend, wherever it is by now.

    One that another process started ends with that process; then the next is found or started,
    over the same data. Addresses of files that the former gave out mean the present one.
    """

    def __init__(self, place: tuple[str, str], timeout: tuple[float, float]) -> None:
        super().__init__(place[0], _headers(place[1]), timeout)
        self._address = place[0]
        self._former: set[tuple[str, str, int | None]] = set()

    def url(self, path: str) -> str:
        """Return `path` as a whole address at the present backend."""
        whole = super().url(path)
        if origin(whole) not in self._former:
            return whole
        here = urlsplit(self.base_url)
        return urlunsplit(urlsplit(whole)._replace(scheme=here.scheme, netloc=here.netloc))

    def _once(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> BaseHTTPResponse:
        before = self._address
        try:
            return super()._once(method, self.url(url), body, headers)
        except errors.ClientConnectionError as error:
            if not error.nothing_sent or origin(self.url(url)) != origin(before):
                raise
            place = embedded_backend(gone=before)
            if place is None or place[0] == before:
                raise
            with self._lock:
                self._former = (self._former | {origin(before)}) - {origin(place[0])}
                self._address, self.base_url = place[0], place[0].rstrip("/") + "/"
                self._secrets = {name: Secret(value) for name, value in _headers(place[1]).items()}
        return super()._once(method, self.url(url), body, headers)


class EmbeddedClient(BackendClient):
    """A client of the embedded backend, which is found or started on the first call."""

    def __init__(self, timeout: float = 60.0) -> None:
        self._transport = None
        self._timeout = timeout

    @property
    def transport(self) -> Transport:
        """The conversation with the embedded backend.

        Raises:
            ClientConnectionError: It does not start.
        """
        if self._transport is None:
            place = embedded_backend()
            if place is None:
                raise errors.ClientConnectionError(
                    "the `synapse` command is gone, so the embedded backend cannot start",
                    nothing_sent=True,
                )
            self._transport = EmbeddedTransport(place, (10.0, self._timeout))
        return self._transport

    def __reduce__(self) -> Any:
        """Be pickled as a client that is not connected yet: the other process finds the backend."""
        return type(self), (self._timeout,)
