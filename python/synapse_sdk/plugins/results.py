"""Owns what executors return, and the way from any Python value to plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

__all__ = ["ActionResult", "plain"]

_ITSELF: Any = object()


def plain(value: Any, *, finite: bool = False) -> Any:
    """Turns a value into dicts, lists, strings, numbers, booleans and None.

    Models become the dicts that pydantic writes as JSON, dataclasses dicts, enums their value,
    paths and dates text, sets sorted lists, numpy scalars and arrays numbers and lists. What has
    no such form becomes its `repr`.

    Args:
        finite: NaN and the infinities, which JSON has no words for, become None.
    """
    return _plain(value, finite, ())


def _plain(value: Any, finite: bool, above: tuple[int, ...]) -> Any:
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str or kind is int:
        return value
    if isinstance(value, Enum):
        return _plain(value.value, finite, above)
    if isinstance(value, float):
        return None if finite and not math.isfinite(value) else float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, PurePath):
        return str(value)
    if id(value) in above:
        return "<cycle>"
    above = (*above, id(value))
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, finite, above) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, finite, above) for item in value]
    if isinstance(value, (set, frozenset)):
        items = [_plain(item, finite, above) for item in value]
        return sorted(items, key=lambda item: (type(item).__name__, repr(item)))
    return _plain_object(value, finite, above)


def _plain_object(value: Any, finite: bool, above: tuple[int, ...]) -> Any:
    # Looked up on the type: a mock answers to every name, and a class is no instance.
    kind = type(value)
    if hasattr(kind, "model_dump"):
        return _plain(_dumped(value), finite, above)
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        return {name: _plain(getattr(value, name, None), finite, above) for name in fields}
    for convert in ("tolist", "item"):  # numpy, torch and their like
        if hasattr(kind, convert):
            try:
                converted = getattr(value, convert)()
            except Exception:
                continue
            if type(converted) is not kind:
                return _plain(converted, finite, above)
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        # Dates, UUIDs, decimals, URLs, secrets (masked) and whatever pydantic knows.
        known = to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError):
        return repr(value)
    return _plain(known, finite, above)


def _dumped(model: Any) -> Any:
    try:
        return model.model_dump(mode="json")
    except Exception:
        # A field of arbitrary type, which pydantic cannot write: take it as it is.
        return model.model_dump(mode="python")


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)


class ActionResult(dict[str, Any]):
    """The result of an action: a JSON-ready dict whose keys are attributes too.

    `result["loss"]`, `result.loss` and `"loss" in result` all work. `result.raw` is the object
    that the action returned, unless a key has that name; `ActionResult.original(result)` is it
    in any case. A key that is also a method of dict (`items`, `keys`, ...) is reached by
    `result["items"]` only.
    """

    __slots__ = ("_original",)

    _original: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "_original", _ITSELF)

    @classmethod
    def of(cls, value: Any) -> ActionResult:
        """Makes a result of whatever an action returned.

        A model, a dataclass or a mapping gives its fields; None gives no keys; a scalar, a list
        or any other value is found under the key `result`. An ActionResult is returned as it is.
        """
        if isinstance(value, ActionResult):
            return value
        converted = {} if value is None else plain(value)
        result = cls(converted if isinstance(converted, dict) else {"result": converted})
        object.__setattr__(result, "_original", value)
        return result

    @staticmethod
    def original(result: ActionResult) -> Any:
        """The object that the action returned."""
        value = object.__getattribute__(result, "_original")
        return result if value is _ITSELF else value

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            pass
        if name == "raw":
            return ActionResult.original(self)
        known = ", ".join(map(str, self)) or "no keys"
        raise AttributeError(f"the result has no {name!r}; it has {known}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(key for key in self if isinstance(key, str)), "raw"]

    def __reduce__(self) -> tuple[Any, ...]:
        if self._original is _ITSELF:
            return (ActionResult, (dict(self),))
        return (_rebuilt, (dict(self), self._original))

    def __repr__(self) -> str:
        return dict.__repr__(self)


def _rebuilt(values: dict[str, Any], original: Any) -> ActionResult:
    result = ActionResult(values)
    object.__setattr__(result, "_original", original)
    return result
