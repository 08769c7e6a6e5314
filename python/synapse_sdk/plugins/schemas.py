"""Owns the ready-made result models of actions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

__all__ = [
    "ExportResult",
    "InferenceResult",
    "MetricsResult",
    "TrainResult",
    "UploadResult",
    "WeightsResult",
]


class WeightsResult(BaseModel):
    """Trained weights and the checkpoints on the way; paths are local."""

    weights_path: str
    checkpoint_paths: list[str] = Field(default_factory=list)
    format: str = "pt"


class MetricsResult(BaseModel):
    """Metrics by name; `category` is train, validation or test."""

    metrics: dict[str, float]
    category: str = "train"


class TrainResult(BaseModel):
    """The end of a training; epochs count from 1 or 0 as the trainer does."""

    weights_path: str
    final_epoch: int
    best_epoch: int | None = None
    train_metrics: dict[str, float] = Field(default_factory=dict)
    val_metrics: dict[str, float] = Field(default_factory=dict)


class InferenceResult(BaseModel):
    """Predictions, one dict per input."""

    predictions: list[dict[str, Any]] = Field(default_factory=list)
    processed_count: int = 0
    output_path: str | None = None


class ExportResult(BaseModel):
    """What was exported and where to; the size is in bytes."""

    output_path: str
    exported_count: int
    format: str
    file_size_bytes: int | None = None


class UploadResult(BaseModel):
    """How many files were uploaded and where to."""

    uploaded_count: int
    remote_path: str | None = None
    status: str = "completed"
