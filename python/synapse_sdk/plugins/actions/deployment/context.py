"""Owns what the steps of one deployment share, and their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.actions.backend import require_client
from synapse_sdk.plugins.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_sdk.clients.backend import BackendClient


class DeploymentProgressCategories:
    """Steps of a deployment, as `self.progress.X`."""

    INITIALIZE = "initialize"
    DEPLOY = "deploy"
    REGISTER = "register"


@dataclass
class DeploymentContext(BaseStepContext):
    """State of one deployment, handed from step to step.

    Attributes:
        params: The action's params.
        serve_app_name: Name of the Serve application.
        route_prefix: Path that it answers under.
        deployed: It runs.
        serve_app_id: Its id at the backend.
    """

    params: Any = None
    serve_app_name: str | None = None
    route_prefix: str | None = None
    deployed: bool = False
    serve_app_id: int | None = None

    @property
    def client(self) -> BackendClient:
        """The backend's client (NoClientError where there is none)."""
        return require_client(self.runtime_ctx)
