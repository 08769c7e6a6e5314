"""Owns what pytest needs to run a plugin's tests as the guide prints it: `pytest tests/`.

Registered as a plugin of pytest by the package's metadata. It puts the folder of the Synapse
plugin that is tested on `sys.path`, so that `from plugin.train import TrainAction` works without
`python -m`. Outside of Synapse plugins it does nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIGS = ("config.yaml", "synapse.yaml")


def plugin_folder(places: Iterable[Path]) -> Path | None:
    """Return the nearest folder at or above one of `places` that is a Synapse plugin's.

    It has a config file and, beside it, the folder `plugin`, or the config names a plugin's code
    and actions: any other config.yaml may be anybody's.
    """
    for place in places:
        for folder in (place, *place.parents):
            files = [folder / name for name in CONFIGS if (folder / name).is_file()]
            if files:
                if (folder / "plugin").is_dir() or _is_plugins(files[0]):
                    return folder
                break
    return None


def _is_plugins(config: Path) -> bool:
    """Say whether a config has the keys `code` and `actions`; read without a YAML reader."""
    try:
        lines = config.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    keys = {line.partition(":")[0].rstrip() for line in lines if ":" in line}
    return {"code", "actions"} <= keys


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Put the tested plugin's folder on `sys.path`, before any conftest.py is imported."""
    here = early_config.invocation_params.dir
    named = [here / arg.split("::", 1)[0] for arg in args if not arg.startswith("-")]
    folder = plugin_folder([*(path for path in named if path.exists()), here])
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
