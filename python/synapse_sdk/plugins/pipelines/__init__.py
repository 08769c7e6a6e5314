"""Owns pipelines: actions that run one after the other, each with the results of those before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synapse_sdk._lazy import attach

if TYPE_CHECKING:
    from synapse_sdk.plugins.pipelines.context import PipelineContext
    from synapse_sdk.plugins.pipelines.display import (
        display_progress,
        display_progress_async,
        print_progress_summary,
    )
    from synapse_sdk.plugins.pipelines.pipeline import ActionPipeline, SchemaIncompatibleError
    from synapse_sdk.plugins.pipelines.progress import (
        ActionProgress,
        ActionStatus,
        Checkpoint,
        PipelineProgress,
        RunStatus,
    )

__all__ = [
    "ActionPipeline",
    "ActionProgress",
    "ActionStatus",
    "Checkpoint",
    "PipelineContext",
    "PipelineProgress",
    "RunStatus",
    "SchemaIncompatibleError",
    "display_progress",
    "display_progress_async",
    "print_progress_summary",
]

_HOMES = {
    "context": ("PipelineContext",),
    "display": ("display_progress", "display_progress_async", "print_progress_summary"),
    "pipeline": ("ActionPipeline", "SchemaIncompatibleError"),
    "progress": (
        "ActionProgress",
        "ActionStatus",
        "Checkpoint",
        "PipelineProgress",
        "RunStatus",
    ),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        __all__,
        {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names},
    )
