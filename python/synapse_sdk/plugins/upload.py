"""Owns putting a plugin's archive, and its wheel, into object stores from Python.

The `synapse` command does the work; these functions start it and read what it says.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synapse_sdk._find import HINT, find_synapse
from synapse_sdk.plugins.errors import (
    ArchiveError,
    BuildError,
    ChecksumMismatchError,
    PluginError,
    PluginUploadError,
)

__all__ = ["PluginUpload", "StoredObject", "archive_and_upload", "build_and_upload"]

# Codes of the command that speak of the plugin's files rather than of a store.
_ARCHIVE = frozenset(
    {
        "allow-secrets",
        "archive-write",
        "credential",
        "disk-full",
        "edited-while-archiving",
        "edited-while-reading",
        "file-name",
        "path",
        "special-file",
        "symlink-circle",
        "symlink-dangling",
        "symlink-out",
        "sync-refused",
        "unreadable",
    }
)
# Lines of a command that died without a document that are worth repeating.
_LAST_LINES = 20


@dataclass(frozen=True)
class StoredObject:
    """One object in one store.

    Attributes:
        kind: "archive" or "wheel".
        name: its name in the store's folder, such as `dev-<md5>.zip`.
        url: where it is; no login and no query.
        size: bytes.
        md5: MD5 of its bytes, 32 hex digits.
        storage: the store's name, or its URL where it has none.
        is_new: it was stored now; otherwise it was there already.
        verified: by what it is known to be whole: "etag", "md5", "read back", "arrival",
            "label", "name" or "content".
    """

    kind: str
    name: str
    url: str
    size: int
    md5: str
    storage: str
    is_new: bool
    verified: str


@dataclass(frozen=True)
class PluginUpload:
    """A plugin that is in its stores.

    Attributes:
        code: the plugin's code.
        version: its version.
        variant: its variant, where it has one.
        checksum: MD5 of the archive, 32 hex digits.
        objects: every object, in the order of the stores.
        wheel: the wheel's file name; None where it was not asked for or the plugin names no
            build backend.
    """

    code: str
    version: str
    variant: str | None
    checksum: str
    objects: tuple[StoredObject, ...]
    wheel: str | None = None

    @property
    def url(self) -> str:
        """Where the archive is, in the first store."""
        return next(stored.url for stored in self.objects if stored.kind == "archive")

    @property
    def wheel_url(self) -> str | None:
        """Where the wheel is, in the first store; None without a wheel."""
        return next((stored.url for stored in self.objects if stored.kind == "wheel"), None)


def archive_and_upload(
    source_path: str | os.PathLike[str] = ".",
    storage: str | Sequence[str] | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    release: bool = False,
    profile: str | None = None,
    allow_secrets: Sequence[str] = (),
    timeout: float | None = None,
) -> PluginUpload:
    """Archive a plugin and put the archive into object stores, where it is not there already.

    Args:
        source_path: the plugin's folder.
        storage: a store by its name in the saved login's `storages`, or by its URL
            (`s3://bucket/folder`, `file:///folder`, ...); several as a list. None: the stores
            that the workspace names. Credentials come from the saved login or the environment.
        config: a file that takes the place of the plugin's config.yaml.
        release: name the archive by code and version, and never replace one, instead of by its
            checksum.
        profile: the saved login whose `storages` are meant.
        allow_secrets: patterns of files that may look like credentials.
        timeout: seconds after which it is given up.

    Raises:
        ArchiveError: the archive cannot be made.
        ChecksumMismatchError: a store has other bytes than were sent.
        PluginUploadError: anything else: no such store, no access, no `synapse` command.
    """
    return _upload(
        source_path,
        storage,
        wheel=False,
        config=config,
        release=release,
        profile=profile,
        allow_secrets=allow_secrets,
        timeout=timeout,
    )


def build_and_upload(
    source_path: str | os.PathLike[str] = ".",
    storage: str | Sequence[str] | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    release: bool = False,
    profile: str | None = None,
    allow_secrets: Sequence[str] = (),
    timeout: float | None = None,
) -> PluginUpload:
    """Do as `archive_and_upload`, and build and store the plugin's wheel too.

    A plugin whose pyproject.toml names no build backend has none.

    Raises:
        BuildError: the wheel cannot be built; the message has the builder's own words.
        ArchiveError, ChecksumMismatchError, PluginUploadError: as of `archive_and_upload`.
    """
    return _upload(
        source_path,
        storage,
        wheel=True,
        config=config,
        release=release,
        profile=profile,
        allow_secrets=allow_secrets,
        timeout=timeout,
    )


def _upload(
    source_path: str | os.PathLike[str],
    storage: str | Sequence[str] | None,
    *,
    wheel: bool,
    config: str | os.PathLike[str] | None,
    release: bool,
    profile: str | None,
    allow_secrets: Sequence[str],
    timeout: float | None,
) -> PluginUpload:
    synapse = find_synapse()
    if synapse is None:
        raise PluginUploadError(f"there is no `synapse` command to upload with; {HINT}")
    arguments = ["plugin", "upload", "--json", "--path", os.fspath(Path(source_path))]
    stores = [storage] if isinstance(storage, str) else list(storage or ())
    for name, values in (("--storage", stores), ("--allow-secret", allow_secrets)):
        # One word each: a value may begin with a dash.
        arguments += [f"{name}={value}" for value in values]
    if config is not None:
        arguments.append(f"--config={os.fspath(config)}")
    if profile is not None:
        arguments.append(f"--profile={profile}")
    arguments += ["--wheel"] * wheel + ["--release"] * release
    try:
        done = subprocess.run(
            [synapse, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise PluginUploadError(f"the upload took longer than {timeout} s") from error
    except OSError as error:
        raise PluginUploadError(f"cannot start {synapse}: {error}") from error
    return _read(done)


def _read(done: subprocess.CompletedProcess[str]) -> PluginUpload:
    try:
        document = json.loads(done.stdout)
        errors = document["errors"]
    except (ValueError, LookupError, TypeError) as error:
        said = "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        what = said or f"`synapse plugin upload` ended with {done.returncode} without a word"
        raise PluginUploadError(what) from error
    if errors or done.returncode:
        raise _failure(errors, done.returncode)
    plugin = document["plugins"][0]
    built = plugin.get("wheel")
    return PluginUpload(
        code=plugin["code"],
        version=plugin["version"],
        variant=plugin["variant"],
        checksum=plugin["checksum"]["md5"],
        objects=tuple(_stored(entry) for entry in plugin.get("objects", ())),
        wheel=built["file"] if built else None,
    )


def _stored(entry: dict[str, Any]) -> StoredObject:
    return StoredObject(
        kind=entry["kind"],
        name=entry["name"],
        url=entry["url"],
        size=entry["size"],
        md5=entry["md5"],
        storage=entry["storage"],
        is_new=entry["status"] == "stored",
        verified=entry["verified"],
    )


def _failure(errors: Sequence[dict[str, Any]], code: int) -> PluginError:
    """Return the error that tells most, with all of them as `details`."""
    if not errors:
        return PluginUploadError(f"`synapse plugin upload` ended with {code} without a reason")
    first = errors[0]
    message = str(first["message"])
    if first.get("where"):
        message += f" ({first['where']})"
    if first.get("hint"):
        message += f"; {first['hint']}"
    name = str(first["code"])
    if name == "build-failed":
        return BuildError(message, details=list(errors))
    if name == "checksum-mismatch":
        return ChecksumMismatchError(message, details=list(errors))
    if name in _ARCHIVE or name.startswith("config-"):
        return ArchiveError(message, details=list(errors))
    return PluginUploadError(message, details=list(errors))
