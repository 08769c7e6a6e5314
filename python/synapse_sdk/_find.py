"""Owns where the `synapse` executable is looked for."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

HINT = (
    "install the `synapse` command (it comes with the synapse-sdk package), "
    "or set SYNAPSE_BIN to its path"
)


def find_synapse() -> Path | None:
    """Return the `synapse` executable: next to the interpreter, then on PATH, then SYNAPSE_BIN.

    None where there is none. A link named `python` is not followed: the executable stands beside
    the environment's own `python`, not beside the one that it was made from.
    """
    beside = Path(sys.executable).parent / "synapse" if sys.executable else None
    if beside is not None and _runs(beside):
        return beside
    found = shutil.which("synapse")
    if found is not None:
        return Path(found)
    named = os.environ.get("SYNAPSE_BIN")
    if named and _runs(Path(named)):
        return Path(named)
    return None


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
