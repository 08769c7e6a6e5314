"""Owns that no plugin runs from bytecode older than its sources.

Python holds bytecode against a source's size and the whole second of its time, so that a second
save within a second is not seen. While an author works with a watch, that is an everyday thing.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from importlib.util import cache_from_source
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Seconds after the second of a save in which another can still bear its time: the clock of a
# filesystem is behind by a tick.
_TICK = 0.1


class FreshLoader(SourceFileLoader):
    """Takes bytecode only where it was written after the last second in which its source was."""

    def path_stats(self, path: Any) -> Mapping[str, Any]:
        """Give time and size of a source.

        Raises:
            OSError: It may be saved again within its second; the importer then neither reads
                nor writes bytecode.
        """
        stats = super().path_stats(path)
        second = int(stats["mtime"])
        if time.time() < second + 1 + _TICK:
            raise OSError(f"{path} was written just now")
        cached = cache_from_source(path)
        try:
            if int(os.stat(cached).st_mtime) <= second:
                os.unlink(cached)
        except OSError:
            pass  # There is none, or it is not ours to remove; then Python's own check has to do.
        return stats


def keep_fresh(folder: str) -> None:
    """Import what lies in `folder`, a plugin's, from bytecode that is not older than its source."""
    loaders = (
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (FreshLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )
    finder = FileFinder.path_hook(*loaders)
    root = os.path.realpath(folder)

    def hook(path: str) -> Any:
        real = os.path.realpath(path or os.getcwd())
        inside = real == root or real.startswith(root + os.sep)
        # An environment within the folder is nobody's work.
        if not inside or "site-packages" in real.split(os.sep):
            raise ImportError(path)
        return finder(path)

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()
