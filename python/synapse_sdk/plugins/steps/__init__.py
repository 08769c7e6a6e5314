"""Owns steps: parts of an action with a weight, a rollback and a place in an order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synapse_sdk._lazy import attach
from synapse_sdk.plugins.steps.base import BaseStep, BaseStepContext, StepResult
from synapse_sdk.plugins.steps.orchestrator import Orchestrator
from synapse_sdk.plugins.steps.registry import StepRegistry
from synapse_sdk.plugins.steps.wrappers import LoggingStep, TimingStep, ValidationStep

if TYPE_CHECKING:
    from synapse_sdk.plugins.actions.train import ConvertDatasetStep, ExportDatasetStep

__all__ = [
    "BaseStep",
    "BaseStepContext",
    "ConvertDatasetStep",
    "ExportDatasetStep",
    "LoggingStep",
    "Orchestrator",
    "StepRegistry",
    "StepResult",
    "TimingStep",
    "ValidationStep",
]

if not TYPE_CHECKING:
    _TRAIN = "synapse_sdk.plugins.actions.train"
    __getattr__, __dir__ = attach(
        __name__, __all__, {"ConvertDatasetStep": _TRAIN, "ExportDatasetStep": _TRAIN}
    )
