"""Owns what the steps of one inference share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.actions.backend import require_client
from synapse_sdk.plugins.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_sdk.clients.backend import BackendClient


@dataclass
class InferenceContext(BaseStepContext):
    """State of one inference, handed from step to step.

    Attributes:
        params: The action's params.
        model_id: Id of the model.
        model: The loaded model, or what the backend says of it.
        model_path: Its file on this machine.
        requests: What is to be inferred.
        results: What came out, in the order of `requests`.
        batch_size: Requests per call.
        processed_count: Requests done.
    """

    params: Any = None
    model_id: int | None = None
    model: Any = None
    model_path: str | None = None
    requests: list[Any] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    batch_size: int = 1
    processed_count: int = 0

    @property
    def client(self) -> BackendClient:
        """The backend's client (NoClientError where there is none)."""
        return require_client(self.runtime_ctx)
