"""Owns what Python 3.10 lacks and the package needs."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    from enum import StrEnum
else:
    from enum import Enum

    class StrEnum(str, Enum):
        """An enum whose members are strings and print as their value."""

        __str__ = str.__str__

        def __format__(self, format_spec: str) -> str:
            return str.__format__(self, format_spec)

        @staticmethod
        def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> str:
            return name.lower()


__all__ = ["StrEnum", "load_toml"]


def load_toml(path: str | Path) -> dict[str, Any]:
    """Reads a TOML file into plain dicts and lists.

    Python 3.10 has no TOML reader of its own; there the package `tomli` is used.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not TOML.
        ModuleNotFoundError: Python 3.10 without `tomli`.
    """
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    with open(path, "rb") as file:
        try:
            toml = import_module(name)
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "reading TOML on Python 3.10 needs tomli: pip install tomli", name=name
            ) from None
        loaded: dict[str, Any] = toml.load(file)
    return loaded
