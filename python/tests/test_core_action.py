"""BaseAction, its params model, dispatch, the decorator and result checks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from synapse_sdk.plugins import BaseAction, NoResult, RuntimeContext, action, validate_result
from synapse_sdk.plugins.action import as_action_class, is_action_function, validate_params
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.log_messages import LogMessageCode
from synapse_sdk.plugins.steps import BaseStepContext

P = TypeVar("P", bound=BaseModel)
T = TypeVar("T")


class Params(BaseModel):
    epochs: int = Field(default=1, ge=1)


class OtherParams(BaseModel):
    name: str = "x"


class Result(BaseModel):
    loss: float


class Train(BaseAction[Params]):
    def execute(self) -> dict[str, Any]:
        return {"epochs": self.params.epochs}


class Middle(BaseAction[P]):
    """A base class that passes its parameter on."""


class Swapped(BaseAction[P], Generic[T, P]):
    """A base class whose params are not its first parameter."""


def test_params_model_is_the_generic_argument() -> None:
    assert Train.params_model is Params


def test_params_model_is_inherited() -> None:
    class Fine(Train):
        pass

    assert Fine.params_model is Params


def test_params_model_goes_through_generic_bases() -> None:
    class Leaf(Middle[Params]):
        pass

    class Other(Swapped[int, OtherParams]):
        pass

    assert Leaf.params_model is Params
    assert Other.params_model is OtherParams
    assert not hasattr(Middle, "params_model")


def test_params_model_of_the_body_wins() -> None:
    class Own(BaseAction[Params]):
        params_model = OtherParams

    assert Own.params_model is OtherParams


def test_a_subclass_can_take_another_params_model() -> None:
    class Changed(Train):
        params_model = OtherParams

    class Further(Changed):
        pass

    assert Further.params_model is OtherParams


def test_a_forward_reference_does_not_count() -> None:
    class Late(BaseAction["LaterParams"]):  # type: ignore[name-defined]
        pass

    assert not hasattr(Late, "params_model")


def test_without_a_model_the_dict_comes_raw(ctx: RuntimeContext) -> None:
    class Bare(BaseAction):  # type: ignore[type-arg]
        def execute(self) -> Any:
            return self.params

    params = {"anything": object()}
    assert not hasattr(Bare, "params_model")
    assert Bare.dispatch(params, ctx) is params


def test_defaults() -> None:
    assert Train.action_name is None
    assert Train.category is None
    assert Train.input_type is None
    assert Train.output_type is None
    assert Train.result_model is NoResult


def test_execute_is_abstract(ctx: RuntimeContext) -> None:
    class Nothing(BaseAction[Params]):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing(Params(), ctx)  # type: ignore[abstract]


def test_dispatch_runs_and_returns_what_run_does(ctx: RuntimeContext) -> None:
    class Around(Train):
        def run(self) -> Any:
            return ("run", self.execute())

    assert Train.dispatch({"epochs": 3}, ctx) == {"epochs": 3}
    assert Around.dispatch({"epochs": 3}, ctx) == ("run", {"epochs": 3})


def test_dispatch_raises_pydantics_error(ctx: RuntimeContext) -> None:
    with pytest.raises(ValidationError) as caught:
        Train.dispatch({"epochs": 0}, ctx)
    assert caught.value.errors()[0]["loc"] == ("epochs",)


def test_validators_see_the_client(ctx: RuntimeContext) -> None:
    class Checked(BaseModel):
        seen: Any = Field(default=None, validate_default=True)

        @field_validator("seen")
        @classmethod
        def see(cls, value: Any, info: ValidationInfo) -> Any:
            assert info.context is not None
            return info.context["client"]

    class Look(BaseAction[Checked]):
        def execute(self) -> Any:
            return self.params.seen

    ctx.client = object()
    assert Look.dispatch({}, ctx) is ctx.client
    assert validate_params(Look, {}, None).seen is None


def test_helpers_reach_the_logger(ctx: RuntimeContext, logger: Any) -> None:
    one = Train(Params(), ctx)
    assert one.logger is logger
    one.log("event", {"a": 1}, "file.txt")
    assert logger.events[-1][1:4] == ("event", {"a": 1}, "file.txt")
    one.log_message("hello {who}", "success", who="you")
    assert logger.last == ("success", "message", {"content": "hello you"})
    one.set_progress(1, 2, "train")
    one.set_progress(1, 2, "train", category="other")
    one.set_progress(1, 2, category="other")
    assert [record.step for record in logger.progress] == ["train", "train", "other"]
    one.set_metrics({"a": 1}, step="train")
    one.set_metrics({"a": 2}, category="older")
    one.set_metrics({"a": 3}, "place")
    assert logger.metrics == [("train", {"a": 1}), ("older", {"a": 2}), ("place", {"a": 3})]
    one.log_metric("train", "epoch", 0, loss=1.0)
    assert logger.last[2] == {
        "category": "train",
        "key": "epoch",
        "value": 0,
        "metrics": {"loss": 1.0},
    }
    one.log_visualization("train", "samples", 2, "a.png", width=3)
    assert logger.last[2] == {
        "category": "train",
        "group": "samples",
        "index": 2,
        "image": "a.png",
        "meta": {"width": 3},
    }


def test_the_older_context_of_log_message_warns_and_is_the_level(
    ctx: RuntimeContext, logger: Any
) -> None:
    with pytest.warns(DeprecationWarning, match="context") as caught:
        Train(Params(), ctx).log_message("x", context="danger")
    assert logger.last[0] == "danger"
    # Python shows it only where the plugin's own code is what is warned about.
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(DeprecationWarning, match="context") as caught:
        BaseStepContext(runtime_ctx=ctx).log_message("x", context="success")
    assert logger.last[0] == "success"
    assert [warning.filename for warning in caught] == [__file__]


def test_message_codes_are_asked_for() -> None:
    with pytest.raises(NotImplementedError, match="Train"):
        Train.get_log_message_code_class()

    class Codes(LogMessageCode):
        A = "A"

    class Coded(Train):
        @classmethod
        def get_log_message_code_class(cls) -> type[LogMessageCode]:
            return Codes

    assert Coded.get_log_message_code_class() is Codes


class Warned:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize(
    ("result", "model", "warning"),
    [
        ({"a": 1}, NoResult, None),
        (None, NoResult, None),
        ({"a": 1}, None, None),
        (Result(loss=1), Result, None),
        ({"loss": 0.5}, Result, None),
        ({"loss": "much"}, Result, "Result validation warning for Result: "),
        ({}, Result, "Result validation warning for Result: "),
        (3, Result, "Result type mismatch: expected Result or dict, got int"),
        (None, Result, "Result type mismatch: expected Result or dict, got NoneType"),
    ],
)
def test_validate_result(result: Any, model: Any, warning: str | None) -> None:
    logger = Warned()
    assert validate_result(result, model, logger) is result
    if warning is None:
        assert logger.texts == []
    else:
        assert len(logger.texts) == 1
        assert logger.texts[0].startswith(warning)


def test_validate_result_without_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert validate_result(3, Result) == 3
    assert "Result type mismatch" in caplog.text


def test_decorator_without_parentheses() -> None:
    @action
    def convert(params: Any, ctx: Any) -> Any:
        """Converts."""
        return params, ctx

    assert convert(1, 2) == (1, 2)
    assert convert.__name__ == "convert"
    assert convert.__doc__ == "Converts."
    marks: Any = convert
    assert marks._is_action is True
    assert marks._action_name == "convert"
    assert marks._action_description == ""
    assert marks._action_params is None
    assert marks._action_result is None
    assert marks._action_category is None


def test_decorator_with_parentheses() -> None:
    @action()
    def plain(params: Any, ctx: Any) -> Any:
        return None

    @action(
        name="other",
        description="one line",
        params=Params,
        result=Result,
        category=PluginCategory.EXPORT,
    )
    def named(params: Any, ctx: Any) -> Any:
        return None

    @action("positional")
    def third(params: Any, ctx: Any) -> Any:
        return None

    marks: Any = named
    assert plain._action_name == "plain"  # type: ignore[attr-defined]
    assert third._action_name == "positional"  # type: ignore[attr-defined]
    assert marks._action_name == "other"
    assert marks._action_description == "one line"
    assert marks._action_params is Params
    assert marks._action_result is Result
    assert marks._action_category is PluginCategory.EXPORT


def test_a_function_has_a_class_form(ctx: RuntimeContext) -> None:
    @action(name="count", params=Params, result=Result, category=PluginCategory.CUSTOM)
    def count(params: Params, context: RuntimeContext) -> Any:
        """Counts."""
        assert context is ctx
        return params.epochs

    made = as_action_class(count)
    assert made is as_action_class(count)
    assert issubclass(made, BaseAction)
    assert made.__name__ == "count"
    assert made.__doc__ == "Counts."
    assert made.action_name == "count"
    assert made.params_model is Params
    assert made.result_model is Result
    assert made.category is PluginCategory.CUSTOM
    assert made.dispatch({"epochs": 4}, ctx) == 4
    with pytest.raises(ValidationError):
        made.dispatch({"epochs": 0}, ctx)


def test_functions_of_other_shapes(ctx: RuntimeContext) -> None:
    @action
    def one(params: dict[str, Any]) -> Any:
        return params["a"]

    @action
    def optional(params: dict[str, Any], ctx: Any = None) -> Any:
        return ctx

    @action
    async def later(params: dict[str, Any], ctx: Any) -> Any:
        await asyncio.sleep(0)
        return params["a"]

    assert as_action_class(one).dispatch({"a": 1}, ctx) == 1
    assert as_action_class(optional).dispatch({}, ctx) is ctx
    assert as_action_class(later).dispatch({"a": 2}, ctx) == 2
    assert asyncio.run(later({"a": 3}, None)) == 3  # type: ignore[arg-type]
    assert as_action_class(one).result_model is NoResult


def test_class_form_of_a_class_is_itself_and_of_others_a_type_error() -> None:
    assert as_action_class(Train) is Train
    assert not is_action_function(Train)
    assert is_action_function(action(lambda params, ctx: None))
    for other in (len, 3, None, Params, "plugin.train:Train"):
        with pytest.raises(TypeError, match="is not an action"):
            as_action_class(other)
