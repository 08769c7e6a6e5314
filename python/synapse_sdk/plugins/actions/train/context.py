"""Owns what the steps of one training share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.actions.backend import require_client
from synapse_sdk.plugins.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_sdk.clients.backend import BackendClient


@dataclass
class TrainContext(BaseStepContext):
    """State of one training, handed from step to step.

    Attributes:
        params: The action's params.
        dataset: What `get_dataset` returned, then what converting made of it.
        data_path: What training reads: the dataset's description, else its folder.
        trained: What the action's execute returned, as a dict.
        model_path: Weights to upload.
        model: What the backend says of the uploaded model.
        tune_result: Trials of a tuning run and the best of them.
        trial_models: Weights of each trial.
    """

    params: Any = None
    dataset: dict[str, Any] | None = None
    trained: dict[str, Any] = field(default_factory=dict)
    model_path: str | None = None
    model: dict[str, Any] | None = None
    data_path: Path | None = None
    tune_result: dict[str, Any] | None = None
    trial_models: list[dict[str, Any]] = field(default_factory=list)

    @property
    def client(self) -> BackendClient:
        """The backend's client (NoClientError where there is none)."""
        return require_client(self.runtime_ctx)
