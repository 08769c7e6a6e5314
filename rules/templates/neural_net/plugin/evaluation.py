"""Measuring a trained model. Not called test.py: that is what pytest's own files are called."""

from pathlib import Path

from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseTrainAction
from synapse_sdk.plugins.errors import ExecutionError
from synapse_sdk.plugins.types import TestResults

from .data import read_rows
from .model import Classifier
from .types import TableDataset


class EvaluationParams(BaseModel):
    """Which model, on which data."""

    checkpoint: int = Field(..., description="Model ID to test")
    dataset: int = Field(..., description="Dataset ID whose test split is used")


class EvaluationResult(BaseModel):
    """How well the model does, 0 to 1."""

    accuracy: float
    count: int


class EvaluationAction(BaseTrainAction[EvaluationParams]):
    """Measure a trained model on the test split."""

    action_name = "test"
    input_type = TableDataset
    output_type = TestResults
    result_model = EvaluationResult

    def execute(self) -> EvaluationResult:
        """Fetch model and dataset, then compare."""
        # A checkpoint is a trained model; the helper downloads it.
        checkpoint = self.get_checkpoint()
        if checkpoint is None:
            raise ExecutionError("there is no model to test")
        model = Classifier.load(checkpoint["path"])
        rows = read_rows(Path(self.get_dataset()["path"]), "test")
        accuracy = model.accuracy(rows)
        self.set_metrics({"accuracy": accuracy}, step="test")
        self.set_progress(1, 1, "test")
        return EvaluationResult(accuracy=accuracy, count=len(rows))
