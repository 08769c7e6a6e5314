import json
from pathlib import Path
from typing import Any

import pytest
from synapse_sdk.plugins.errors import ValidationError
from synapse_sdk.plugins.executors.local import LocalExecutor

from plugin.rules import RULES
from plugin.validate import ValidateAction

GOOD = {
    "label": "cat",
    "x": 0,
    "y": 0,
    "width": 10,
    "height": 10,
    "image_width": 10,
    "image_height": 10,
}


def check(folder: Path, *items: Any, **params: Any) -> Any:
    path = folder / "boxes.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    given = {"path": path, "labels": ["cat", "dog"], **params}
    return LocalExecutor(env={}).execute(action_cls=ValidateAction, params=given)


def test_a_box_that_fills_its_image_is_fine(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD)
    assert result["passed"] is True
    assert result["checked"] == 1


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"label": "cow"}, "label"),
        ({"width": 0}, "area"),
        ({"x": 1}, "inside"),
        ({"y": -1}, "inside"),
        ({"image_width": 0}, "form"),
    ],
)
def test_each_rule_finds_its_kind(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    result = check(tmp_path, GOOD, {**GOOD, **change})
    found = [(finding["line"], finding["rule"]) for finding in result["findings"]]
    assert found == [(2, rule)]
    assert result["passed"] is False


def test_rules_can_be_chosen(tmp_path: Path) -> None:
    assert check(tmp_path, {**GOOD, "label": "cow"}, rules=["area"])["passed"] is True
    with pytest.raises(ValidationError, match="no such rule: size"):
        check(tmp_path, GOOD, rules=["size"])
    assert list(RULES) == ["label", "area", "inside"]


def test_the_limit_cuts_the_report_and_not_the_verdict(tmp_path: Path) -> None:
    result = check(tmp_path, *[{**GOOD, "width": -1}] * 3, limit=1)
    assert len(result["findings"]) == 1
    assert result["passed"] is False
