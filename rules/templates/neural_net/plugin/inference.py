"""Classifying with a trained model."""

from typing import Any

from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseInferenceAction

from .model import Classifier


class InferenceParams(BaseModel):
    """Which model, and what to classify."""

    model: int = Field(..., description="Model ID")
    rows: list[list[float]] = Field(..., min_length=1, description="Rows of features")


class InferenceResult(BaseModel):
    """One prediction for each row, in their order: `label` and `score`."""

    predictions: list[dict[str, Any]]
    processed_count: int


class InferenceAction(BaseInferenceAction[InferenceParams]):
    """Classify rows with a trained model."""

    result_model = InferenceResult

    def execute(self) -> InferenceResult:
        """Load the model, then classify."""
        info = self.load_model(self.params.model)
        model = Classifier.load(info["path"])
        self.set_progress(1, 1, self.progress.MODEL_LOAD)
        predictions = self.infer(model, self.params.rows)
        self.set_progress(1, 1, self.progress.INFERENCE)
        return InferenceResult(predictions=predictions, processed_count=len(predictions))

    def infer(self, model: Classifier, inputs: list[list[float]]) -> list[dict[str, Any]]:
        """Return `label` and `score` (0 to 1) of each row."""
        found = [model.predict(row) for row in inputs]
        return [{"label": label, "score": round(score, 4)} for label, score in found]
