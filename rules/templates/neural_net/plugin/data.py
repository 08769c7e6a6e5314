"""The data: CSV files whose first column is the label. Put your own reader in its place."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One example."""

    label: str
    features: tuple[float, ...]


def read_rows(folder: Path, split: str) -> list[Row]:
    """Return the rows of one split of a dataset.

    Args:
        folder: The dataset's folder.
        split: `train` or `test`, the name of a CSV file in it.

    Raises:
        FileNotFoundError: The dataset has no such split.
        ValueError: It has no rows, or a feature is not a number.
    """
    path = folder / f"{split}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows, None)  # The heading.
        found = [Row(row[0], tuple(map(float, row[1:]))) for row in rows if row]
    if not found:
        raise ValueError(f"{path} has no rows")
    return found


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write rows as `read_rows` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [f"x{index}" for index in range(1, len(rows[0].features) + 1)] if rows else []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", *names])
        writer.writerows([row.label, *row.features] for row in rows)
