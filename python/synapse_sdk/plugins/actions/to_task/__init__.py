"""Owns `ToTaskAction`: annotating tasks from files or by inference."""

from __future__ import annotations

from synapse_sdk.plugins.actions.to_task.action import ToTaskAction
from synapse_sdk.plugins.actions.to_task.context import ToTaskContext, ToTaskProgressCategories
from synapse_sdk.plugins.actions.to_task.log_messages import ToTaskLogMessageCode
from synapse_sdk.plugins.actions.to_task.params import ToTaskMethod, ToTaskParams, ToTaskResult

__all__ = [
    "ToTaskAction",
    "ToTaskContext",
    "ToTaskLogMessageCode",
    "ToTaskMethod",
    "ToTaskParams",
    "ToTaskProgressCategories",
    "ToTaskResult",
]
