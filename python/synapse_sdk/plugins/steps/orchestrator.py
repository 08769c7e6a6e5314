"""Owns the running of steps in order, and their rollback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from synapse_sdk.plugins.models.logger import LogLevel
from synapse_sdk.plugins.steps.base import BaseStep, BaseStepContext, StepResult
from synapse_sdk.plugins.steps.registry import StepRegistry

__all__ = ["Orchestrator"]

C = TypeVar("C", bound=BaseStepContext)


class Orchestrator(Generic[C]):
    """Runs the steps of a registry; when one fails, undoes those that ran.

    Args:
        registry: the steps.
        context: what they share.
        progress_callback: called with `(100, 100)` after each step that has a proportion.
        before_step: called with each step when it has become the current one.
    """

    def __init__(
        self,
        registry: StepRegistry[C],
        context: C,
        progress_callback: Callable[[int, int], Any] | None = None,
        before_step: Callable[[BaseStep[C]], Any] | None = None,
    ) -> None:
        self.registry = registry
        self.context = context
        self.progress_callback = progress_callback
        self.before_step = before_step

    def execute(self) -> dict[str, Any]:
        """Runs all steps.

        Returns:
            `{"success": True, "steps_executed": n, "steps_total": m}`; a skipped step counts in
            the total only.

        Raises:
            RuntimeError: `Step 'x' failed: <error>`, with the step's exception as its cause.
        """
        steps = self.registry.get_steps()
        done: list[tuple[BaseStep[C], StepResult]] = []
        try:
            for order, step in enumerate(steps, 1):
                self._enter(step, order)
                result, error = self._run(step, done)
                self.context.step_results.append(result)
                if result.skipped and result.success:
                    self._complete(step)
                    continue
                done.append((step, result))
                if not result.success:
                    self._fail(step, result, done, error)
                self._complete(step)
        finally:
            self._leave()
        return {"success": True, "steps_executed": len(done), "steps_total": len(steps)}

    def _run(
        self, step: BaseStep[C], done: list[tuple[BaseStep[C], StepResult]]
    ) -> tuple[StepResult, Exception | None]:
        try:
            if self.before_step is not None:
                self.before_step(step)
            if step.can_skip(self.context):
                return StepResult(skipped=True), None
            result = step.execute(self.context)
            if not isinstance(result, StepResult):
                raise TypeError(f"it returned {type(result).__name__} instead of a StepResult")
        except Exception as error:
            return StepResult(success=False, error=str(error) or type(error).__name__), error
        except BaseException as error:  # an interrupt or exit undoes what was done, and goes on
            self._roll_back([*done, (step, StepResult(success=False, error=repr(error)))])
            raise
        return result, None

    def _fail(
        self,
        step: BaseStep[C],
        result: StepResult,
        done: list[tuple[BaseStep[C], StepResult]],
        error: Exception | None,
    ) -> None:
        context = self.context
        text = f"Step '{step.name}' failed: {result.error}"
        context.runtime_ctx.logger.set_progress_failed(step.name)
        if not context.user_failure_emitted:
            context.log_message(text, LogLevel.ERROR)
        self._roll_back(done)
        raise RuntimeError(text) from error

    def _roll_back(self, done: list[tuple[BaseStep[C], StepResult]]) -> None:
        for step, result in reversed(done):
            try:
                step.rollback(self.context, result)
            except Exception as error:
                self.context.errors.append(f"Rollback failed for step '{step.name}': {error}")

    def _enter(self, step: BaseStep[C], order: int) -> None:
        self.context.current_step = step.name
        self.context.current_step_order = order
        self.context.runtime_ctx.logger.set_step(step.name, order)

    def _leave(self) -> None:
        self.context.current_step = None
        self.context.current_step_order = None
        self.context.runtime_ctx.logger.set_step(None)

    def _complete(self, step: BaseStep[C]) -> None:
        if self.progress_callback is not None and step.progress_proportion > 0:
            self.progress_callback(100, 100)
