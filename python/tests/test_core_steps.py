"""Steps, their registry, their orchestration with rollback, and the wrappers."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from synapse_sdk.plugins import RuntimeContext
from synapse_sdk.plugins.models.logger import LogLevel
from synapse_sdk.plugins.steps import (
    BaseStep,
    BaseStepContext,
    LoggingStep,
    Orchestrator,
    StepRegistry,
    StepResult,
    TimingStep,
    ValidationStep,
)


class Step(BaseStep[BaseStepContext]):
    progress_weight = 0.5

    def __init__(
        self,
        name: str,
        log: list[str] | None = None,
        *,
        result: Any = None,
        error: BaseException | None = None,
        undo_error: Exception | None = None,
        skip: bool = False,
        proportion: int = 0,
    ) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.result = StepResult() if result is None else result
        self.error = error
        self.undo_error = undo_error
        self.skip = skip
        self.progress_proportion = proportion

    name = ""

    def execute(self, context: BaseStepContext) -> StepResult:
        self.log.append(f"execute {self.name} as {context.current_step_order}")
        assert context.current_step == self.name
        if self.error is not None:
            raise self.error
        found: StepResult = self.result
        return found

    def can_skip(self, context: BaseStepContext) -> bool:
        return self.skip

    def rollback(self, context: BaseStepContext, result: StepResult) -> None:
        self.log.append(f"undo {self.name} {result.success} {result.rollback_data or ''}".strip())
        if self.undo_error is not None:
            raise self.undo_error


def registry(*steps: BaseStep[Any]) -> StepRegistry[BaseStepContext]:
    made: StepRegistry[BaseStepContext] = StepRegistry()
    for step in steps:
        made.register(step)
    return made


def names(steps: StepRegistry[BaseStepContext]) -> list[str]:
    return [step.name for step in steps.get_steps()]


@pytest.fixture
def context(ctx: RuntimeContext) -> BaseStepContext:
    return BaseStepContext(runtime_ctx=ctx)


def test_step_result_defaults() -> None:
    first, second = StepResult(), StepResult()
    assert (first.success, first.data, first.error) == (True, {}, None)
    assert (first.rollback_data, first.skipped) == ({}, False)
    assert first.data is not second.data
    assert first.timestamp.tzinfo is timezone.utc
    assert first.timestamp.utcoffset() == timedelta(0)


def test_class_attributes_satisfy_the_abstract_properties(context: BaseStepContext) -> None:
    class Plain(BaseStep[BaseStepContext]):
        name = "plain"
        progress_weight = 0.25

        def execute(self, context: BaseStepContext) -> StepResult:
            return StepResult(data={"done": True})

    step = Plain()
    assert (step.name, step.progress_weight, step.progress_proportion) == ("plain", 0.25, 0)
    assert step.can_skip(context) is False
    step.rollback(context, StepResult())

    class Nameless(BaseStep[BaseStepContext]):
        def execute(self, context: BaseStepContext) -> StepResult:
            return StepResult()

    with pytest.raises(TypeError, match="abstract"):
        Nameless()  # type: ignore[abstract]


def test_registry() -> None:
    steps = registry(Step("a", proportion=20), Step("b"))
    assert names(steps) == ["a", "b"]
    steps.insert_after("a", Step("c", proportion=5))
    steps.insert_before("a", Step("d"))
    steps.insert_after("b", Step("e"))
    assert names(steps) == ["d", "a", "c", "b", "e"]
    assert steps.total_weight == 2.5
    assert steps.get_step_proportions() == {"a": 20, "c": 5}
    assert steps.get_step_orders() == {"d": 1, "a": 2, "c": 3, "b": 4, "e": 5}
    steps.unregister("c")
    steps.unregister("never there")
    assert names(steps) == ["d", "a", "b", "e"]
    steps.get_steps().clear()
    assert len(steps) == 4
    assert steps
    assert not StepRegistry()
    for insert in (steps.insert_after, steps.insert_before):
        with pytest.raises(ValueError, match=r"^Step 'x' not found$"):
            insert("x", Step("y"))


def test_context_speaks_for_the_current_step(context: BaseStepContext, logger: Any) -> None:
    for call in (
        lambda: context.set_progress(1, 2),
        lambda: context.set_metrics({"a": 1}),
    ):
        with pytest.raises(ValueError, match="step"):
            call()
    context.set_progress(1, 2, "named")
    context.set_metrics({"a": 1}, "named")
    context.current_step = "train"
    context.set_progress(1, 2)
    context.set_metrics({"a": 1})
    assert [record.step for record in logger.progress] == ["named", "train"]
    assert [step for step, _ in logger.metrics] == ["named", "train"]
    context.log("event", {"a": 1}, "f")
    assert logger.events[-1][1:4] == ("event", {"a": 1}, "f")
    context.log_message("x {n}", "warning", n=1)
    assert logger.last == (LogLevel.WARNING, "message", {"content": "x 1"})


def test_steps_run_in_order(context: BaseStepContext, logger: Any) -> None:
    log: list[str] = []
    seen: list[str] = []
    calls: list[tuple[int, int]] = []
    steps = registry(
        Step("a", log, proportion=10),
        Step("b", log, skip=True),
        Step("c", log),
        Step("d", log, skip=True, proportion=10),
    )
    orchestrator = Orchestrator(
        steps,
        context,
        lambda current, total: calls.append((current, total)),
        before_step=lambda step: seen.append(f"{step.name} in {context.current_step}"),
    )
    assert orchestrator.execute() == {"success": True, "steps_executed": 2, "steps_total": 4}
    assert log == ["execute a as 1", "execute c as 3"]
    assert seen == ["a in a", "b in b", "c in c", "d in d"]
    assert calls == [(100, 100), (100, 100)]
    assert [result.skipped for result in context.step_results] == [False, True, False, True]
    assert context.current_step is None
    assert context.current_step_order is None
    assert logger.get_step() is None


def test_the_logger_has_the_step(context: BaseStepContext, logger: Any) -> None:
    class Talk(Step):
        def execute(self, context: BaseStepContext) -> StepResult:
            context.runtime_ctx.log_message("hello")
            context.set_progress(1, 2)
            return StepResult()

    Orchestrator(registry(Step("a"), Talk("talk")), context).execute()
    assert logger.events[-1][4] == "talk"
    assert (logger.progress[-1].step, logger.progress[-1].order) == ("talk", 2)


def test_a_failure_undoes_in_reverse(context: BaseStepContext, logger: Any) -> None:
    log: list[str] = []
    steps = registry(
        Step("a", log, result=StepResult(rollback_data={"id": 1})),
        Step("b", log, skip=True),
        Step("c", log, undo_error=OSError("no disk")),
        Step("d", log, result=StepResult(success=False, error="it broke")),
        Step("e", log),
    )
    with pytest.raises(RuntimeError) as caught:
        Orchestrator(steps, context).execute()
    assert str(caught.value) == "Step 'd' failed: it broke"
    assert log == [
        "execute a as 1",
        "execute c as 3",
        "execute d as 4",
        "undo d False",
        "undo c True",
        "undo a True {'id': 1}",
    ]
    assert context.errors == ["Rollback failed for step 'c': no disk"]
    assert [result.success for result in context.step_results] == [True, True, True, False]
    assert logger.get_progress("d").failed
    assert logger.last == (LogLevel.ERROR, "message", {"content": "Step 'd' failed: it broke"})
    assert context.current_step is None


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError("wrong"), "wrong"), (KeyError(), "KeyError")],
)
def test_an_exception_is_a_failure(context: BaseStepContext, error: Exception, text: str) -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match=f"^Step 'a' failed: {text}$") as caught:
        Orchestrator(registry(Step("a", log, error=error)), context).execute()
    assert caught.value.__cause__ is error
    assert log == ["execute a as 1", "undo a False"]
    assert context.step_results[0].error == text


def test_a_failing_hook_is_a_failure_of_its_step(context: BaseStepContext) -> None:
    def refuse(step: Any) -> None:
        raise ValueError("refused")

    with pytest.raises(RuntimeError, match="Step 'a' failed: refused"):
        Orchestrator(registry(Step("a")), context, before_step=refuse).execute()


def test_another_result_is_a_failure(context: BaseStepContext) -> None:
    with pytest.raises(RuntimeError, match="returned dict instead of a StepResult"):
        Orchestrator(registry(Step("a", result={"not": "a result"})), context).execute()


def test_an_interrupt_undoes_and_goes_on(context: BaseStepContext, logger: Any) -> None:
    log: list[str] = []
    steps = registry(Step("a", log), Step("b", log, error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        Orchestrator(steps, context).execute()
    assert log == ["execute a as 1", "execute b as 2", "undo b False", "undo a True"]
    assert logger.get_step() is None


def test_a_failure_that_the_user_knows_of_is_not_logged_again(
    context: BaseStepContext, logger: Any
) -> None:
    class Tells(Step):
        def execute(self, context: BaseStepContext) -> StepResult:
            context.log_message("no files", "danger")
            context.mark_user_failure_emitted()
            return StepResult(success=False, error="no files")

    with pytest.raises(RuntimeError):
        Orchestrator(registry(Tells("a")), context).execute()
    assert len(logger.events) == 1


def test_a_step_that_says_it_was_skipped_is_not_counted(context: BaseStepContext) -> None:
    steps = registry(Step("a", result=StepResult(skipped=True)), Step("b"))
    assert Orchestrator(steps, context).execute()["steps_executed"] == 1


def test_no_steps(context: BaseStepContext) -> None:
    assert Orchestrator(registry(), context).execute() == {
        "success": True,
        "steps_executed": 0,
        "steps_total": 0,
    }


def test_logging_step(context: BaseStepContext, logger: Any) -> None:
    log: list[str] = []
    inner = Step("a", log, proportion=10, skip=True)
    step = LoggingStep(inner)
    assert (step.name, step.progress_weight, step.progress_proportion) == ("logged_a", 0.5, 0)
    assert step.can_skip(context) is True
    context.current_step = "a"
    assert step.execute(context) is inner.result
    step.rollback(context, StepResult())
    assert log == ["execute a as None", "undo a True"]
    assert [event[1] for event in logger.events] == ["step_start", "step_end", "step_rollback"]
    assert logger.events[0][2] == {"step": "a"}
    end = logger.events[1][2]
    assert end.pop("elapsed") >= 0
    assert end == {"step": "a", "success": True, "skipped": False}
    assert logger.events[2][2] == {"step": "a"}


def test_logging_step_that_raises(context: BaseStepContext, logger: Any) -> None:
    context.current_step = "a"
    with pytest.raises(ValueError, match="wrong"):
        LoggingStep(Step("a", error=ValueError("wrong"))).execute(context)
    assert logger.last[1] == "step_end"
    assert logger.last[2]["success"] is False


def test_timing_step(context: BaseStepContext) -> None:
    inner = Step("a", result=StepResult(data={"kept": 1}))
    step = TimingStep(inner)
    assert step.name == "timed_a"
    context.current_step = "a"
    data = step.execute(context).data
    assert data["kept"] == 1
    assert data["duration_seconds"] >= 0


def test_validation_step(context: BaseStepContext) -> None:
    step = ValidationStep(lambda context: (not context.errors, "there are errors"))
    assert (step.name, step.progress_weight) == ("validate", 0.05)
    assert step.execute(context).success
    context.errors.append("one")
    result = step.execute(context)
    assert (result.success, result.error) == (False, "there are errors")
    other: ValidationStep[Any] = ValidationStep(lambda context: (True, None), "other", 0.5)
    assert (other.name, other.progress_weight) == ("other", 0.5)


def test_wrapped_steps_run(context: BaseStepContext) -> None:
    class Plain(BaseStep[BaseStepContext]):
        name = "plain"
        progress_weight = 1.0

        def execute(self, context: BaseStepContext) -> StepResult:
            return StepResult()

    steps = registry(LoggingStep(TimingStep(Plain())))
    assert Orchestrator(steps, context).execute()["steps_executed"] == 1
    assert "duration_seconds" in context.step_results[0].data
