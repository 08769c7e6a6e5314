"""Owns the result that executors hand back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synapse_sdk.plugins.executors.plain import plain


class ActionResult(dict[str, Any]):
    """What an action returned, as plain JSON data: a dict whose keys are attributes too.

    A key that is also a method of dict (`items`, `keys`, ...) is reached by `result["items"]`.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the result has no {name!r}, only {sorted(self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def copy(self) -> ActionResult:
        """Return a shallow copy."""
        return ActionResult(self)


def action_result(value: Any, lost: list[str] | None = None) -> Any:
    """Return what an executor hands back for what the action returned.

    A model, dataclass or mapping becomes an ActionResult; a list, number, text or None stays one.
    `lost` collects sentences about what JSON cannot hold.
    """
    data = plain(value, lost, "the result")
    return ActionResult(data) if isinstance(data, Mapping) else data
