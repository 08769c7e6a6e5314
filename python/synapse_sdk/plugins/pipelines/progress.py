"""Owns the models of how far a pipeline is."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from pydantic import BaseModel, Field

from synapse_sdk._compat import StrEnum

__all__ = ["ActionProgress", "ActionStatus", "Checkpoint", "PipelineProgress", "RunStatus"]


class RunStatus(StrEnum):
    """Where a run of a pipeline is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


class ActionStatus(StrEnum):
    """Where an action of a pipeline is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class ActionProgress(BaseModel):
    """One action of a run; `progress` from 0 to 100, times in UTC."""

    name: str
    status: ActionStatus = ActionStatus.PENDING
    progress: float = Field(default=0.0, ge=0, le=100)
    message: str | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


class Checkpoint(BaseModel):
    """What a run can be resumed from: the parameters gathered up to and with an action."""

    run_id: str
    action_name: str
    action_index: int = Field(ge=0)
    params: dict[str, Any] = Field(default_factory=dict)
    result: Any = None
    created_at: datetime = Field(default_factory=lambda: datetime.now(timezone.utc))


class PipelineProgress(BaseModel):
    """A run of a pipeline; times in UTC."""

    run_id: str
    status: RunStatus = RunStatus.PENDING
    actions: list[ActionProgress] = Field(default_factory=list)
    current_action: str | None = None
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def completed_count(self) -> int:
        """Actions that are completed or skipped."""
        done = (ActionStatus.COMPLETED, ActionStatus.SKIPPED)
        return sum(action.status in done for action in self.actions)

    @property
    def overall_progress(self) -> float:
        """The mean of the actions' progress, 0 to 100, two decimals; done is 100."""
        if not self.actions:
            return 100.0 if self.status is RunStatus.COMPLETED else 0.0
        done = (ActionStatus.COMPLETED, ActionStatus.SKIPPED)
        whole = sum(100.0 if one.status in done else one.progress for one in self.actions)
        return round(whole / len(self.actions), 2)
