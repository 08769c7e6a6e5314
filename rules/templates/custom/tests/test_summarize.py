from pathlib import Path
from typing import Any

import pytest
from synapse_sdk.plugins.errors import ExecutionError, ValidationError
from synapse_sdk.plugins.executors.local import LocalExecutor

from plugin.summarize import SummarizeAction


def summarize(folder: Path, text: str, **params: Any) -> Any:
    path = folder / "table.csv"
    path.write_text(text)
    given = {"path": path, **params}
    return LocalExecutor(env={}).execute(action_cls=SummarizeAction, params=given)


def test_columns_of_numbers_are_summarised(tmp_path: Path) -> None:
    result = summarize(tmp_path, "name,a,b\nx,1,\ny,2,5\n")
    assert result["rows"] == 2
    assert result["columns"] == [
        {"column": "a", "count": 2, "missing": 0, "low": 1.0, "high": 2.0, "mean": 1.5},
        {"column": "b", "count": 1, "missing": 1, "low": 5.0, "high": 5.0, "mean": 5.0},
    ]


def test_only_the_named_columns(tmp_path: Path) -> None:
    result = summarize(tmp_path, "a,b\n1,2\n", columns=["b"])
    assert [column["column"] for column in result["columns"]] == ["b"]


def test_digits_round(tmp_path: Path) -> None:
    result = summarize(tmp_path, "a\n1\n2\n2\n", digits=1)
    assert result["columns"][0]["mean"] == 1.7


@pytest.mark.parametrize("text", ["", "a,b\n"])
def test_a_table_without_rows_has_no_columns_of_numbers(tmp_path: Path, text: str) -> None:
    assert summarize(tmp_path, text) == {"rows": 0, "columns": []}


def test_an_unknown_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="no column c") as caught:
        summarize(tmp_path, "a,b\n1,2\n", columns=["c"])
    assert caught.value.details == {"columns": ["a", "b"]}


def test_digits_have_bounds(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="digits"):
        summarize(tmp_path, "", digits=11)
