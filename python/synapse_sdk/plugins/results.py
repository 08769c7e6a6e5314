"""Owns what executors return, and the way from any Python value to plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

__all__ = ["ActionResult", "plain"]

_ITSELF: Any = object()
# Where in a value: the path to what it is in, and the key or the index there.
_Path = tuple[Any, "str | int"] | None


class Losses:
    """What of a value JSON cannot hold, as sentences for people: the first few, then a count."""

    SHOWN = 5

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: list[str] = []
        self._more = 0

    def add(self, path: _Path, what: str) -> None:
        """Note that what lies at `path` (nested pairs, the outermost key innermost) is lost."""
        if len(self._told) >= self.SHOWN:
            self._more += 1
            return
        place = _place(path)
        self._told.append(f"{self._name}: {place} {what}" if place else f"{self._name} {what}")

    def sentences(self) -> list[str]:
        """Return what was noted, such as `result: loss is NaN, kept as null`."""
        if not self._more:
            return list(self._told)
        return [*self._told, f"{self._name}: and {self._more} more values that JSON cannot hold"]


def plain(value: Any, *, finite: bool = False, losses: Losses | None = None) -> Any:
    """Turns a value into dicts, lists, strings, numbers, booleans and None.

    Models become the dicts that pydantic writes as JSON, dataclasses dicts, enums their value,
    paths and dates text, sets sorted lists, numpy scalars and arrays numbers and lists. What has
    no such form becomes its `repr`.

    Args:
        finite: NaN and the infinities, which JSON has no words for, become None.
        losses: takes note of what became None or text in this way; texts are then without the
            addresses that differ from run to run.
    """
    return _Conversion(finite, losses).of(value, (), None)


class _Conversion:
    """One call of `plain`."""

    def __init__(self, finite: bool, losses: Losses | None) -> None:
        self._finite = finite
        self._losses = losses

    def of(self, value: Any, above: tuple[int, ...], path: _Path) -> Any:
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str:
            return value
        if kind is int:
            return self._integer(value, path)
        if isinstance(value, Enum):
            return self.of(value.value, above, path)
        if isinstance(value, float):
            return self._number(float(value), path)
        if isinstance(value, int):
            return self._integer(int(value), path)
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, PurePath):
            return str(value)
        if id(value) in above:
            self._note(path, "holds itself, kept as <cycle>")
            return "<cycle>"
        above = (*above, id(value))
        if isinstance(value, Mapping):
            named = ((self._key(key), item) for key, item in value.items())
            return {key: self.of(item, above, (path, key)) for key, item in named}
        if isinstance(value, (list, tuple)):
            return [self.of(item, above, (path, at)) for at, item in enumerate(value)]
        if isinstance(value, (set, frozenset)):
            items = [self.of(item, above, path) for item in value]
            return sorted(items, key=lambda item: (type(item).__name__, repr(item)))
        return self._object(value, above, path)

    def _integer(self, value: int, path: _Path) -> int | str:
        # Readers of JSON elsewhere make a float of it, which loses digits.
        if not self._finite or -(1 << 63) <= value < 1 << 64:
            return value
        self._note(path, "is an integer of more than 64 bits, its text is kept")
        try:
            return str(value)
        except ValueError:
            # Python refuses to write out thousands of digits.
            return hex(value)

    def _number(self, value: float, path: _Path) -> float | None:
        if not self._finite or math.isfinite(value):
            return value
        name = "NaN" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
        self._note(path, f"is {name}, kept as null")
        return None

    def _object(self, value: Any, above: tuple[int, ...], path: _Path) -> Any:
        # Looked up on the type: a mock answers to every name, and a class is no instance.
        kind = type(value)
        if hasattr(kind, "model_dump"):
            return self.of(_dumped(value, whole=self._losses is not None), above, path)
        fields = getattr(kind, "__dataclass_fields__", None)
        if fields is not None:
            return {
                name: self.of(getattr(value, name, None), above, (path, name)) for name in fields
            }
        for convert in ("tolist", "item"):  # numpy, torch and their like
            if hasattr(kind, convert):
                try:
                    converted = getattr(value, convert)()
                except Exception:
                    continue
                if type(converted) is not kind:
                    return self.of(converted, above, path)
        from pydantic_core import PydanticSerializationError, to_jsonable_python

        try:
            # Dates, UUIDs, decimals, URLs, secrets (masked) and whatever pydantic knows.
            known = to_jsonable_python(value)
        except (PydanticSerializationError, ValueError, TypeError, RecursionError):
            self._note(path, "has no plain form, its text is kept")
            return self._text(value)
        return self.of(known, above, path)

    def _text(self, value: Any) -> str:
        try:
            return self._settled(repr(value))
        except Exception:
            return f"<{type(value).__name__}>"

    def _key(self, key: Any) -> str:
        if isinstance(key, Enum):
            key = key.value
        if isinstance(key, str):
            return str.__str__(key)
        if key is None or isinstance(key, bool):
            return {None: "null", True: "true", False: "false"}[key]
        return self._settled(str(key))

    def _settled(self, text: str) -> str:
        if self._losses is None:
            return text
        import re

        return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)

    def _note(self, path: _Path, what: str) -> None:
        if self._losses is not None:
            self._losses.add(path, what)


def _place(path: _Path) -> str:
    keys: list[str | int] = []
    while path is not None:
        path, key = path
        keys.append(key)
    place = ""
    for key in reversed(keys):
        place += f"[{key}]" if isinstance(key, int) else f".{key}" if place else key
    return place


def _dumped(model: Any, *, whole: bool) -> Any:
    try:
        written = model.model_dump(mode="json")
    except Exception:
        # A field of arbitrary type, which pydantic cannot write: take it as it is.
        return model.model_dump(mode="python")
    # pydantic itself makes None of NaN in a field of no declared type.
    return _restored(written, model.model_dump(mode="python")) if whole else written


def _restored(written: Any, held: Any) -> Any:
    if written is None:
        return held if isinstance(held, float) else None
    if isinstance(written, dict) and isinstance(held, dict) and len(written) == len(held):
        pairs = zip(written.items(), held.values(), strict=True)
        return {key: _restored(item, other) for (key, item), other in pairs}
    if isinstance(written, list) and isinstance(held, (list, tuple)) and len(written) == len(held):
        return [_restored(item, other) for item, other in zip(written, held, strict=True)]
    return written


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
