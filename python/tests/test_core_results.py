"""ActionResult and the way to plain JSON values."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.results import ActionResult, Losses, plain


class TrainResult(BaseModel):
    model_path: str
    final_loss: float
    metrics: dict[str, float]


@dataclass
class Point:
    x: int
    y: Path


class Colour(Enum):
    RED = "red"


class Scalar:
    """As a numpy scalar behaves."""

    def item(self) -> float:
        return 0.5


class Array:
    """As a numpy array behaves."""

    def item(self) -> float:
        raise ValueError("more than one")

    def tolist(self) -> list[Any]:
        return [[1, 2], [3, 4]]


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    scalar: Scalar
    path: Path


class Loose(BaseModel):
    any: Any


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("a", "a"),
        (Colour.RED, "red"),
        (PluginCategory.EXPORT, "export"),
        (Path("a/b"), "a/b"),
        ([1, (2, 3)], [1, [2, 3]]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        ({"a": {Colour.RED: Path("x")}}, {"a": {"red": "x"}}),
        (
            TrainResult(model_path="m", final_loss=1, metrics={}),
            {"model_path": "m", "final_loss": 1.0, "metrics": {}},
        ),
        (Point(1, Path("p")), {"x": 1, "y": "p"}),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, tzinfo=timezone.utc), "2024-01-02T00:00:00Z"),
        (Decimal("1.5"), "1.5"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"abc", "abc"),
        (Scalar(), 0.5),
        (Array(), [[1, 2], [3, 4]]),
        (Holder(scalar=Scalar(), path=Path("p")), {"scalar": 0.5, "path": "p"}),
        (Odd(), "<odd>"),
        (Odd, f"<class '{__name__}.Odd'>"),
    ],
)
def test_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_plain_keys_are_text() -> None:
    value = {"a": {Colour.RED: Path("x")}, 1: 2, None: 3, False: 4}
    assert plain(value) == {"a": {"red": "x"}, "1": 2, "null": 3, "false": 4}


def test_plain_of_numbers_without_json_form() -> None:
    assert math.isnan(plain(math.nan))
    assert plain(Loose(any=math.nan), finite=True) == {"any": None}
    assert plain({Decimal("NaN")}, finite=True) == ["NaN"]
    found = plain({"a": math.nan, "b": [math.inf]}, finite=True)
    assert found == {"a": None, "b": [None]}
    assert json.dumps(found, allow_nan=False)


class Bare:
    pass


def lost(value: Any) -> list[str]:
    losses = Losses("result")
    json.dumps(plain(value, finite=True, losses=losses), allow_nan=False)
    return losses.sentences()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"loss": math.nan}, ["result: loss is NaN, kept as null"]),
        (math.inf, ["result is infinity, kept as null"]),
        (
            {"a": [{"b": -math.inf}, Bare()]},
            [
                "result: a[0].b is -infinity, kept as null",
                "result: a[1] has no plain form, its text is kept",
            ],
        ),
        (Loose(any=math.nan), ["result: any is NaN, kept as null"]),
        (Loose(any=[1, {"x": math.inf}]), ["result: any[1].x is infinity, kept as null"]),
        (
            TrainResult(model_path="m", final_loss=math.nan, metrics={"a": math.nan}),
            [
                "result: final_loss is NaN, kept as null",
                "result: metrics.a is NaN, kept as null",
            ],
        ),
        (b"\xff", ["result has no plain form, its text is kept"]),
        ({"a": 1, "b": [None, "x", Path("p"), date(2024, 1, 2)], "c": Scalar()}, []),
    ],
)
def test_what_is_lost_is_told(value: Any, told: list[str]) -> None:
    assert lost(value) == told


def test_many_losses_are_told_by_the_first_few() -> None:
    told = lost([math.nan] * 100)
    assert told[0] == "result: [0] is NaN, kept as null"
    assert len(told) == 6
    assert told[-1] == "result: and 95 more values that JSON cannot hold"


def test_texts_of_results_are_the_same_in_every_process() -> None:
    value = {"m": Bare(), Bare(): object()}
    assert plain(value, losses=Losses("result")) == {
        "m": f"<{__name__}.Bare object>",
        f"<{__name__}.Bare object>": "<object object>",
    }
    # Inspection tells by it what is another in every process.
    assert " at 0x" in plain(Bare())


def test_a_repr_that_fails_is_no_failure() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert plain(Broken()) == "<Broken>"


def test_plain_hides_secrets() -> None:
    assert "*****" in plain(SecretStr("hidden"))
    assert "hidden" not in plain(SecretStr("hidden"))


def test_plain_ends_with_cycles_and_mocks() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    assert plain(ring) == [1, "<cycle>"]
    twice = [1]
    assert plain([twice, twice]) == [[1], [1]]
    json.dumps(plain(MagicMock()))


def test_a_model_gives_its_fields() -> None:
    raw = TrainResult(model_path="/m/best.pt", final_loss=0.5, metrics={"mAP50": 0.85})
    result = ActionResult.of(raw)
    assert isinstance(result, dict)
    assert "model_path" in result
    assert result["final_loss"] < 1.0
    assert result.model_path == "/m/best.pt"
    assert result.metrics == {"mAP50": 0.85}
    assert result.raw is raw
    assert json.loads(json.dumps(result)) == {
        "model_path": "/m/best.pt",
        "final_loss": 0.5,
        "metrics": {"mAP50": 0.85},
    }
    assert repr(result) == repr(dict(result))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"path": Path("a")}, {"path": "a"}),
        (None, {}),
        (3, {"result": 3}),
        ("text", {"result": "text"}),
        ([1, 2], {"result": [1, 2]}),
        (False, {"result": False}),
        (Point(1, Path("p")), {"x": 1, "y": "p"}),
        ({}, {}),
    ],
)
def test_other_results(raw: Any, expected: dict[str, Any]) -> None:
    result = ActionResult.of(raw)
    assert result == expected
    assert ActionResult.original(result) is raw
    assert ActionResult.of(result) is result


def test_a_key_called_raw_wins() -> None:
    result = ActionResult.of({"raw": 1})
    assert result.raw == 1
    assert ActionResult.original(result) == {"raw": 1}


def test_attributes_can_be_set_and_missing_ones_are_named() -> None:
    result = ActionResult.of({"loss": 1})
    result.more = 2
    assert result["more"] == 2
    del result.more
    with pytest.raises(AttributeError, match="no 'more'; it has loss"):
        _ = result.more
    with pytest.raises(AttributeError):
        del result.more
    assert not hasattr(result, "anything")
    assert {"loss", "raw", "items"} <= set(dir(result))


def test_copies_and_pickles() -> None:
    raw = TrainResult(model_path="m", final_loss=1, metrics={})
    result = ActionResult.of(raw)
    for again in (pickle.loads(pickle.dumps(result)), copy.copy(result), copy.deepcopy(result)):
        assert isinstance(again, ActionResult)
        assert again == result
        assert again.raw == raw
    bare = ActionResult({"a": 1})
    assert bare.raw is bare
    assert pickle.loads(pickle.dumps(bare)) == bare


def test_integers_that_readers_of_json_would_round_are_text_with_a_note() -> None:
    losses = Losses("result")
    most = {"low": -(1 << 63), "high": (1 << 64) - 1}
    assert plain(most, finite=True, losses=losses) == most and losses.sentences() == []
    found = plain({"n": (1 << 64) + 1, "m": 10**5000}, finite=True, losses=losses)
    assert found["n"] == "18446744073709551617" and found["m"].startswith(("0x", "1000"))
    assert losses.sentences()[0] == (
        "result: n is an integer of more than 64 bits, its text is kept"
    )
    # Within Python nothing is lost.
    assert plain(1 << 70) == 1 << 70
