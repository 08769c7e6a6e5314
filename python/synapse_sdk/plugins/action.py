"""Owns the base class of actions and the check of their results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel

from synapse_sdk.plugins.models.logger import LogLevel

if TYPE_CHECKING:
    from synapse_sdk.loggers import BaseLogger
    from synapse_sdk.plugins.context import MessageLike, RuntimeContext
    from synapse_sdk.plugins.enums import PluginCategory
    from synapse_sdk.plugins.log_messages import LogMessageCode
    from synapse_sdk.plugins.types import DataType

__all__ = [
    "BaseAction",
    "NoResult",
    "as_action_class",
    "awaited",
    "is_action_function",
    "validate_params",
    "validate_result",
]

P = TypeVar("P", bound=BaseModel)


class NoResult:
    """Stands for "no result model": nothing is checked."""


class BaseAction(ABC, Generic[P]):
    """Base of all class-style actions.

    `params_model` is taken from the generic argument: `class Train(BaseAction[TrainParams])`.
    A subclass without its own argument inherits it; a class with neither has no such attribute
    and gets the parameters as a dict.

    Attributes:
        params: the validated parameters.
        ctx: the run: logger, environment, clients, checkpoint, language.
    """

    action_name: ClassVar[str | None] = None
    category: ClassVar[PluginCategory | None] = None
    input_type: ClassVar[type[DataType] | None] = None
    output_type: ClassVar[type[DataType] | None] = None
    params_model: ClassVar[type[BaseModel]]
    result_model: ClassVar[type[Any]] = NoResult

    # The type variable of this class that stands for the params; None once it is decided.
    _params_variable: ClassVar[Any] = None

    params: P
    ctx: RuntimeContext

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for alias in cls.__dict__.get("__orig_bases__", ()):
            origin = get_origin(alias)
            if not (isinstance(origin, type) and issubclass(origin, BaseAction)):
                continue
            variables = getattr(origin, "__parameters__", ())
            if origin._params_variable not in variables:
                continue
            argument = get_args(alias)[variables.index(origin._params_variable)]
            if isinstance(argument, TypeVar):
                cls._params_variable = argument
            elif isinstance(argument, type) and issubclass(argument, BaseModel):
                cls._params_variable = None
                if "params_model" not in cls.__dict__:
                    cls.params_model = argument

    def __init__(self, params: P, ctx: RuntimeContext) -> None:
        self.params = params
        self.ctx = ctx

    @abstractmethod
    def execute(self) -> Any:
        """Does the work. Returns a dict, a model, a scalar or None."""

    def run(self) -> Any:
        """What `dispatch` calls: `execute()`, unless a base class puts steps around it."""
        return self.execute()

    @classmethod
    def dispatch(cls, params: Any, ctx: RuntimeContext) -> Any:
        """Checks the parameters, makes an instance and runs it.

        Returns:
            What `run()` returned, unchanged.

        Raises:
            pydantic.ValidationError: the parameters break the params model.
        """
        return cls(validate_params(cls, params, ctx), ctx).run()

    @classmethod
    def get_log_message_code_class(cls) -> type[LogMessageCode]:
        """The message codes of this action. NotImplementedError unless overridden."""
        raise NotImplementedError(f"{cls.__name__} has no log message codes")

    @property
    def logger(self) -> BaseLogger:
        """The run's logger."""
        return self.ctx.logger

    def log(self, event: str, data: Mapping[str, Any], file: str | None = None) -> None:
        """Logs an event with its data; `file` is a path or name that goes with it."""
        self.ctx.log(event, data, file)

    def log_message(
        self,
        message: MessageLike,
        level: LogLevel | str = LogLevel.INFO,
        *,
        context: LogLevel | str | None = None,
        **fmt: Any,
    ) -> None:
        """Logs a message for the person who runs the action; see `RuntimeContext.log_message`."""
        if context is not None:
            from synapse_sdk.plugins.context import older_level

            level = older_level(context)
        self.ctx.log_message(message, level, **fmt)

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        """Says how far a step is: `current` of `total`. `category` is the older name of `step`."""
        self.ctx.set_progress(current, total, category if step is None else step)

    def set_metrics(
        self, value: Mapping[str, Any], step: str | None = None, *, category: str | None = None
    ) -> None:
        """Records metrics of a step. `category` is the older name of `step`."""
        self.ctx.set_metrics(value, category if step is None else step)

    def log_metric(self, category: str, key: str, value: Any, **metrics: Any) -> None:
        """Logs a point of a metric series, such as `("train", "epoch", 3, loss=0.2)`."""
        self.ctx.log_metric(category, key, value, **metrics)

    def log_visualization(
        self, category: str, group: str, index: int, image: str, **meta: Any
    ) -> None:
        """Logs an image (path, URL or data URI) of a group, at a place in it."""
        self.ctx.log_visualization(category, group, index, image, **meta)

    def autolog(self, framework: str) -> None:
        """Reports a training framework's own metrics and progress as this run's.

        Raises:
            ValueError: a framework that is not known.
            ImportError: it is not installed.
        """
        from importlib import import_module

        import_module("synapse_sdk.plugins.actions.train.autolog").attach(self, framework)


