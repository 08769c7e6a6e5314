"""Owns the decorator that makes a function an action."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from pydantic import BaseModel

    from synapse_sdk.plugins.enums import PluginCategory

__all__ = ["action"]

F = TypeVar("F", bound=Callable[..., Any])

_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect


@overload
def action(name: F) -> F: ...
@overload
def action(
    name: str | None = None,
    description: str = "",
    params: type[BaseModel] | None = None,
    result: type[BaseModel] | None = None,
    category: PluginCategory | None = None,
) -> Callable[[F], F]: ...
def action(
    name: Any = None,
    description: str = "",
    params: type[BaseModel] | None = None,
    result: type[BaseModel] | None = None,
    category: PluginCategory | None = None,
) -> Any:
    """Marks a function `(params, ctx)` as an action. Works with and without parentheses.

    Args:
        name: the action's name; the function's name by default.
        description: one line for people.
        params: a pydantic model; the function gets an instance of it. Without one it gets the
            parameters as the dict they came as.
        result: the model of what the function returns.
        category: the plugin category that the action is for.

    The function stays callable as before and gains `_is_action`, `_action_name`,
    `_action_description`, `_action_params`, `_action_result` and `_action_category`.
    """
    if callable(name):
        return action()(name)

    def decorate(function: F) -> F:
        code = getattr(function, "__code__", None)
        wrapper: Any
        if code is not None and code.co_flags & _COROUTINE:

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                return await function(*args, **kwargs)

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

        wrapper._is_action = True
        wrapper._action_name = name or function.__name__
        wrapper._action_description = description
        wrapper._action_params = params
        wrapper._action_result = result
        wrapper._action_category = category
        decorated: F = wrapper
        return decorated

    return decorate
