"""Owns the parameter type for files: a URL or data URI that becomes a local path."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from pydantic_core import core_schema

__all__ = ["FileField"]

CHUNK = 1 << 20
TIMEOUT = 30.0


class FileField(str):
    """The local path of a file that the parameters name.

    In a params model, `image: FileField` takes an http(s) URL, which is downloaded, a base64 data
    URI, which is decoded, or the path of a file that is there; the value is the local path. Files
    are cached under `datamaker/media` in the folder for temporary files; a URL is asked again
    each time, and sent again only when it has changed.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls._validate,
            core_schema.str_schema(min_length=1),
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def _validate(cls, value: str) -> FileField:
        if value.startswith("data:"):
            return cls(_decode(value))
        if urlsplit(value).scheme in ("http", "https"):
            return cls(_download(value))
        if Path(value).is_file():
            return cls(value)
        raise ValueError("is neither an http(s) URL, nor a data URI, nor a file that is there")


def _folder() -> Path:
    """The cache folder: ours alone, since everybody can write into the one above it."""
    base = Path(tempfile.gettempdir())
    for name in ("datamaker", f"datamaker-{os.getuid()}"):
        top = base / name
        top.mkdir(mode=0o700, exist_ok=True)
        found = top.lstat()
        if not top.is_symlink() and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            media = top / "media"
            media.mkdir(mode=0o700, exist_ok=True)
            return media
    return Path(tempfile.mkdtemp(prefix="datamaker-"))


def _decode(uri: str) -> str:
    head, comma, body = uri.partition(",")
    if not comma:
        raise ValueError("is a data URI without data")
    kind, *options = head[len("data:") :].split(";")
    if "base64" in options:
        try:
            content = base64.b64decode(unquote(body), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("is a data URI that is not base64") from None
    else:
        content = unquote_to_bytes(body)
    import mimetypes

    suffix = mimetypes.guess_extension(kind) or ""
    path = _folder() / f"{hashlib.sha256(content).hexdigest()}{suffix}"
    if not path.exists():
        _write(path, [content])
    return str(path)


def _download(url: str) -> str:
    import urllib3

    suffix = PurePosixPath(unquote(urlsplit(url).path)).suffix
    path = _folder() / f"{hashlib.sha256(url.encode()).hexdigest()}{suffix[:16]}"
    tag_path = path.with_name(path.name + ".etag")
    headers = {}
    if path.exists() and tag_path.exists():
        headers["If-None-Match"] = tag_path.read_text()
    shown = url.partition("?")[0]  # the query of a signed URL is a secret
    try:
        with urllib3.PoolManager() as pool:
            response = pool.request(
                "GET", url, headers=headers, timeout=TIMEOUT, preload_content=False
            )
            try:
                if response.status == 304:
                    return str(path)
                if response.status != 200:
                    raise ValueError(f"{shown} answers with status {response.status}")
                tag_path.unlink(missing_ok=True)
                _write(path, response.stream(CHUNK))
                if tag := response.headers.get("ETag"):
                    _write(tag_path, [tag.encode()])
            finally:
                response.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise ValueError(f"{shown} cannot be downloaded: {type(error).__name__}") from None
    return str(path)


def _write(path: Path, chunks: Any) -> None:
    """Writes beside the file and renames, so that a half-written file is never seen."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
