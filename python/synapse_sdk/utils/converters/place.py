"""Owns putting an image into a converted dataset: a hard link, else a copy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def place(source: Path, target: Path) -> None:
    """Put `source` at `target`, which must not exist.

    Raises:
        FileExistsError: Something is there: two images would be one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except FileExistsError:
        raise FileExistsError(f"two images would become {target.name}") from None
    except OSError:
        shutil.copy2(source, target)
