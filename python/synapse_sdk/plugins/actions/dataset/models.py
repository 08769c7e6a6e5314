"""Owns the params and the result of `DatasetAction`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from synapse_sdk._compat import StrEnum


class DatasetOperation(StrEnum):
    """What is done with a dataset."""

    DOWNLOAD = "download"
    CONVERT = "convert"


class DatasetProgressCategories:
    """Steps of a dataset action, as `self.progress.X`."""

    DOWNLOAD = "download"
    CONVERT = "convert"


class DatasetParams(BaseModel):
    """Params of `DatasetAction`."""

    operation: DatasetOperation = Field(
        default=DatasetOperation.DOWNLOAD, description="download or convert"
    )
    dataset: int | None = Field(default=None, description="Id of the dataset version to download")
    splits: list[str] | None = Field(default=None, description="Only these splits")
    path: str | Path | None = Field(default=None, description="Folder of the dataset to convert")
    source_format: str = Field(default="dm_v2", description="Format of the dataset to convert")
    target_format: str = Field(default="yolo", description="yolo, coco or pascal_voc")
    dm_version: str = Field(default="v2", description="Version of the platform's own format")
    output_dir: str | Path | None = Field(default=None, description="Where the result goes")
    is_categorized: bool = Field(default=False, description="The dataset has folders per split")


class DatasetResult(BaseModel):
    """What a dataset action made.

    Attributes:
        path: Folder of the dataset.
        format: Its format.
        is_categorized: It has splits.
        config_path: What a reader is given (YOLO's dataset.yaml, COCO's JSON).
        count: Files downloaded, or images converted.
        source_path: Folder that was converted.
    """

    path: Path
    format: str | None = None
    is_categorized: bool = False
    config_path: Path | None = None
    count: int | None = None
    source_path: Path | None = None

    @property
    def data_path(self) -> Path:
        """What training reads: the description where there is one, else the folder."""
        return self.config_path or self.path
