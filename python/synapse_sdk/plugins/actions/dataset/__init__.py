"""Owns `DatasetAction`: downloading a dataset, and converting one."""

from __future__ import annotations

from synapse_sdk.plugins.actions.dataset.action import DatasetAction
from synapse_sdk.plugins.actions.dataset.log_messages import DatasetLogMessageCode
from synapse_sdk.plugins.actions.dataset.models import (
    DatasetOperation,
    DatasetParams,
    DatasetProgressCategories,
    DatasetResult,
)

__all__ = [
    "DatasetAction",
    "DatasetLogMessageCode",
    "DatasetOperation",
    "DatasetParams",
    "DatasetProgressCategories",
    "DatasetResult",
]
