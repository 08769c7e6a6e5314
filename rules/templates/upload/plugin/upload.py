"""The upload as a whole."""

from pathlib import Path

from pydantic import BaseModel, Field, field_validator
from synapse_sdk.plugins import BaseUploadAction, StepRegistry, UploadContext
from synapse_sdk.plugins.enums import PluginCategory

from .steps import CheckStep, FindStep, SendStep


class UploadParams(BaseModel):
    """What to upload."""

    path: Path = Field(..., description="Folder of the files")
    extensions: list[str] = Field(
        default_factory=list, description="Extensions to take, such as .jpg; empty for all"
    )
    is_recursive: bool = Field(default=True, description="Look into its folders too")
    max_file_size_mb: int = Field(default=50, ge=1, le=10_000, description="Largest file, in MB")

    @field_validator("extensions")
    @classmethod
    def _with_dots(cls, values: list[str]) -> list[str]:
        if bad := [value for value in values if not value.startswith(".")]:
            raise ValueError(f"{', '.join(bad)} must begin with a dot")
        return [value.lower() for value in values]


class UploadAction(BaseUploadAction[UploadParams]):
    """Upload the files of a folder."""

    category = PluginCategory.UPLOAD

    def setup_steps(self, registry: StepRegistry[UploadContext]) -> None:
        """Register the steps, in their order."""
        registry.register(FindStep())
        registry.register(CheckStep())
        registry.register(SendStep())
