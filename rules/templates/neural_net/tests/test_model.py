from pathlib import Path

import pytest

from plugin.data import Row, read_rows, write_rows
from plugin.model import Classifier

ROWS = [
    Row("low", (0.0, 0.1)),
    Row("low", (0.2, 0.0)),
    Row("high", (1.0, 0.9)),
    Row("high", (0.8, 1.0)),
]


def trained() -> Classifier:
    model = Classifier.new(ROWS)
    for _ in range(200):
        model.step(ROWS, 0.5)
    return model


def test_training_lowers_the_loss_and_learns_the_labels() -> None:
    model = Classifier.new(ROWS)
    first = model.step(ROWS, 0.5)
    for _ in range(200):
        last = model.step(ROWS, 0.5)
    assert last < first / 2
    assert model.accuracy(ROWS) == 1.0


def test_scores_are_probabilities() -> None:
    scores = trained().scores([0.5, 0.5])
    assert sum(scores) == pytest.approx(1)
    assert all(0 < score < 1 for score in scores)


def test_a_model_survives_its_file(tmp_path: Path) -> None:
    model = trained()
    model.save(tmp_path / "model.json")
    assert Classifier.load(tmp_path / "model.json") == model


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a row has 2 features, this one has 3"):
        trained().predict([1.0, 2.0, 3.0])


def test_rows_survive_their_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.csv", ROWS)
    assert read_rows(tmp_path, "train") == ROWS


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("label,x1\n")
    with pytest.raises(ValueError, match="has no rows"):
        read_rows(tmp_path, "train")
