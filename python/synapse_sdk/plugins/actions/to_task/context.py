"""Owns what the steps of annotating tasks share, and their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.actions.backend import require_client
from synapse_sdk.plugins.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_sdk.clients.backend import BackendClient


class ToTaskProgressCategories:
    """Steps of annotating tasks, as `self.progress.X`."""

    INITIALIZE = "initialize"
    PREPARE = "prepare"
    FETCH_TASKS = "fetch_tasks"
    ANNOTATE_TASK_DATA = "annotate_task_data"
    FINALIZE = "finalize"


@dataclass
class ToTaskContext(BaseStepContext):
    """State of one run.

    Attributes:
        params: The action's params.
        project: What the backend says of the project.
        inference: What inference is asked with, for the method inference.
        tasks: The tasks to annotate.
        success_count: Tasks annotated.
        failures: One dict per task that failed: `task`, `error`.
    """

    params: Any = None
    project: dict[str, Any] | None = None
    inference: dict[str, Any] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    success_count: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def client(self) -> BackendClient:
        """The backend's client (NoClientError where there is none)."""
        return require_client(self.runtime_ctx)
