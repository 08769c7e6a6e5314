"""Owns where the user's files are kept, as the `synapse` command keeps them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def _folder(own: str, xdg: str, tail: tuple[str, ...], variables: Mapping[str, str]) -> Path:
    if home := variables.get("SYNAPSE_HOME"):
        return Path(home).absolute() / own
    if xdg and (base := variables.get(xdg)) and os.path.isabs(base):
        return Path(base) / "synapse"
    return Path.home().joinpath(*tail)


def store(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what can be made again: `SYNAPSE_STORE`, else the cache folder."""
    if own := variables.get("SYNAPSE_STORE"):
        return Path(own).absolute()
    return _folder("cache", "XDG_CACHE_HOME", (".cache", "synapse"), variables)


def data(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what cannot be made again: runs, the embedded backend."""
    return _folder("data", "XDG_DATA_HOME", (".local", "share", "synapse"), variables)


def config_file(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the file of the saved login."""
    return _folder("config", "", (".synapse",), variables) / "config.json"


def downloads(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of downloaded datasets and models."""
    return store(variables) / "downloads"
