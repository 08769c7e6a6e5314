"""Owns deployment: `BaseDeploymentAction` and the serve classes it deploys."""

from __future__ import annotations

from synapse_sdk.plugins.actions.deployment.action import BaseDeploymentAction
from synapse_sdk.plugins.actions.deployment.context import (
    DeploymentContext,
    DeploymentProgressCategories,
)
from synapse_sdk.plugins.actions.deployment.serve import (
    BaseServeDeployment,
    create_serve_multiplexed_model_id,
)

__all__ = [
    "BaseDeploymentAction",
    "BaseServeDeployment",
    "DeploymentContext",
    "DeploymentProgressCategories",
    "create_serve_multiplexed_model_id",
]
