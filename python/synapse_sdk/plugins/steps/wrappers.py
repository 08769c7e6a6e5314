"""Owns steps around steps: logging, timing and checking."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from synapse_sdk.plugins.steps.base import BaseStep, BaseStepContext, StepResult

__all__ = ["LoggingStep", "TimingStep", "ValidationStep"]

C = TypeVar("C", bound=BaseStepContext)


class _Wrapper(BaseStep[C]):
    """A step that stands for another one, under a name of its own.

    It has no proportion of the job's progress, whatever the other one has.
    """

    prefix = ""

    def __init__(self, step: BaseStep[C]) -> None:
        self.step = step

    @property
    def name(self) -> str:
        return f"{self.prefix}_{self.step.name}"

    @property
    def progress_weight(self) -> float:
        return self.step.progress_weight

    def can_skip(self, context: C) -> bool:
        return self.step.can_skip(context)

    def execute(self, context: C) -> StepResult:
        return self.step.execute(context)

    def rollback(self, context: C, result: StepResult) -> None:
        self.step.rollback(context, result)


class LoggingStep(_Wrapper[C]):
    """Logs `step_start`, `step_end` (with `elapsed` in seconds) and `step_rollback`."""

    prefix = "logged"

    def execute(self, context: C) -> StepResult:
        """Executes the step between the two events; one that raises has its end logged too."""
        began = time.monotonic()
        context.log("step_start", {"step": self.step.name})
        try:
            result = self.step.execute(context)
        except Exception:
            self._end(context, began, StepResult(success=False))
            raise
        self._end(context, began, result)
        return result

    def rollback(self, context: C, result: StepResult) -> None:
        """Logs the rollback and does it."""
        context.log("step_rollback", {"step": self.step.name})
        self.step.rollback(context, result)

    def _end(self, context: C, began: float, result: StepResult) -> None:
        context.log(
            "step_end",
            {
                "step": self.step.name,
                "elapsed": round(time.monotonic() - began, 3),
                "success": result.success,
                "skipped": result.skipped,
            },
        )


class TimingStep(_Wrapper[C]):
    """Adds `duration_seconds` to the data of the step's result."""

    prefix = "timed"

    def execute(self, context: C) -> StepResult:
        """Executes the step and adds how long it took."""
        began = time.monotonic()
        result = self.step.execute(context)
        result.data["duration_seconds"] = time.monotonic() - began
        return result


class ValidationStep(BaseStep[C]):
    """A step that checks the context: `validator(context) -> (ok, error)`."""

    def __init__(
        self,
        validator: Callable[[C], tuple[bool, str | None]],
        name: str = "validate",
        progress_weight: float = 0.05,
    ) -> None:
        self.validator = validator
        self._name = name
        self._progress_weight = progress_weight

    @property
    def name(self) -> str:
        """The name that was given."""
        return self._name

    @property
    def progress_weight(self) -> float:
        """The weight that was given."""
        return self._progress_weight

    def execute(self, context: C) -> StepResult:
        """Succeeds when the validator says so, and fails with its error."""
        ok, error = self.validator(context)
        return StepResult(success=True) if ok else StepResult(success=False, error=error)
