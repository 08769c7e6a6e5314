"""Owns `DatasetAction`: one action that downloads datasets and converts them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.backend import BackendHelpers, download_cache
from synapse_sdk.plugins.actions.dataset.conversion import convert_dataset
from synapse_sdk.plugins.actions.dataset.log_messages import DatasetLogMessageCode as Code
from synapse_sdk.plugins.actions.dataset.models import (
    DatasetOperation,
    DatasetParams,
    DatasetProgressCategories,
    DatasetResult,
)
from synapse_sdk.plugins.errors import PluginError
from synapse_sdk.plugins.log_messages import LogMessageCode
from synapse_sdk.plugins.types import DataType, YOLODataset
from synapse_sdk.utils.converters import normal_format
from synapse_sdk.utils.converters.yolo import find_description


class DatasetAction(BackendHelpers, BaseAction[DatasetParams]):
    """Downloads a dataset version, or converts a dataset folder.

    The platform's own formats (dm_v1, dm_v2) are downloaded and passed on as they are;
    converting them is not promised yet and is refused.
    """

    output_type: ClassVar[type[DataType] | None] = YOLODataset
    result_model = DatasetResult
    progress: ClassVar[type[DatasetProgressCategories]] = DatasetProgressCategories

    def execute(self) -> DatasetResult:
        """Do what `params.operation` says."""
        if self.params.operation is DatasetOperation.CONVERT:
            return self.convert()
        return self.download()

    @classmethod
    def get_log_message_code_class(cls) -> type[LogMessageCode]:
        """Return the messages of dataset actions."""
        return Code

    def download(self) -> DatasetResult:
        """Download `params.dataset`: into the shared cache, or as files of `params.output_dir`.

        Raises:
            ValueError: The params name no dataset.
            NoClientError: The run has no backend.
            PluginError: `output_dir` holds other files.
        """
        if self.params.dataset is None:
            raise ValueError("dataset is required for download operation")
        step = self.progress.DOWNLOAD
        local = download_cache(self.ctx).dataset(
            self.params.dataset,
            splits=self.params.splits,
            progress=lambda current, total: self.set_progress(current, total, step),
        )
        folder = local.path
        if self.params.output_dir is not None:
            folder = Path(self.params.output_dir)
            if folder.is_dir() and any(folder.iterdir()):
                raise PluginError(f"{folder} holds other files; name another output_dir")
            shutil.copytree(local.path, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        known = local.version.get("format") or f"dm_{self.params.dm_version}"
        form = normal_format(str(known))
        self.ctx.log_message(
            Code.DATASET_DOWNLOADED,
            name=local.version.get("name"),
            count=local.count,
            path=folder,
        )
        return DatasetResult(
            path=folder,
            format=form,
            is_categorized=bool(local.splits) or self.params.is_categorized,
            config_path=find_description(folder) if form == "yolo" else None,
            count=local.count,
        )

    def convert(self) -> DatasetResult:
        """Convert the dataset in `params.path`; the result lies beside it or in `output_dir`.

        Raises:
            ValueError: The params name no path.
            FileNotFoundError: There is no such folder.
            PluginError: The formats cannot be converted.
        """
        if self.params.path is None:
            raise ValueError("path is required for convert operation")
        source = Path(self.params.path)
        output = Path(self.params.output_dir) if self.params.output_dir is not None else None
        self.set_progress(0, 100, self.progress.CONVERT)
        done = convert_dataset(source, self.params.source_format, self.params.target_format, output)
        for note in done.notes:
            self.ctx.log_message(Code.DATASET_NOTE, note=note)
        self.set_progress(100, 100, self.progress.CONVERT)
        self.ctx.log_message(
            Code.DATASET_CONVERTED, format=done.format, count=done.count, path=done.path
        )
        return DatasetResult(
            path=done.path,
            format=done.format,
            is_categorized=self.params.is_categorized or _has_splits(done.path),
            config_path=done.config_path,
            count=done.count,
            source_path=source,
        )


def _has_splits(folder: Path) -> bool:
    """Say whether a converted dataset has splits."""
    images: Any = folder / "images"
    listed = folder / "ImageSets" / "Main"
    return any(listed.glob("*.txt")) or any(path.is_dir() for path in images.glob("*"))
