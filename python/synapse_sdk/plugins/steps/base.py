"""Owns a step, its result and the context that the steps of an action share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from synapse_sdk.plugins.models.logger import LogLevel

if TYPE_CHECKING:
    from synapse_sdk.plugins.context import MessageLike, RuntimeContext

__all__ = ["BaseStep", "BaseStepContext", "StepResult"]


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class StepResult:
    """What a step did.

    Attributes:
        success: whether it did what it is for.
        data: its output, for later steps.
        error: what went wrong, one sentence.
        rollback_data: what `rollback` needs to undo it.
        skipped: it was not executed, since it could be skipped.
        timestamp: when it ended, in UTC.
    """

    success: bool = True
    data: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    rollback_data: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    timestamp: datetime = field(default_factory=_now)


@dataclass
class BaseStepContext:
    """What the steps of one action share. Subclasses add fields, all with defaults.

    Attributes:
        runtime_ctx: the run.
        step_results: one per step that was executed or skipped, in order.
        errors: texts of what went wrong beside the failed step itself, such as rollbacks.
        current_step: name of the step that is running.
        current_step_order: its place, from 1.
        user_failure_emitted: a step has told the user about its failure already.
    """

    runtime_ctx: RuntimeContext
    step_results: list[StepResult] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    current_step: str | None = None
    current_step_order: int | None = None
    user_failure_emitted: bool = field(default=False, kw_only=True)

    def log(self, event: str, data: Mapping[str, Any], file: str | None = None) -> None:
        """Logs an event of the current step."""
        self.runtime_ctx.log(event, data, file)

    def log_message(
        self, message: MessageLike, level: LogLevel | str = LogLevel.INFO, **fmt: Any
    ) -> None:
        """Logs a message of the current step; see `RuntimeContext.log_message`."""
        if fmt.get("context") is not None:
            from synapse_sdk.plugins.context import older_level

            level = older_level(fmt.pop("context"))
        self.runtime_ctx.log_message(message, level, **fmt)

    def set_progress(self, current: float, total: float, step: str | None = None) -> None:
        """Says how far the current step is, or the one that is named.

        Raises:
            ValueError: no step is named, and none is running.
        """
        self.runtime_ctx.set_progress(current, total, self._step(step))

    def set_metrics(self, value: Mapping[str, Any], step: str | None = None) -> None:
        """Records metrics of the current step, or of the one that is named.

        Raises:
            ValueError: no step is named, and none is running.
        """
        self.runtime_ctx.set_metrics(value, self._step(step))

    def mark_user_failure_emitted(self) -> None:
        """Says that the user knows of the failure, so that it is not logged once more."""
        self.user_failure_emitted = True

    def _step(self, step: str | None) -> str:
        name = self.current_step if step is None else step
        if not name:
            raise ValueError("no step is running: pass step=...")
        return name


C = TypeVar("C", bound=BaseStepContext)


class BaseStep(ABC, Generic[C]):
    """Base of steps. `name` and `progress_weight` may be plain class attributes.

    Attributes:
        progress_proportion: the step's share of the job's progress bar; 0 for none.
    """

    progress_proportion: int = 0

    @property
    @abstractmethod
    def name(self) -> str:
        """The step's name, unique among the steps of an action."""

    @property
    @abstractmethod
    def progress_weight(self) -> float:
        """The step's share of the work, relative to the other steps."""

    @abstractmethod
    def execute(self, context: C) -> StepResult:
        """Does the work."""

    def can_skip(self, context: C) -> bool:
        """Whether there is nothing to do."""
        return False

    def rollback(self, context: C, result: StepResult) -> None:
        """Undoes what `execute` did; called when this or a later step fails."""
