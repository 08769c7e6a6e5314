"""Owns what becomes of Python values on their way into JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

# Deeper than this a value refers to itself, or might as well.
_DEPTH = 64


def plain(value: Any, lost: list[str] | None = None, place: str = "the value") -> Any:
    """Return `value` as plain JSON data: dict with str keys, list, str, int, float, bool, None.

    Models and dataclasses become dicts; enums their values; paths, dates and UUIDs text; arrays
    and tensors lists; bytes text, in base64 unless UTF-8; NaN and the infinities the texts "NaN",
    "Infinity", "-Infinity". What JSON cannot hold becomes its `str()`, and a sentence about it is
    added to `lost`. Never raises on account of a value.
    """
    return _plain(value, lost if lost is not None else [], place, 0)


def _plain(value: Any, lost: list[str], place: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else _odd(value)
    if depth > _DEPTH:
        lost.append(f"{place} is nested more than {_DEPTH} deep; the rest is passed on as text")
        return _text(value)
    try:
        return _by_shape(value, lost, place, depth)
    except Exception as error:
        lost.append(f"{place} ({kind.__name__}) cannot be read: {type(error).__name__}: {error}")
        return _text(value)


def _by_shape(value: Any, lost: list[str], place: str, depth: int) -> Any:
    # Looked at by shape: a module need not be imported to know that a value is not of its types.
    kind = type(value)
    if hasattr(kind, "_member_map_"):
        return _plain(value.value, lost, place, depth + 1)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _plain(float(value), lost, place, depth + 1)
    if hasattr(kind, "model_fields") and hasattr(kind, "model_dump"):
        return _plain(_dumped(value), lost, place, depth + 1)
    if isinstance(value, Mapping):
        return {
            _key(key): _plain(item, lost, f"{place}[{key!r}]", depth + 1)
            for key, item in value.items()
        }
    if hasattr(kind, "__dataclass_fields__"):
        return {
            name: _plain(getattr(value, name), lost, f"{place}.{name}", depth + 1)
            for name in kind.__dataclass_fields__
            if hasattr(value, name)
        }
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _bytes(bytes(value))
    if isinstance(value, (list, tuple)):
        return _list(value, lost, place, depth)
    if isinstance(value, (set, frozenset)):
        items = _list(value, lost, place, depth)
        return sorted(items, key=lambda item: (type(item).__name__, str(item)))
    if hasattr(kind, "__fspath__"):
        return _plain(os.fspath(value), lost, place, depth + 1)
    if hasattr(kind, "tolist"):
        return _plain(value.tolist(), lost, place, depth + 1)
    for name in ("isoformat", "total_seconds"):
        if hasattr(kind, name):
            return getattr(value, name)()
    if isinstance(value, Iterable) and hasattr(kind, "__len__"):
        return _list(value, lost, place, depth)
    if kind.__name__ not in {"UUID", "Decimal", "Fraction"} and not hasattr(
        kind, "get_secret_value"
    ):
        lost.append(f"{place} is a {kind.__name__}, which is passed on as text")
    return _text(value)


def _list(items: Iterable[Any], lost: list[str], place: str, depth: int) -> list[Any]:
    return [_plain(item, lost, f"{place}[{n}]", depth + 1) for n, item in enumerate(items)]


def _dumped(model: Any) -> Any:
    try:
        return model.model_dump(mode="json")
    except Exception:
        # A field that pydantic does not know how to write, such as a tensor.
        return dict(model)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key.value if hasattr(key, "value") else key)
    value = _plain(key, [], "the key", 0)
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else "null"
    return value if isinstance(value, str) else str(key)


def _odd(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        import base64

        return base64.b64encode(value).decode()


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
