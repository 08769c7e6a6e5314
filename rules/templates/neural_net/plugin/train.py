"""Training, from nothing or from a checkpoint."""

import tempfile
from pathlib import Path

from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseTrainAction
from synapse_sdk.plugins.enums import PluginCategory

from .data import read_rows
from .model import Classifier
from .types import ClassifierWeights, TableDataset


class TrainParams(BaseModel):
    """What to train on, and for how long."""

    dataset: int = Field(..., description="Dataset ID to train on")
    epochs: int = Field(default=100, ge=1, le=10_000, description="Passes over the dataset")
    learning_rate: float = Field(default=0.05, gt=0, lt=1, description="Step of the descent")
    checkpoint: int | None = Field(default=None, description="Model ID to go on from")


class TrainResult(BaseModel):
    """The trained model, and how well it does on what it was trained on."""

    model_id: int
    model_path: str
    final_loss: float
    metrics: dict[str, float]


class TrainAction(BaseTrainAction[TrainParams]):
    """Train the classifier on a dataset."""

    category = PluginCategory.NEURAL_NET
    input_type = TableDataset
    output_type = ClassifierWeights
    result_model = TrainResult

    def execute(self) -> TrainResult:
        """Fetch the dataset, train, upload the weights."""
        self.set_progress(0, 1, self.progress.DATASET)
        dataset = self.get_dataset()
        rows = read_rows(Path(dataset["path"]), "train")
        self.set_progress(1, 1, self.progress.DATASET)
        self.ctx.log_message(f"{len(rows)} rows of {dataset['name']}", "info")

        checkpoint = self.get_checkpoint()
        model = Classifier.load(checkpoint["path"]) if checkpoint else Classifier.new(rows)

        loss = 0.0
        for epoch in range(1, self.params.epochs + 1):
            loss = model.step(rows, self.params.learning_rate)
            self.set_progress(epoch, self.params.epochs, self.progress.TRAIN)
            self.set_metrics({"epoch": epoch, "loss": loss}, step="train")

        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "classifier.json"
            model.save(weights)
            uploaded = self.create_model(str(weights), name="classifier")
        self.set_progress(1, 1, self.progress.MODEL_UPLOAD)
        return TrainResult(
            model_id=uploaded["id"],
            model_path=uploaded["path"],
            final_loss=round(loss, 6),
            metrics={"accuracy": model.accuracy(rows)},
        )
