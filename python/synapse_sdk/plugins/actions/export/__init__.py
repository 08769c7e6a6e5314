"""Owns export: `BaseExportAction`, the default export, and the exporter it drives."""

from __future__ import annotations

from synapse_sdk.plugins.actions.export.action import (
    BaseExportAction,
    DefaultExportAction,
    ExportAction,
)
from synapse_sdk.plugins.actions.export.context import ExportContext, ExportProgressCategories
from synapse_sdk.plugins.actions.export.exporter import BaseExporter, ExportRun, MetricsRecord
from synapse_sdk.plugins.actions.export.log_messages import ExportLogMessageCode
from synapse_sdk.plugins.actions.export.params import ExportParams, ExportTarget
from synapse_sdk.plugins.actions.export.steps import (
    ConvertDataStep,
    FetchResultsStep,
    FinalizeStep,
    InitializeStep,
    PrepareExportStep,
    SaveFilesStep,
)

__all__ = [
    "BaseExportAction",
    "BaseExporter",
    "ConvertDataStep",
    "DefaultExportAction",
    "ExportAction",
    "ExportContext",
    "ExportLogMessageCode",
    "ExportParams",
    "ExportProgressCategories",
    "ExportRun",
    "ExportTarget",
    "FetchResultsStep",
    "FinalizeStep",
    "InitializeStep",
    "MetricsRecord",
    "PrepareExportStep",
    "SaveFilesStep",
]
