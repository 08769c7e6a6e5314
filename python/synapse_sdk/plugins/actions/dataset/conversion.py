"""Owns the converted datasets on disk: beside their source, marked complete, made once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from synapse_sdk.plugins.errors import PluginError
from synapse_sdk.utils.converters import Converted, get_converter, normal_format
from synapse_sdk.utils.converters.converter import PLATFORM
from synapse_sdk.utils.converters.yolo import find_description

#: File that says a converted dataset is whole, and of which source.
MARKER = ".complete"


def convert_dataset(
    path: Path, source_format: str, target_format: str, output: Path | None = None
) -> Converted:
    """Return the dataset in `path` in the target format.

    A dataset that has that format already is returned as it is. Otherwise it is written to
    `output`, by default `<path>_<format>` beside it, and taken from there the next time, for as
    long as the source's files stay the same.

    Raises:
        FileNotFoundError: There is no folder `path`.
        PluginError: The pair of formats cannot be converted, or the dataset cannot be read.
        ImportError: The extra `dataset` is not installed.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"Dataset path does not exist: {path}")
    source, target = normal_format(source_format), normal_format(target_format)
    if source == target:
        config = find_description(path) if source == "yolo" else None
        return Converted(path, source, config, sum(1 for p in path.rglob("*") if p.is_file()))
    folder = output or path.with_name(f"{path.name}_{target}")
    if path.resolve().is_relative_to(folder.resolve()):
        raise PluginError(f"{folder} holds the dataset itself; name another output_dir")
    with _alone(path):
        return _made(path, source, target, folder)


def _made(path: Path, source: str, target: str, folder: Path) -> Converted:
    state = _state(path, source)
    before = _before(folder, target, state)
    if before is not None:
        return before
    try:
        converter = get_converter(source, target)
    except ValueError as error:
        details = {"source": source, "target": target, "passed_on_as_is": list(PLATFORM)}
        raise PluginError(str(error), details) from None
    stale = folder.exists()
    if stale and not (folder / MARKER).is_file() and any(folder.iterdir()):
        raise PluginError(f"{folder} holds other files; name another output_dir")
    working = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        done = converter.convert(path, working)
        config = done.config_path.relative_to(working) if done.config_path else None
        record = {
            "source": state,
            "format": target,
            "config_path": config.as_posix() if config is not None else None,
            "count": done.count,
            "classes": done.classes,
            "notes": done.notes,
        }
        (working / MARKER).write_text(json.dumps(record, ensure_ascii=False), "utf-8")
        if stale:
            shutil.rmtree(folder)
        working.rename(folder)
    except ValueError as error:
        details = {"path": str(path)}
        raise PluginError(f"the dataset cannot be converted: {error}", details) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return replace(done, path=folder, config_path=folder / config if config is not None else None)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on `folder` itself: one process converts it, others wait and take the result."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a filesystem without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _state(path: Path, source: str) -> str:
    """Return a digest of the source's names, sizes and times."""
    digest = hashlib.sha256(source.encode())
    for file in sorted(path.rglob("*")):
        if file.is_file():
            stat = file.stat()
            row = (file.relative_to(path).as_posix(), stat.st_size, stat.st_mtime_ns)
            digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _before(folder: Path, target: str, state: str) -> Converted | None:
    """Return what was converted into `folder` before, of the same source."""
    try:
        record = json.loads((folder / MARKER).read_text("utf-8"))
        if record["source"] != state or record["format"] != target:
            return None
        config = record["config_path"]
        return Converted(
            path=folder,
            format=target,
            config_path=folder / config if config else None,
            count=int(record["count"]),
            classes=list(record["classes"]),
            notes=list(record["notes"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
