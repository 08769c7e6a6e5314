"""Owns chunked uploads: a file in pieces, continued at the server's offset, checked by md5."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synapse_sdk import exceptions as errors
from synapse_sdk.clients.transport import TRIES, Transport

#: Bytes of one chunk.
CHUNK = 50 * 1024 * 1024
#: After these, whether the server has the chunk is unknown, or it wants it later.
_LOST = (
    errors.ClientConnectionError,
    errors.ClientTimeoutError,
    errors.ServerError,
    errors.RateLimitError,
)


def multipart(fields: dict[str, str], filename: str, content: bytes) -> tuple[bytes, str]:
    """Return a multipart/form-data body with one `file`, and its content type."""
    from urllib3.filepost import encode_multipart_formdata

    pairs: list[tuple[str, Any]] = list(fields.items())
    pairs.append(("file", (filename, content, "application/octet-stream")))
    body, kind = encode_multipart_formdata(pairs, boundary=uuid.uuid4().hex)
    return body, kind


def upload(
    transport: Transport,
    path: Path,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Upload the file at `path`; returns the server's `{id, file, checksum, size, ...}`.

    A chunk whose answer is lost is not sent again blindly: the server is asked how far it got.

    Raises:
        OSError: The file cannot be read.
        ClientError: The server refused, or what it has is not what was read here.
    """
    name = name or path.name
    # Bytes of file names are not always text; a header's must be.
    name = name.encode("utf-8", "replace").decode("utf-8")
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as source:
        total = os.fstat(source.fileno()).st_size
        state: dict[str, Any] = {}
        offset = 0
        failures = 0  # in a row, without a byte more at the server
        while offset < total or not state:
            source.seek(offset)
            content = source.read(CHUNK)
            if not content and total:
                raise errors.ClientError(f"{path} became shorter while it was uploaded")
            place = f"chunked_upload/{state['id']}/" if state else "chunked_upload/"
            body, kind = multipart({"filename": name}, name, content)
            last = offset + len(content) - 1
            span = f"bytes {offset}-{last}/{total}" if content else "bytes */0"
            try:
                answer = transport.json(
                    "PUT",
                    place,
                    body=body,
                    headers={"Content-Type": kind, "Content-Range": span},
                    idempotent=False,
                )
                state = _state(answer)
                reached = int(state.get("offset", offset + len(content)))
            except _LOST as error:
                if failures + 1 >= TRIES:
                    raise
                transport.pause(failures, getattr(error, "retry_after", None))
                # Without an id there is nothing to ask about; a begun upload nobody knows of
                # names nothing and is swept by the server.
                reached = int(_state(transport.json("GET", place))["offset"]) if state else 0
            if not 0 <= reached <= total:
                raise errors.ClientError(f"the server's offset {reached} is outside of the file")
            failures = 0 if reached > offset or (state and not total) else failures + 1
            if failures >= TRIES:
                raise errors.ClientError("the server takes no more of the upload")
            offset = reached
            if progress is not None:
                progress(offset, total)
        source.seek(0)
        while block := source.read(1 << 20):
            digest.update(block)
    return _finish(transport, state["id"], digest.hexdigest())


def _finish(transport: Transport, upload_id: Any, md5: str) -> dict[str, Any]:
    """Close the upload; where the answer is lost, look whether it was closed."""
    place = f"chunked_upload/{upload_id}/"
    try:
        done = _state(transport.json("POST", place, data={"md5": md5}))
    except (errors.ClientConnectionError, errors.ClientTimeoutError, errors.ServerError):
        done = _state(transport.json("GET", place))
        if not done.get("completed_at"):
            done = _state(transport.json("POST", place, data={"md5": md5}))
    has = done.get("checksum")
    if has and str(has).lower() != md5:
        raise errors.ClientError(f"the server has md5 {has}, the file here {md5}")
    return {**done, "id": done.get("id", upload_id)}


def _state(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict) or answer.get("id") is None:
        raise errors.ClientError("the answer to a chunk of an upload names no id")
    return answer
