"""Owns the tracebacks that people see: the plugin's frames, not ours."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def trace(error: BaseException, only: str | None = None) -> str:
    """Return the traceback text of `error` and its causes, without the SDK's leading frames.

    With `only`, a directory, no frame outside it is kept, except where that would leave none.
    """
    shown = traceback.TracebackException.from_exception(error)
    _trim(shown, _within(only) if only else None, set())
    return "".join(shown.format())


def _trim(
    shown: traceback.TracebackException, kept: Callable[[str], bool] | None, seen: set[int]
) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    frames = list(shown.stack)
    if kept is not None:
        rest = [frame for frame in frames if kept(frame.filename)]
    else:
        start = next((n for n, frame in enumerate(frames) if not _ours(frame.filename)), 0)
        rest = frames[start:]
    shown.stack[:] = rest or ([] if kept else frames)
    for other in (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())):
        if other is not None:
            _trim(other, kept, seen)


def _ours(file: str) -> bool:
    return file.startswith((_OURS + os.sep, "<frozen importlib", "<string>")) or (
        os.sep + "importlib" + os.sep in file
    )


def _within(folder: str) -> Callable[[str], bool]:
    roots = {folder.rstrip(os.sep) + os.sep, os.path.realpath(folder) + os.sep}
    skipped = f"{os.sep}site-packages{os.sep}"
    return lambda file: any(file.startswith(root) for root in roots) and skipped not in file
