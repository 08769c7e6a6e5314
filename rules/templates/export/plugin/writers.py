"""The formats. Put your own beside them, and into `WRITERS`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

#: What is written of each file; `size` is in bytes.
FIELDS = ("name", "split", "size", "checksum")

Items = Iterable[dict[str, Any]]


def write_csv(path: Path, items: Items) -> int:
    """Write a heading and one line for each item; return how many items."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for item in items:
            writer.writerow({field: item.get(field) for field in FIELDS})
            count += 1
    return count


def write_jsonl(path: Path, items: Items) -> int:
    """Write one JSON object a line; return how many items."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for item in items:
            kept = {field: item.get(field) for field in FIELDS}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
            count += 1
    return count


WRITERS: dict[str, Callable[[Path, Items], int]] = {"csv": write_csv, "jsonl": write_jsonl}
