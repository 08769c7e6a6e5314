"""Owns the running of actions one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from synapse_sdk.plugins.action import (
    BaseAction,
    NoResult,
    as_action_class,
    awaited,
    validate_params,
)
from synapse_sdk.plugins.context import RuntimeContext
from synapse_sdk.plugins.errors import PluginError

__all__ = ["ActionPipeline", "SchemaIncompatibleError"]

_DISPATCH = BaseAction.__dict__["dispatch"].__func__

ProgressCallback = Callable[[int, int, str], Any]


class SchemaIncompatibleError(PluginError):
    """Two neighbours of a pipeline do not fit: what one gives is not what the next takes."""


class ActionPipeline:
    """Actions that run in order; each gets the parameters and the results of those before it.

    Args:
        actions: subclasses of BaseAction, or functions marked with `@action`.
        validate_schemas: compare what each action gives with what the next one takes.
        strict: raise when they do not fit, instead of logging it.

    Raises:
        ValueError: there are no actions.
        SchemaIncompatibleError: neighbours do not fit, and `strict`.
    """

    def __init__(
        self, actions: Sequence[Any], *, validate_schemas: bool = True, strict: bool = False
    ) -> None:
        if not actions:
            raise ValueError("a pipeline needs at least one action")
        self._actions = [as_action_class(action) for action in actions]
        self.strict = strict
        if validate_schemas:
            for source, target in zip(self._actions, self._actions[1:], strict=False):
                self._check_types(source, target)
                self._check_fields(source, target)

    @property
    def actions(self) -> list[type[BaseAction[Any]]]:
        """The actions; a copy of the list."""
        return list(self._actions)

    def execute(
        self,
        params: Mapping[str, Any] | BaseModel,
        ctx: RuntimeContext,
        *,
        progress_callback: ProgressCallback | None = None,
    ) -> Any:
        """Runs all actions in this process.

        Args:
            params: of all actions together; each result's fields are laid over them.
            progress_callback: called with `(i, n, action name)` before each action, counted
                from 0, and with `(n, n, "complete")` at the end.

        Returns:
            What the last action returned, unchanged.

        Raises:
            RuntimeError: `Failed to validate params for action 'x': ...` or
                `Action 'x' failed: ...`, with the exception as its cause.
        """
        gathered = _fields_of(params)
        count = len(self._actions)
        result: Any = None
        for index, action in enumerate(self._actions):
            name = _name(action)
            if progress_callback is not None:
                progress_callback(index, count, name)
            # A class with a dispatch of its own takes the params as they come.
            plainly = getattr(action.dispatch, "__func__", None) is _DISPATCH
            try:
                checked = _checked(action, gathered, ctx) if plainly else gathered
            except Exception as error:
                raise RuntimeError(
                    f"Failed to validate params for action '{name}': {error}"
                ) from error
            try:
                result = awaited(
                    action(checked, ctx).run() if plainly else action.dispatch(checked, ctx)
                )
            except Exception as error:
                raise RuntimeError(f"Action '{name}' failed: {error}") from error
            gathered = {**gathered, **_fields_of(result)}
        if progress_callback is not None:
            progress_callback(count, count, "complete")
        return result

    def validate_initial_params(self, params: Mapping[str, Any] | BaseModel) -> list[str]:
        """The required fields that neither the parameters nor an earlier result will have.

        Returns:
            `["Class.field", ...]` with the params model's class, in order; empty when all are
            there. The result of an action without a result model is not known beforehand.
        """
        known = set(_fields_of(params))
        missing = []
        for action in self._actions:
            model = _params_model(action)
            if model is not None:
                missing += [
                    f"{model.__name__}.{name}"
                    for name, names in _required(model).items()
                    if not names & known
                ]
            result = _result_model(action)
            if result is not None:
                known |= set(result.model_fields)
        return missing

    def submit(
        self,
        params: Mapping[str, Any] | BaseModel,
        executor: Any,
        *,
        name: str | None = None,
        resume_from: str | None = None,
    ) -> str:
        """Hands the pipeline to an executor, which runs it elsewhere.

        Args:
            executor: has `submit(pipeline, params, name=..., resume_from=...)`.
            resume_from: id of an earlier run to go on with.

        Returns:
            The run's id.
        """
        run_id = executor.submit(self, _fields_of(params), name=name, resume_from=resume_from)
        return str(run_id)

    def wait(
        self,
        run_id: str,
        executor: Any,
        *,
        timeout_seconds: float = 3600,
        poll_interval: float = 5.0,
    ) -> Any:
        """Waits for a submitted run; returns what the executor's `wait` does."""
        return executor.wait(run_id, timeout_seconds=timeout_seconds, poll_interval=poll_interval)

    def _check_types(self, source: type[BaseAction[Any]], target: type[BaseAction[Any]]) -> None:
        gives, takes = source.output_type, target.input_type
        if gives is None or takes is None or gives.is_compatible_with(takes):
            return
        self._misfit(
            "warning",
            f"{source.__name__} gives {gives.name}, but {target.__name__} takes {takes.name}",
            {"source": source.__name__, "target": target.__name__},
        )

    def _check_fields(self, source: type[BaseAction[Any]], target: type[BaseAction[Any]]) -> None:
        model = _params_model(target)
        if model is None:
            return
        result = _result_model(source)
        details = {"source": source.__name__, "target": target.__name__}
        if result is None:
            self._misfit(
                "warning",
                f"{source.__name__} has no result model: "
                f"whether {target.__name__} can take its result is not known",
                details,
            )
            return
        given = set(result.model_fields)
        missing = [name for name, names in _required(model).items() if not names & given]
        if missing:
            self._misfit(
                "info",
                f"{result.__name__} of {source.__name__} lacks what {target.__name__} "
                f"requires: {', '.join(missing)}",
                {**details, "missing": missing},
            )

    def _misfit(self, level: str, text: str, details: dict[str, Any]) -> None:
        if self.strict:
            raise SchemaIncompatibleError(text, details)
        import logging

        getattr(logging.getLogger(__name__), level)(text)

    def __len__(self) -> int:
        return len(self._actions)

    def __repr__(self) -> str:
        return f"ActionPipeline({' | '.join(action.__name__ for action in self._actions)})"


def _name(action: type[BaseAction[Any]]) -> str:
    return action.action_name or action.__name__


def _params_model(action: type[BaseAction[Any]]) -> type[BaseModel] | None:
    return getattr(action, "params_model", None)


def _result_model(action: type[BaseAction[Any]]) -> type[BaseModel] | None:
    model = action.result_model
    if model is NoResult or not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    return model


def _required(model: type[BaseModel]) -> dict[str, set[str]]:
    """Required field to the names under which its value may come."""
    return {
        name: _names(name, field)
        for name, field in model.model_fields.items()
        if field.is_required()
    }


def _names(name: str, field: Any) -> set[str]:
    return {name, *(one for one in (field.alias, field.validation_alias) if isinstance(one, str))}


def _checked(action: type[BaseAction[Any]], gathered: dict[str, Any], ctx: RuntimeContext) -> Any:
    model = _params_model(action)
    if model is not None and model.model_config.get("extra") == "forbid":
        # It forbids a caller's misspellings, not the results of the actions before it.
        wanted = {one for name, field in model.model_fields.items() for one in _names(name, field)}
        gathered = {name: value for name, value in gathered.items() if name in wanted}
    return validate_params(action, gathered, ctx)


def _fields_of(value: Any) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return dict(value) if isinstance(value, Mapping) else {}
