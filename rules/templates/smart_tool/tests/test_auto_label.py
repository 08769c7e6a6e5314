from typing import Any

import pytest
from pydantic import ValidationError
from synapse_sdk.plugins.executors.local import LocalExecutor

from plugin.auto_label import AutoLabelAction, ClickParams
from plugin.region import grow

PIXELS = [
    [0, 0, 0, 0],
    [0, 90, 95, 0],
    [0, 0, 90, 0],
    [90, 0, 0, 0],
]


def click(**params: Any) -> Any:
    given = {"pixels": PIXELS, **params}
    return LocalExecutor(env={}).execute(action_cls=AutoLabelAction, params=given)


def test_the_box_holds_the_region_and_no_more() -> None:
    box = {"type": "bbox", "x": 1, "y": 1, "width": 2, "height": 2}
    assert click(x=1, y=1) == box
    assert click(x=2, y=2) == box


def test_pixels_that_touch_by_a_corner_only_are_apart() -> None:
    assert click(x=0, y=3) == {"type": "bbox", "x": 0, "y": 3, "width": 1, "height": 1}


def test_the_tolerance_decides() -> None:
    assert grow(PIXELS, 1, 1, 4) == {(1, 1)}
    assert grow(PIXELS, 1, 1, 5) == {(1, 1), (2, 1), (2, 2)}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"x": 4, "y": 0}, "outside"),
        ({"x": 0, "y": 0, "pixels": [[1], [1, 2]]}, "the same length"),
        ({"x": -1, "y": 0}, "greater than or equal"),
        ({"x": 0, "y": 0, "tolerance": 256}, "less than or equal"),
    ],
)
def test_what_cannot_be_meant_is_refused(bad: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ClickParams.model_validate({"pixels": PIXELS, **bad})
