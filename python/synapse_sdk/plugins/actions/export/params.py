"""Owns the params of the default export."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from synapse_sdk._compat import StrEnum
from synapse_sdk.plugins.actions.backend_checks import check_known, check_name


class ExportTarget(StrEnum):
    """What is exported."""

    ASSIGNMENT = "assignment"
    GROUND_TRUTH = "ground_truth"
    TASK = "task"


class ExportParams(BaseModel):
    """Params of the default export."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="Name of the export; its folder is called so")
    description: str | None = Field(default=None, description="What it is for")
    storage: int | None = Field(default=None, description="Id of the storage to write to")
    save_original_file: bool = Field(default=True, description="Save the original files too")
    path: str = Field(default="exports", description="Folder of the exports, in the storage")
    target: ExportTarget = Field(default=ExportTarget.ASSIGNMENT, description="What is exported")
    filter: dict[str, Any] = Field(default_factory=dict, description="Which of them")
    extra_params: dict[str, Any] | None = Field(default=None, description="The plugin's own")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        if "/" in value or "\\" in value or value.strip() in (".", ".."):
            raise ValueError("must be a plain name: it becomes a folder")
        return check_name(value)

    @field_validator("storage")
    @classmethod
    def _stored(cls, value: int | None, info: ValidationInfo) -> int | None:
        return check_known(value, info, "get_storage", "storage")
