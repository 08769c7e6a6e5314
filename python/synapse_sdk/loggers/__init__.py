"""Owns the loggers: what becomes of an action's events, progress and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synapse_sdk._lazy import attach
from synapse_sdk.loggers.base import DEFAULT_STEP, BaseLogger, ProgressRecord

if TYPE_CHECKING:
    from synapse_sdk.loggers.backend import BackendLogger, JobLogger
    from synapse_sdk.loggers.console import ConsoleLogger, TqdmLogger
    from synapse_sdk.loggers.noop import NoOpLogger

__all__ = [
    "DEFAULT_STEP",
    "BackendLogger",
    "BaseLogger",
    "ConsoleLogger",
    "JobLogger",
    "NoOpLogger",
    "ProgressRecord",
    "TqdmLogger",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        __all__,
        {
            "BackendLogger": "synapse_sdk.loggers.backend",
            "ConsoleLogger": "synapse_sdk.loggers.console",
            "JobLogger": "synapse_sdk.loggers.backend",
            "NoOpLogger": "synapse_sdk.loggers.noop",
            "TqdmLogger": "synapse_sdk.loggers.console",
        },
    )
