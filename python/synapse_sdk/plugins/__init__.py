"""Owns the names that plugins import. Each is loaded when it is first used."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from synapse_sdk._lazy import attach

if TYPE_CHECKING:
    from synapse_sdk.plugins.action import BaseAction, NoResult, validate_result
    from synapse_sdk.plugins.actions.export import (
        BaseExportAction,
        ExportContext,
        ExportProgressCategories,
    )
    from synapse_sdk.plugins.actions.inference import (
        BaseDeploymentAction,
        BaseInferenceAction,
        BaseServeDeployment,
        DeploymentContext,
        DeploymentProgressCategories,
        InferenceContext,
        InferenceProgressCategories,
        create_serve_multiplexed_model_id,
    )
    from synapse_sdk.plugins.actions.train import (
        BaseTrainAction,
        TrainContext,
        TrainProgressCategories,
    )
    from synapse_sdk.plugins.actions.upload import (
        BaseUploadAction,
        UploadContext,
        UploadProgressCategories,
    )
    from synapse_sdk.plugins.config import ActionConfig, PluginConfig
    from synapse_sdk.plugins.context import PluginEnvironment, RuntimeContext
    from synapse_sdk.plugins.decorators import action
    from synapse_sdk.plugins.enums import MetricsCategory, PluginCategory
    from synapse_sdk.plugins.errors import (
        ActionNotFoundError,
        ExecutionError,
        PluginError,
        ValidationError,
    )
    from synapse_sdk.plugins.results import ActionResult
    from synapse_sdk.plugins.runner import run_plugin
    from synapse_sdk.plugins.schemas import (
        ExportResult,
        InferenceResult,
        MetricsResult,
        TrainResult,
        UploadResult,
        WeightsResult,
    )
    from synapse_sdk.plugins.steps import (
        BaseStep,
        BaseStepContext,
        LoggingStep,
        Orchestrator,
        StepRegistry,
        StepResult,
        TimingStep,
        ValidationStep,
    )
    from synapse_sdk.plugins.ui_schema import get_action_ui_schema, pydantic_to_ui_schema
    from synapse_sdk.plugins.upload import archive_and_upload, build_and_upload

__all__ = [
    "ActionConfig",
    "ActionNotFoundError",
    "ActionResult",
    "BaseAction",
    "BaseDeploymentAction",
    "BaseExportAction",
    "BaseInferenceAction",
    "BaseServeDeployment",
    "BaseStep",
    "BaseStepContext",
    "BaseTrainAction",
    "BaseUploadAction",
    "DeploymentContext",
    "DeploymentProgressCategories",
    "ExecutionError",
    "ExportContext",
    "ExportProgressCategories",
    "ExportResult",
    "InferenceContext",
    "InferenceProgressCategories",
    "InferenceResult",
    "LoggingStep",
    "MetricsCategory",
    "MetricsResult",
    "NoResult",
    "Orchestrator",
    "PluginCategory",
    "PluginConfig",
    "PluginEnvironment",
    "PluginError",
    "RuntimeContext",
    "StepRegistry",
    "StepResult",
    "TimingStep",
    "TrainContext",
    "TrainProgressCategories",
    "TrainResult",
    "UploadContext",
    "UploadProgressCategories",
    "UploadResult",
    "ValidationError",
    "ValidationStep",
    "WeightsResult",
    "action",
    "archive_and_upload",
    "build_and_upload",
    "create_serve_multiplexed_model_id",
    "get_action_ui_schema",
    "pydantic_to_ui_schema",
    "run_plugin",
    "validate_result",
]

_HOMES = {
    "action": ("BaseAction", "NoResult", "validate_result"),
    "actions.export": ("BaseExportAction", "ExportContext", "ExportProgressCategories"),
    "actions.inference": (
        "BaseDeploymentAction",
        "BaseInferenceAction",
        "BaseServeDeployment",
        "DeploymentContext",
        "DeploymentProgressCategories",
        "InferenceContext",
        "InferenceProgressCategories",
        "create_serve_multiplexed_model_id",
    ),
    "actions.train": ("BaseTrainAction", "TrainContext", "TrainProgressCategories"),
    "actions.upload": ("BaseUploadAction", "UploadContext", "UploadProgressCategories"),
    "config": ("ActionConfig", "PluginConfig"),
    "context": ("PluginEnvironment", "RuntimeContext"),
    "decorators": ("action",),
    "enums": ("MetricsCategory", "PluginCategory"),
    "errors": ("ActionNotFoundError", "ExecutionError", "PluginError", "ValidationError"),
    "results": ("ActionResult",),
    "runner": ("run_plugin",),
    "schemas": (
        "ExportResult",
        "InferenceResult",
        "MetricsResult",
        "TrainResult",
        "UploadResult",
        "WeightsResult",
    ),
    "steps": (
        "BaseStep",
        "BaseStepContext",
        "LoggingStep",
        "Orchestrator",
        "StepRegistry",
        "StepResult",
        "TimingStep",
        "ValidationStep",
    ),
    "ui_schema": ("get_action_ui_schema", "pydantic_to_ui_schema"),
    "upload": ("archive_and_upload", "build_and_upload"),
}


class _Package(ModuleType):
    """Keeps the name `action` for the decorator: importing the module `action` would take it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "action" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        __all__,
        {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names},
    )
