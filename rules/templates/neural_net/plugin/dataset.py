"""Getting data: downloading a dataset, and converting one into what training reads."""

import json
from pathlib import Path

from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseAction
from synapse_sdk.plugins.actions.dataset import DatasetAction, DatasetResult

from .data import Row, write_rows
from .types import TableDataset


class DownloadAction(DatasetAction):
    """Download a dataset, by default into the cache that training uses too."""

    action_name = "download"
    output_type = TableDataset

    def execute(self) -> DatasetResult:
        """Download `params.dataset`."""
        return self.download()


class ConvertParams(BaseModel):
    """What to convert, and into which folder."""

    path: Path = Field(..., description="File of JSON lines: split, label, features")
    output_dir: Path = Field(..., description="Folder to write the dataset to")


class ConvertResult(BaseModel):
    """The dataset that was written: rows by split."""

    path: str
    counts: dict[str, int]


class ConvertAction(BaseAction[ConvertParams]):
    """Convert JSON lines into the form that training reads."""

    action_name = "convert"
    output_type = TableDataset
    result_model = ConvertResult

    def execute(self) -> ConvertResult:
        """Read all lines, then write one CSV file for each split."""
        splits: dict[str, list[Row]] = {}
        with self.params.path.open(encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                item = json.loads(line)
                row = Row(item["label"], tuple(map(float, item["features"])))
                splits.setdefault(item["split"], []).append(row)
        for number, (split, rows) in enumerate(splits.items(), 1):
            write_rows(self.params.output_dir / f"{split}.csv", rows)
            self.set_progress(number, len(splits), "convert")
        counts = {split: len(rows) for split, rows in splits.items()}
        return ConvertResult(path=str(self.params.output_dir), counts=counts)
