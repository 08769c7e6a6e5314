"""Owns calling an action, and what its errors become."""

from __future__ import annotations

import contextlib
import types
from typing import Any

from pydantic import BaseModel
from pydantic import ValidationError as ModelError

from synapse_sdk.plugins.action import (
    BaseAction,
    as_action_class,
    is_action_function,
    validate_result,
)
from synapse_sdk.plugins.context import RuntimeContext
from synapse_sdk.plugins.errors import ExecutionError, PluginError, ValidationError
from synapse_sdk.plugins.results import Losses, plain


def action_class(action: Any) -> Any:
    """Return the class-style form of an action: a class as it is, a function as one around it."""
    if isinstance(action, type):
        return action
    if not is_action_function(action):
        from synapse_sdk.plugins.decorators import action as marked

        action = marked()(action)
    return as_action_class(action)


# Given back when memory runs out, so that there is some to say so with; a worker puts it there.
reserve: list[bytearray] = []


def params_model_of(action: type) -> type[BaseModel] | None:
    """Return the model of an action's params; None where it takes them as they come."""
    model = getattr(action, "params_model", None)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def parse_params(action: type, params: Any, ctx: RuntimeContext) -> Any:
    """Return the params as the action takes them: its model, or what came, `{}` for None.

    Raises the guide's ValidationError, whose `details` are pydantic's errors as plain data:
    `[{"loc": [...], "msg": str, "type": str, "input": ...}]`. The input of a secret field, or of a
    model with `hide_input_in_errors`, is left out.
    """
    given = {} if params is None else params
    model = params_model_of(action)
    if model is None:
        return given
    try:
        return model.model_validate(given, context={"client": ctx.client})
    except ModelError as error:
        errors = model_errors(error, model)
        lines = "; ".join(_sentence(item) for item in errors)
        # Whoever prints what led to it would print the input that was left out.
        cause = error if all("input" in item for item in errors) else None
        raise ValidationError(
            f"Invalid parameters for {_name_of(action)!r}: {lines}", details=errors
        ) from cause


def model_errors(error: ModelError, model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return pydantic's errors as plain data, without the input of secret fields."""
    return [_error(item, model) for item in error.errors(include_url=False)]


def _name_of(action: type) -> str:
    return getattr(action, "action_name", None) or action.__name__


def _error(item: Any, model: type[BaseModel]) -> dict[str, Any]:
    found = {"loc": list(item["loc"]), "msg": item["msg"], "type": item["type"]}
    if not _secret(item, model):
        found["input"] = plain(item.get("input"), finite=True)
    return found


def _secret(item: Any, model: type[BaseModel]) -> bool:
    names = [name for name in item["loc"] if isinstance(name, str)]
    own = [
        field for name, field in model.model_fields.items() if names and _named(name, field, names)
    ]
    if not own or item["type"] == "missing":
        # Its input is, or may be meant for, all of the fields.
        return _hides(model, set())
    return any(_hides(field.annotation, set()) for field in own)


def _hides(part: Any, seen: set[type]) -> bool:
    """Say whether a type holds a secret, in whatever depth."""
    # By `type()`: on 3.10 `list[int]` claims to be a class.
    if issubclass(type(part), type) and issubclass(part, BaseModel):
        if part in seen:
            return False
        seen.add(part)
        return bool(part.model_config.get("hide_input_in_errors")) or any(
            _hides(field.annotation, seen) for field in part.model_fields.values()
        )
    parts = getattr(part, "__args__", None) or ()
    return "Secret" in str(part) or any(_hides(inner, seen) for inner in parts)


def _named(name: str, field: Any, names: list[str]) -> bool:
    return names[0] in (name, field.alias) or names[0] == field.validation_alias


def _sentence(item: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "params"
    shown = ""
    if "input" in item and item["type"] != "missing":
        text = repr(item["input"])
        shown = f" (got {text if len(text) <= 80 else text[:79] + '…'})"
    return f"{where}: {item['msg']}{shown}"


def invoke(action: type, params: Any, ctx: RuntimeContext) -> Any:
    """Call an action class with raw params and return what it returns.

    Raises ValidationError for bad params, a PluginError of the action unchanged, and
    ExecutionError for any other exception, which is its `__cause__`; its `details` hold `type`
    and `traceback`. KeyboardInterrupt and SystemExit come through.
    """
    try:
        return _called(action, parse_params(action, params, ctx), params, ctx)
    except (PluginError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise execution_error(error) from error


def _called(action: Any, parsed: Any, params: Any, ctx: RuntimeContext) -> Any:
    if _plainly_dispatched(action):
        result = action(parsed, ctx).run()
    else:
        result = action.dispatch({} if params is None else params, ctx)
    if isinstance(result, types.CoroutineType):
        import asyncio

        result = asyncio.run(result)
    return result


def _plainly_dispatched(action: type) -> bool:
    # Parsed once: a params type may download what it names.
    own = getattr(action, "dispatch", None)
    return getattr(own, "__func__", own) is BaseAction.dispatch.__func__  # type: ignore[attr-defined]


def execution_error(error: BaseException) -> ExecutionError:
    """Return the ExecutionError that stands for another exception."""
    if isinstance(error, MemoryError):
        _release(error)
    from synapse_sdk.plugins.executors.trace import trace

    return ExecutionError(
        f"Action execution failed: {reason(error)}",
        details={"type": type(error).__name__, "traceback": trace(error)},
    )


def _release(error: BaseException) -> None:
    """Let go of what the frames of an exception hold; their lines stay known."""
    reserve.clear()
    step = error.__traceback__
    while step is not None:
        with contextlib.suppress(RuntimeError):
            # Those that still run, ours among them, cannot be cleared.
            step.tb_frame.clear()
        step = step.tb_next


def reason(error: BaseException) -> str:
    """Return an exception's text, led by its class where the text alone says little."""
    text = str(error)
    name = type(error).__name__
    if not text:
        return name
    return f"{name}: {text}" if isinstance(error, (LookupError, AssertionError)) else text


class _Warnings:
    """A logger that keeps warnings."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def warning(self, message: str) -> None:
        self.kept.append(message)


def plain_result(action: type, result: Any) -> tuple[Any, list[str]]:
    """Return a result as plain JSON data, and what is to be said about it.

    Said is that it is not what the action declares, and what of it JSON cannot hold.
    """
    kept = _Warnings()
    validate_result(result, getattr(action, "result_model", None), kept)
    losses = Losses("result")
    value = plain(result, finite=True, losses=losses)
    return value, [*kept.kept, *losses.sentences()]
