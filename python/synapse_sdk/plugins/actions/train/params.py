"""Owns the params that training actions have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BaseTrainParams(BaseModel):
    """Params of a training; a plugin adds its own fields.

    The console sends hyperparameters as a list with one object. Its keys become fields of
    their own, unless the run is a tuning one, which has one object per trial.
    """

    model_config = ConfigDict(extra="allow")

    dataset: int = Field(description="Id of the dataset version to train on")
    splits: list[str] | None = Field(default=None, description="Only these splits of the dataset")
    checkpoint: int | None = Field(default=None, description="Id of the model to start from")
    is_tune: bool = Field(default=False, description="Try several hyperparameters")
    hyperparameters: list[dict[str, Any]] | None = Field(
        default=None, description="Hyperparameters; one object, or one per trial of a tuning run"
    )

    @model_validator(mode="before")
    @classmethod
    def _lift_hyperparameters(cls, values: Any) -> Any:
        """Copy the keys of the first hyperparameters to the top where they are absent."""
        if not isinstance(values, dict) or values.get("is_tune"):
            return values
        given = values.get("hyperparameters")
        if not isinstance(given, list) or not given or not isinstance(given[0], dict):
            return values
        return {**given[0], **values}
