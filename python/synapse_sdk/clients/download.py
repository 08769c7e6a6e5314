"""Owns downloads: whole or not at all, continued where they broke off, checked by sha256."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import BinaryIO

from synapse_sdk import exceptions as errors
from synapse_sdk.clients.transport import TRIES, Transport, shown

#: Bytes read at once; a broken transfer loses up to as many of what had come.
BLOCK = 1 << 16
_NONE: frozenset[int] = frozenset()
_PAST_END = frozenset({416})


class DownloadMismatchError(errors.ClientError):
    """What arrived is not what was announced."""


def download(
    transport: Transport,
    url: str,
    path: Path,
    checksum: str | None = None,
    size: int | None = None,
) -> Path:
    """Download `url` into `path` by way of a temporary file beside it, renamed at the end.

    Args:
        transport: Whose token is sent when `url` is on its host, and only then.
        url: Whole address, or one relative to the transport's.
        path: The file to make or replace.
        checksum: sha256 as 64 hex digits; with it a broken transfer is continued.
        size: Bytes announced.

    Raises:
        DownloadMismatchError: Checksum or size differ.
        ClientError: The transfer failed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".part-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        with temporary.open("x+b") as file:
            found = _fetch(transport, url, file, resumable=checksum is not None)
            length = file.tell()
        where = shown(transport.url(url))
        if size is not None and length != size:
            raise DownloadMismatchError(f"{where}: {length} bytes came, {size} were announced")
        if checksum is not None and found != checksum.lower():
            raise DownloadMismatchError(f"{where}: sha256 is {found}, announced was {checksum}")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _fetch(transport: Transport, url: str, file: BinaryIO, *, resumable: bool) -> str:
    """Write the content of `url` to `file`; returns its sha256."""
    digest = hashlib.sha256()
    for attempt in range(TRIES):
        start = file.tell()
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        answer = transport.open("GET", url, headers=headers, accept=_PAST_END if start else _NONE)
        try:
            span = answer.headers.get("Content-Range", "")
            if start and not (answer.status == 206 and span.startswith(f"bytes {start}-")):
                file.seek(0)
                file.truncate()
                digest = hashlib.sha256()
                if answer.status != 200:
                    continue
            with transport.reading(transport.url(url)):
                for block in answer.stream(BLOCK, decode_content=True):
                    file.write(block)
                    digest.update(block)
            file.flush()
            return digest.hexdigest()
        except (errors.ClientConnectionError, errors.ClientTimeoutError):
            if attempt + 1 == TRIES:
                raise
            if not resumable:
                # Nothing would tell a file that changed in between.
                file.seek(0)
                file.truncate()
                digest = hashlib.sha256()
            transport.pause(attempt)
        finally:
            answer.close()
    raise errors.ClientResponseIncompleteError(f"no whole answer: {shown(transport.url(url))}")
