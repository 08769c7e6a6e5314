import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from synapse_sdk.plugins.executors.local import LocalExecutor

from plugin.dataset import ConvertAction
from plugin.evaluation import EvaluationAction
from plugin.inference import InferenceAction
from plugin.train import TrainAction, TrainParams

SAMPLES = Path(__file__).parent.parent / "samples"


def run(action: type, **params: Any) -> Any:
    return LocalExecutor(env={}).execute(action_cls=action, params=params)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stand in for the backend: the sample is the dataset, and one model can be uploaded."""
    kept = tmp_path / "classifier.json"
    dataset = {"id": 123, "name": "flowers", "path": str(SAMPLES / "flowers")}
    found = {"id": 1, "name": "classifier", "path": str(kept), "category": "fine_tuned"}

    def create_model(self: Any, path: str, **fields: Any) -> dict[str, Any]:
        shutil.copyfile(path, kept)
        return {**found, **fields}

    for action in (TrainAction, EvaluationAction):
        monkeypatch.setattr(action, "get_dataset", lambda self: dataset)
    monkeypatch.setattr(TrainAction, "create_model", create_model)
    monkeypatch.setattr(EvaluationAction, "get_checkpoint", lambda self: found)
    monkeypatch.setattr(InferenceAction, "load_model", lambda self, model: found)
    return kept


def test_what_was_trained_is_uploaded_tested_and_used(weights: Path) -> None:
    result = run(TrainAction, dataset=123, epochs=200)
    assert result["metrics"]["accuracy"] > 0.9
    assert json.loads(weights.read_text())["labels"] == ["setosa", "versicolor", "virginica"]

    tested = run(EvaluationAction, checkpoint=1, dataset=123)
    assert tested["accuracy"] == 1.0
    assert tested["count"] == 9

    inferred = run(InferenceAction, model=1, rows=[[5.0, 3.4, 1.5, 0.2]])
    assert inferred["predictions"][0]["label"] == "setosa"


def test_json_lines_become_a_dataset(tmp_path: Path) -> None:
    result = run(ConvertAction, path=SAMPLES / "flowers.jsonl", output_dir=tmp_path / "out")
    assert result["counts"] == {"train": 6, "test": 3}
    assert len((tmp_path / "out" / "train.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"learning_rate": 1.0}, {"dataset": "many"}])
def test_params_have_bounds(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainParams.model_validate({"dataset": 123, **bad})
