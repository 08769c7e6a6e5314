import json
from pathlib import Path
from typing import Any

import pytest
from synapse_sdk.plugins.errors import ExecutionError, ValidationError
from synapse_sdk.plugins.executors.local import LocalExecutor

from plugin.boxes import Box, merge, overlap
from plugin.post_annotate import PostAnnotateAction


def box(label: str, x: float, width: float = 10) -> Box:
    return Box(label=label, x=x, y=0, width=width, height=10)


def test_overlap_is_the_shared_part() -> None:
    assert overlap(box("a", 0), box("a", 0)) == 1
    assert overlap(box("a", 0), box("a", 5)) == pytest.approx(1 / 3)
    assert overlap(box("a", 0), box("a", 10)) == 0


def test_the_first_of_equal_boxes_stays() -> None:
    boxes = [box("a", 0), box("a", 1), box("a", 20)]
    assert merge(boxes, 0.8) == [boxes[0], boxes[2]]


def test_other_labels_are_other_boxes() -> None:
    boxes = [box("a", 0), box("b", 0)]
    assert merge(boxes, 0.8) == boxes


def run(folder: Path, boxes: Any, **params: Any) -> Any:
    (folder / "in.json").write_text(json.dumps(boxes))
    given = {"path": folder / "in.json", "output": folder / "out/boxes.json", **params}
    return LocalExecutor(env={}).execute(action_cls=PostAnnotateAction, params=given)


def test_what_is_left_is_written(tmp_path: Path) -> None:
    result = run(tmp_path, [box("a", 0).model_dump(), box("a", 1).model_dump()])
    assert (result["kept"], result["merged"]) == (1, 1)
    assert json.loads((tmp_path / "out/boxes.json").read_text()) == [box("a", 0).model_dump()]


def test_a_box_without_area_is_refused(tmp_path: Path) -> None:
    flat = {**box("a", 0).model_dump(), "width": 0}
    with pytest.raises((ExecutionError, ValidationError), match="width"):
        run(tmp_path, [flat])
    assert not (tmp_path / "out").exists()


def test_the_threshold_has_bounds(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="threshold"):
        run(tmp_path, [], threshold=0)
