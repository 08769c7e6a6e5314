"""The model: softmax regression in plain Python. Put your own in its place."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .data import Row


@dataclass
class Classifier:
    """Scores every label by a weighted sum of the features.

    Attributes:
        labels: The labels that it tells apart.
        weights: One list for each label: a weight for each feature, then the bias.
    """

    labels: list[str]
    weights: list[list[float]]

    @classmethod
    def new(cls, rows: Sequence[Row]) -> Classifier:
        """Return an untrained one for the labels and the features of `rows`."""
        labels = sorted({row.label for row in rows})
        return cls(labels, [[0.0] * (len(rows[0].features) + 1) for _ in labels])

    def scores(self, features: Sequence[float]) -> list[float]:
        """Return the probability of each label, in the order of `labels`.

        Raises:
            ValueError: There are more or fewer features than it was trained on.
        """
        wanted = len(self.weights[0]) - 1
        if len(features) != wanted:
            raise ValueError(f"a row has {wanted} features, this one has {len(features)}")
        inputs = [*features, 1.0]
        sums = [sum(w * x for w, x in zip(row, inputs, strict=True)) for row in self.weights]
        top = max(sums)
        powers = [math.exp(value - top) for value in sums]
        return [power / sum(powers) for power in powers]

    def predict(self, features: Sequence[float]) -> tuple[str, float]:
        """Return the likeliest label and its probability."""
        score, label = max(zip(self.scores(features), self.labels, strict=True))
        return label, score

    def step(self, rows: Sequence[Row], rate: float) -> float:
        """Take one step of gradient descent over all rows; return the loss before it."""
        gradients = [[0.0] * len(row) for row in self.weights]
        loss = 0.0
        for row in rows:
            scores = self.scores(row.features)
            loss -= math.log(max(scores[self.labels.index(row.label)], 1e-12))
            for gradient, label, score in zip(gradients, self.labels, scores, strict=True):
                error = score - (label == row.label)
                for index, value in enumerate([*row.features, 1.0]):
                    gradient[index] += error * value
        for own, gradient in zip(self.weights, gradients, strict=True):
            for index, value in enumerate(gradient):
                own[index] -= rate * value / len(rows)
        return loss / len(rows)

    def accuracy(self, rows: Sequence[Row]) -> float:
        """Return the share of the rows that it labels correctly, 0 to 1."""
        return sum(self.predict(row.features)[0] == row.label for row in rows) / len(rows)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Classifier:
        """Read what `save` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
