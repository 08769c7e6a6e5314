"""Owns the plugin's view of environment variables, with typed getters."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

__all__ = ["PluginEnvironment"]

D = TypeVar("D")

_TRUE = frozenset({"true", "1", "yes"})


class PluginEnvironment:
    """Named values of a run: environment variables, or what a test passes instead.

    Values are kept as they were given; the getters convert. The text form shows names only,
    since values may be secrets.
    """

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        self._data: dict[str, Any] = dict(data or {})

    @classmethod
    def from_environ(
        cls, prefix: str = "", *, prefixes: Iterable[str] | None = None
    ) -> PluginEnvironment:
        """Takes variables of this process.

        Args:
            prefix: only names that begin with it, with it taken off.
            prefixes: only names that begin with one of them, kept as they are.
        """
        environ = os.environ
        if prefixes is not None:
            wanted = (prefixes,) if isinstance(prefixes, str) else tuple(prefixes)
            return cls({key: value for key, value in environ.items() if key.startswith(wanted)})
        if prefix:
            return cls(
                {
                    key[len(prefix) :]: value
                    for key, value in environ.items()
                    if key.startswith(prefix) and len(key) > len(prefix)
                }
            )
        return cls(environ)

    @classmethod
    def from_file(cls, path: str | Path) -> PluginEnvironment:
        """Reads the top-level keys of a TOML file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not TOML.
        """
        from synapse_sdk._compat import load_toml

        if not Path(path).is_file():
            raise FileNotFoundError(f"Environment file not found: {path}")
        return cls(load_toml(path))

    @classmethod
    def merge(cls, *envs: PluginEnvironment | Mapping[str, Any]) -> PluginEnvironment:
        """All values of all environments; the later one wins."""
        merged: dict[str, Any] = {}
        for env in envs:
            merged.update(env.to_dict() if isinstance(env, PluginEnvironment) else env)
        return cls(merged)

    @overload
    def get(self, key: str) -> Any: ...
    @overload
    def get(self, key: str, default: Any) -> Any: ...
    def get(self, key: str, default: Any = None) -> Any:
        """The value as it was given, or the default."""
        return self._data.get(key, default)

    @overload
    def get_str(self, key: str) -> str | None: ...
    @overload
    def get_str(self, key: str, default: D) -> str | D: ...
    def get_str(self, key: str, default: Any = None) -> Any:
        """The value as text, or the default."""
        value = self._data.get(key)
        return default if value is None else str(value)

    @overload
    def get_int(self, key: str) -> int | None: ...
    @overload
    def get_int(self, key: str, default: D) -> int | D: ...
    def get_int(self, key: str, default: Any = None) -> Any:
        """The value as a whole number, or the default. ValueError when it is not one."""
        return self._number(key, default, int, "a whole number")

    @overload
    def get_float(self, key: str) -> float | None: ...
    @overload
    def get_float(self, key: str, default: D) -> float | D: ...
    def get_float(self, key: str, default: Any = None) -> Any:
        """The value as a number, or the default. ValueError when it is not one."""
        return self._number(key, default, float, "a number")

    @overload
    def get_bool(self, key: str) -> bool | None: ...
    @overload
    def get_bool(self, key: str, default: D) -> bool | D: ...
    def get_bool(self, key: str, default: Any = None) -> Any:
        """True for `true`, `1` and `yes` in any case, False for other text, or the default."""
        value = self._data.get(key)
        if value is None:
            return default
        return value.strip().lower() in _TRUE if isinstance(value, str) else bool(value)

    @overload
    def get_list(self, key: str) -> list[str] | None: ...
    @overload
    def get_list(self, key: str, default: D) -> list[str] | D: ...
    def get_list(self, key: str, default: Any = None) -> Any:
        """Text split at commas, trimmed, without empty parts; a list as it is; or the default."""
        value = self._data.get(key)
        if value is None:
            return default
        if isinstance(value, (list, tuple)):
            return list(value)
        return [part for part in (piece.strip() for piece in str(value).split(",")) if part]

    def to_dict(self) -> dict[str, Any]:
        """A copy of all values."""
        return dict(self._data)

    def _number(self, key: str, default: Any, kind: type[int] | type[float], noun: str) -> Any:
        value = self._data.get(key)
        if value is None:
            return default
        try:
            return kind(value)
        except (TypeError, ValueError):
            # The value itself may be a secret that was put under the wrong name.
            raise ValueError(f"{key} is not {noun}") from None

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PluginEnvironment):
            return self._data == other._data
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PluginEnvironment({', '.join(sorted(map(str, self._data)))})"
