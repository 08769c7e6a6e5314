"""Owns the params and the result of uploads."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from synapse_sdk.plugins.actions.backend_checks import check_known, check_name


class AssetConfig(BaseModel):
    """Where the files of one file specification are."""

    path: str
    is_recursive: bool = True


class UploadParams(BaseModel):
    """Params of the default upload."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"exclude_from_ui": True})

    name: str = Field(description="Name of the upload")
    description: str | None = Field(default=None, description="What it is for")
    use_single_path: bool = Field(default=True, description="All files lie below `path`")
    path: str | None = Field(default=None, description="Folder of the files")
    is_recursive: bool = Field(default=True, description="Look into its folders too")
    assets: dict[str, AssetConfig] | None = Field(
        default=None, description="Folder per file specification, without use_single_path"
    )
    storage: int = Field(description="Id of the storage")
    data_collection: int = Field(description="Id of the data collection")
    project: int | None = Field(default=None, description="Id of the project to make tasks in")
    excel_metadata_path: str | None = Field(default=None, description="Spreadsheet of metadata")
    max_file_size_mb: int = Field(default=50, ge=1, description="Largest file, in MB")
    creating_data_unit_batch_size: int = Field(default=200, ge=1, description="Units per request")
    group_name: str | None = Field(default=None, description="Group of the uploaded data")
    extra_params: dict[str, Any] | None = Field(default=None, description="The plugin's own")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return check_name(value)

    @field_validator("storage")
    @classmethod
    def _stored(cls, value: int, info: ValidationInfo) -> int:
        check_known(value, info, "get_storage", "storage")
        return value

    @field_validator("data_collection")
    @classmethod
    def _collected(cls, value: int, info: ValidationInfo) -> int:
        check_known(value, info, "get_data_collection", "data collection")
        return value

    @field_validator("project")
    @classmethod
    def _projected(cls, value: int | None, info: ValidationInfo) -> int | None:
        return check_known(value, info, "get_project", "project")

    @model_validator(mode="after")
    def _located(self) -> UploadParams:
        if self.use_single_path and not self.path:
            raise ValueError("path is required with use_single_path")
        if not self.use_single_path and not self.assets:
            raise ValueError("assets are required without use_single_path")
        return self


class UploadResult(BaseModel):
    """What an upload did.

    Attributes:
        success: All steps ran.
        uploaded_files: Files uploaded.
        data_units: Data units made of them.
        partial_failure: Some files were not uploaded.
        lost_files: Those, each with its reason.
    """

    success: bool = True
    steps_executed: int = 0
    steps_total: int = 0
    uploaded_files: int = 0
    data_units: int = 0
    partial_failure: bool = False
    lost_files_count: int = 0
    lost_files: list[dict[str, Any]] = Field(default_factory=list)
