"""Owns inference: `BaseInferenceAction`, its context and progress names."""

from __future__ import annotations

from synapse_sdk.plugins.actions.deployment import (
    BaseDeploymentAction,
    BaseServeDeployment,
    DeploymentContext,
    DeploymentProgressCategories,
    create_serve_multiplexed_model_id,
)
from synapse_sdk.plugins.actions.inference.action import BaseInferenceAction
from synapse_sdk.plugins.actions.inference.context import InferenceContext
from synapse_sdk.plugins.actions.inference.progress import InferenceProgressCategories

__all__ = [
    "BaseDeploymentAction",
    "BaseInferenceAction",
    "BaseServeDeployment",
    "DeploymentContext",
    "DeploymentProgressCategories",
    "InferenceContext",
    "InferenceProgressCategories",
    "create_serve_multiplexed_model_id",
]