BaseAction._params_variable = P


def validate_params(action: type[BaseAction[Any]], params: Any, ctx: RuntimeContext | None) -> Any:
    """Checks parameters against an action's params model.

    Validators see `info.context["client"]`. Without a params model the value is returned as is.

    Raises:
        pydantic.ValidationError: the parameters break the model.
    """
    model = getattr(action, "params_model", None)
    if model is None:
        return params
    client = None if ctx is None else ctx.client
    return model.model_validate(params, context={"client": client})


def validate_result(result: Any, result_model: Any, logger: Any = None) -> Any:
    """Compares a result with its model and warns when they differ. Never raises or converts.

    Args:
        result: what the action returned.
        result_model: a pydantic model; None and NoResult mean that nothing is checked.
        logger: anything with a `warning(text)` method; the standard logger when None.

    Returns:
        `result`, the same object.
    """
    if result_model is None or result_model is NoResult or not isinstance(result_model, type):
        return result
    if isinstance(result, result_model):
        return result
    name = result_model.__name__
    warning: str | None = None
    if isinstance(result, dict) and issubclass(result_model, BaseModel):
        try:
            result_model.model_validate(result)
        except Exception as error:
            warning = f"Result validation warning for {name}: {error}"
    else:
        got = type(result).__name__
        warning = f"Result type mismatch: expected {name} or dict, got {got}"
    if warning is not None:
        if logger is None:
            import logging

            logger = logging.getLogger(__name__)
        logger.warning(warning)
    return result


def awaited(result: Any) -> Any:
    """What an action returned; a coroutine is run to its end first."""
    if isinstance(result, CoroutineType):
        import asyncio

        return asyncio.run(result)
    return result


def is_action_function(value: Any) -> bool:
    """True for a function that `@action` has marked."""
    return not isinstance(value, type) and getattr(value, "_is_action", False) is True


def as_action_class(target: Any) -> type[BaseAction[Any]]:
    """The class-style form of an action: a BaseAction subclass itself, or one around a function.

    The class of an `@action` function has the function's name, params, result and category; its
    `execute` calls the function with `(params, ctx)`, or with `(params)` when it takes only one.
    A coroutine function is run to its end. The same function gives the same class.

    Raises:
        TypeError: neither of the two.
    """
    if isinstance(target, type) and issubclass(target, BaseAction):
        return target
    if not is_action_function(target):
        raise TypeError(
            f"{target!r} is not an action: it is neither a subclass of BaseAction "
            "nor a function marked with @action"
        )
    made = target.__dict__.get("_action_class")
    if made is None:
        made = target._action_class = _class_of(target)
    return cast("type[BaseAction[Any]]", made)


def _class_of(function: Callable[..., Any]) -> type[BaseAction[Any]]:
    import inspect

    marks = cast(Any, function)
    takes_ctx = _takes_two(inspect.signature(function))

    def execute(self: BaseAction[Any]) -> Any:
        return awaited(function(self.params, self.ctx) if takes_ctx else function(self.params))

    body: dict[str, Any] = {
        "__module__": function.__module__,
        "__doc__": function.__doc__,
        "action_name": marks._action_name,
        "category": marks._action_category,
        "result_model": marks._action_result or NoResult,
        "execute": execute,
    }
    if marks._action_params is not None:
        body["params_model"] = marks._action_params
    return type(function.__name__, (BaseAction,), body)


def _takes_two(signature: Any) -> bool:
    """Whether a call with two positional arguments fits."""
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True
