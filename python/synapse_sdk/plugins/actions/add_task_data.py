"""Owns the older name of `ToTaskAction`, which published configs still use."""

from __future__ import annotations

from synapse_sdk.plugins.actions.to_task import ToTaskAction, ToTaskParams, ToTaskResult

AddTaskDataAction = ToTaskAction
AddTaskDataParams = ToTaskParams
AddTaskDataResult = ToTaskResult

__all__ = ["AddTaskDataAction", "AddTaskDataParams", "AddTaskDataResult"]
