"""Owns the params and the result of annotating tasks."""

from __future__ import annotations

import warnings
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from synapse_sdk._compat import StrEnum
from synapse_sdk.plugins.actions.backend_checks import check_known, check_name


class ToTaskMethod(StrEnum):
    """Where annotations come from."""

    FILE = "file"
    INFERENCE = "inference"


with warnings.catch_warnings():
    # The platform calls this field `schema`; pydantic has an old method of that name.
    warnings.filterwarnings("ignore", message="Field name .schema.", category=UserWarning)

    class ToTaskParams(BaseModel):
        """Params of annotating tasks."""

        model_config = ConfigDict(extra="allow", protected_namespaces=())

        name: str = Field(description="Name of the run")
        description: str | None = Field(default=None, description="What it is for")
        project: int = Field(description="Id of the project whose tasks are annotated")
        agent: int | None = Field(default=None, description="Id of the agent that infers")
        task_filters: dict[str, Any] = Field(default_factory=dict, description="Which tasks")
        method: ToTaskMethod = Field(default=ToTaskMethod.FILE, description="file or inference")
        target_specification_name: str | None = Field(
            default=None, description="File specification that holds the annotations"
        )
        model: int | None = Field(default=None, description="Id of the model that infers")
        pre_processor: int | None = Field(default=None, description="Id of the plugin release")
        pre_processor_params: dict[str, Any] = Field(default_factory=dict, description="Its params")
        batch_size: int = Field(default=16, ge=1, description="Tasks per inference")
        schema: Literal["dm_schema_v1", "any"] = Field(  # type: ignore[assignment]
            default="any", description="What annotations are checked against"
        )

        @field_validator("name")
        @classmethod
        def _named(cls, value: str) -> str:
            return check_name(value)

        @field_validator("project")
        @classmethod
        def _projected(cls, value: int, info: ValidationInfo) -> int:
            check_known(value, info, "get_project", "project")
            return value

        @model_validator(mode="after")
        def _sourced(self) -> ToTaskParams:
            if self.method is ToTaskMethod.FILE and not self.target_specification_name:
                raise ValueError("target_specification_name is required for method file")
            if self.method is ToTaskMethod.INFERENCE and self.pre_processor is None:
                raise ValueError("pre_processor is required for method inference")
            return self


class ToTaskResult(BaseModel):
    """What annotating did.

    Attributes:
        status: SUCCEEDED; FAILED when no task could be annotated.
        message: One sentence for a person.
        failures: One dict per task that failed: `task`, `error`.
    """

    status: str
    message: str
    total_tasks: int = 0
    success_count: int = 0
    failed_count: int = 0
    failures: list[dict[str, Any]] = Field(default_factory=list)
