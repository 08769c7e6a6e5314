"""Owns training: `BaseTrainAction`, its params, context, steps and progress names."""

from __future__ import annotations

from synapse_sdk.plugins.actions.train.action import BaseTrainAction
from synapse_sdk.plugins.actions.train.context import TrainContext
from synapse_sdk.plugins.actions.train.log_messages import TrainLogMessageCode
from synapse_sdk.plugins.actions.train.params import BaseTrainParams
from synapse_sdk.plugins.actions.train.progress import TrainProgressCategories
from synapse_sdk.plugins.actions.train.steps import (
    ConvertDatasetStep,
    ExportDatasetStep,
    ModelUploadStep,
    TrainExecuteStep,
)
from synapse_sdk.plugins.actions.train.tune import TuneDatasetStep, TuneTrialsStep

__all__ = [
    "BaseTrainAction",
    "BaseTrainParams",
    "ConvertDatasetStep",
    "ExportDatasetStep",
    "ModelUploadStep",
    "TrainContext",
    "TrainExecuteStep",
    "TrainLogMessageCode",
    "TrainProgressCategories",
    "TuneDatasetStep",
    "TuneTrialsStep",
]
