"""Owns sample actions to try executors, pipelines and loggers with; they need no backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.types import Dataset, ModelWeights, YOLODataset


class DownloadParams(BaseModel):
    """Params of `DownloadAction`."""

    dataset: int = Field(default=1, description="Id of the dataset")
    work_dir: str = Field(default=".", description="Folder to write to")
    count: int = Field(default=3, ge=1, description="Files to write")


class DownloadResult(BaseModel):
    """What `DownloadAction` wrote."""

    path: str
    count: int


class DownloadAction(BaseAction[DownloadParams]):
    """Writes a few files, as a download would."""

    action_name = "download"
    output_type = Dataset
    result_model = DownloadResult

    def execute(self) -> DownloadResult:
        """Write the files, one step of progress each."""
        folder = Path(self.params.work_dir) / f"dataset-{self.params.dataset}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, self.params.count + 1):
            (folder / f"{number}.txt").write_text(f"{number}\n", "utf-8")
            self.set_progress(number, self.params.count, "download")
        return DownloadResult(path=str(folder), count=self.params.count)


class ConvertParams(BaseModel):
    """Params of `ConvertAction`."""

    path: str = Field(description="Folder of the files")


class ConvertResult(BaseModel):
    """What `ConvertAction` wrote."""

    path: str
    data_path: str


class ConvertAction(BaseAction[ConvertParams]):
    """Lists a folder's files in a description beside them, as a conversion would."""

    action_name = "convert"
    input_type = Dataset
    output_type = YOLODataset
    result_model = ConvertResult

    def execute(self) -> ConvertResult:
        """Write the description."""
        folder = Path(self.params.path)
        names = sorted(path.name for path in folder.glob("*.txt"))
        description = folder / "dataset.yaml"
        description.write_text("".join(f"- {name}\n" for name in names), "utf-8")
        self.set_progress(1, 1, "convert")
        return ConvertResult(path=str(folder), data_path=str(description))


class TrainParams(BaseModel):
    """Params of `TrainAction`."""

    data_path: str = Field(description="Description of the dataset")
    epochs: int = Field(default=2, ge=1, description="Rounds")


class TrainAction(BaseAction[TrainParams]):
    """Writes weights beside its data, as a training would."""

    action_name = "train"
    input_type = YOLODataset
    output_type = ModelWeights

    def execute(self) -> dict[str, Any]:
        """Go through the epochs; the loss falls."""
        loss = 1.0
        for epoch in range(1, self.params.epochs + 1):
            loss = 1.0 / epoch
            self.set_progress(epoch, self.params.epochs, "train")
            self.set_metrics({"loss": loss}, "train")
        weights = Path(self.params.data_path).with_name("weights.txt")
        weights.write_text(f"{loss}\n", "utf-8")
        return {"weights_path": str(weights), "final_epoch": self.params.epochs, "loss": loss}
