from pathlib import Path
from typing import Any

import pytest
from synapse_sdk.plugins.errors import ValidationError
from synapse_sdk.plugins.executors.local import LocalExecutor

from plugin.export import ExportAction
from plugin.writers import WRITERS

ITEMS = [
    {"id": 1, "name": "a.txt", "split": "train", "size": 3, "checksum": "aa"},
    {"id": 2, "name": "b, ß.txt", "split": "val", "size": 4, "checksum": "bb"},
]


class Client:
    """Stand in for the backend."""

    def iter_ground_truths(self, dataset: int) -> list[dict[str, Any]]:
        assert dataset == 124
        return ITEMS


def export(monkeypatch: pytest.MonkeyPatch, **params: Any) -> Any:
    monkeypatch.setattr(ExportAction, "client", Client())
    given = {"dataset": 124, **params}
    return LocalExecutor(env={}).execute(action_cls=ExportAction, params=given)


def test_every_file_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = export(monkeypatch, path=tmp_path / "out")
    assert result["exported_count"] == 2
    text = (tmp_path / "out/files.csv").read_text(encoding="utf-8")
    assert text == 'name,split,size,checksum\na.txt,train,3,aa\n"b, ß.txt",val,4,bb\n'
    assert result["file_size_bytes"] == len(text.encode())


def test_only_the_wanted_splits_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = export(monkeypatch, path=tmp_path, format="jsonl", splits=["val"])
    assert result["exported_count"] == 1
    assert "b, ß.txt" in Path(result["output_path"]).read_text(encoding="utf-8")


def test_nothing_to_export_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert export(monkeypatch, path=tmp_path, splits=["test"])["exported_count"] == 0


def test_an_unknown_format_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="format"):
        export(monkeypatch, path=tmp_path, format="xml")
    assert set(WRITERS) == {"csv", "jsonl"}
