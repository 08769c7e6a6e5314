"""Owns upload: `BaseUploadAction`, the default upload and its steps."""

from __future__ import annotations

from synapse_sdk.plugins.actions.upload.action import BaseUploadAction, DefaultUploadAction
from synapse_sdk.plugins.actions.upload.context import UploadContext, UploadProgressCategories
from synapse_sdk.plugins.actions.upload.log_messages import UploadLogMessageCode
from synapse_sdk.plugins.actions.upload.params import AssetConfig, UploadParams, UploadResult
from synapse_sdk.plugins.actions.upload.steps import (
    AnalyzeCollectionStep,
    CleanupStep,
    GenerateDataUnitsStep,
    InitializeStep,
    OrganizeFilesStep,
    ProcessMetadataStep,
    UploadFilesStep,
    ValidateFilesStep,
)

__all__ = [
    "AnalyzeCollectionStep",
    "AssetConfig",
    "BaseUploadAction",
    "CleanupStep",
    "DefaultUploadAction",
    "GenerateDataUnitsStep",
    "InitializeStep",
    "OrganizeFilesStep",
    "ProcessMetadataStep",
    "UploadContext",
    "UploadFilesStep",
    "UploadLogMessageCode",
    "UploadParams",
    "UploadProgressCategories",
    "UploadResult",
    "ValidateFilesStep",
]
