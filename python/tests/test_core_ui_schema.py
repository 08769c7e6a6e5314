"""Form schemas: every row of the two tables."""

from __future__ import annotations

import json
from datetime import date
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Dict, List, Literal, Optional, Union  # noqa: UP035

import pytest
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, conint, create_model

from synapse_sdk.enums import FileField
from synapse_sdk.plugins.ui_schema import (
    HYPERPARAMETER_EXCLUDED,
    get_action_ui_schema,
    hyperparameter_ui_schema,
    pydantic_to_ui_schema,
)


class Colour(Enum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Nested(BaseModel):
    x: int = 1
    path: Path = Path("a/b")


def item(annotation: Any, default: Any = ...) -> dict[str, Any]:
    model = create_model("Model", field=(annotation, default))
    [found] = pydantic_to_ui_schema(model)
    return found


@pytest.mark.parametrize(
    ("annotation", "formkit"),
    [
        (int, "number"),
        (float, "number"),
        (str, "text"),
        (bool, "checkbox"),
        (list, "checkbox"),
        (List, "checkbox"),  # noqa: UP006
        (list[str], "text"),
        (list[int], "number"),
        (List[float], "number"),  # noqa: UP006
        (list[bool], "checkbox"),
        (set[int], "number"),
        (tuple[float, ...], "number"),
        (tuple[str, int], "text"),
        (dict[str, int], "text"),
        (Dict[int, str], "number"),  # noqa: UP006
        (list[list[int]], "number"),
        (dict, "text"),
        (set, "text"),
        (tuple, "text"),
        (Optional[int], "number"),  # noqa: UP045
        (int | None, "number"),
        (None | int, "number"),
        (bool | None, "checkbox"),
        (list[int] | None, "number"),
        (int | str, "number"),
        (str | int, "text"),
        (Union[None, float, str], "number"),  # noqa: UP007
        (type(None), "text"),
        (Literal["a", "b"], "text"),
        (Literal[1, 2], "text"),
        (Colour, "text"),
        (Number, "text"),
        (Nested, "text"),
        (Path, "text"),
        (date, "text"),
        (Any, "text"),
        (bytes, "text"),
        (type[int], "text"),
        (FileField, "text"),
        (Annotated[int, "note"], "number"),
        (Optional[Annotated[int, Field(ge=1)]], "number"),  # noqa: UP045
        (PositiveInt, "number"),
        (conint(ge=2), "number"),
    ],
)
def test_kind_of_an_annotation(annotation: Any, formkit: str) -> None:
    found = item(annotation)
    assert found["$formkit"] == formkit
    assert found.get("number") == (True if formkit == "number" else None)


def test_the_smallest_item() -> None:
    assert item(str | None, None) == {"$formkit": "text", "name": "field", "label": "Field"}


@pytest.mark.parametrize("default", [5, 0, False, "", [], "a", {"k": 1}])
def test_a_default_is_value_and_placeholder(default: Any) -> None:
    found = item(Any, default)
    assert found["value"] == default
    assert found["placeholder"] == default
    assert "required" not in found


def test_value_and_placeholder_are_two_objects() -> None:
    found = item(list[int], [1, 2])
    assert found["value"] == [1, 2]
    assert found["value"] is not found["placeholder"]


@pytest.mark.parametrize(
    ("annotation", "default", "value"),
    [
        (Colour, Colour.RED, "red"),
        (Path, Path("a/b"), "a/b"),
        (Nested, Nested(), {"x": 1, "path": "a/b"}),
        (date, date(2024, 1, 2), "2024-01-02"),
        (set[str], {"b", "a"}, ["a", "b"]),
        (tuple[int, ...], (1, 2), [1, 2]),
        (list[Colour], [Colour.RED], ["red"]),
    ],
)
def test_defaults_become_plain_values(annotation: Any, default: Any, value: Any) -> None:
    found = item(annotation, default)
    assert found["value"] == found["placeholder"] == value
    assert json.loads(json.dumps(found)) == found


def test_no_default_and_factories() -> None:
    assert item(int)["required"] is True
    assert item(int, Field(...))["required"] is True
    assert item(list[str], Field(default_factory=list)) == {
        "$formkit": "text",
        "name": "field",
        "label": "Field",
    }


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (Field(description="How many"), {"help": "How many"}),
        (Field(ge=1), {"min": 1}),
        (Field(gt=0), {"min": 0}),
        (Field(le=9), {"max": 9}),
        (Field(lt=10), {"max": 10}),
        (Field(ge=1, le=1000), {"min": 1, "max": 1000}),
        (Field(multiple_of=4), {"step": 4}),
        (Field(title="Other", examples=[1], alias="aliased"), {}),
    ],
)
def test_constraints(field: Any, expected: dict[str, Any]) -> None:
    assert item(int, field) == {
        "$formkit": "number",
        "name": "field",
        "label": "Field",
        "required": True,
        "number": True,
        **expected,
    }


def test_constraints_of_text_are_ignored() -> None:
    found = item(str, Field(pattern="a+", min_length=1, max_length=3))
    assert found == {"$formkit": "text", "name": "field", "label": "Field", "required": True}


def test_constraints_of_annotated() -> None:
    assert item(Annotated[int, Field(ge=2)])["min"] == 2
    assert item(PositiveInt)["min"] == 0


def test_label() -> None:
    class Model(BaseModel):
        batch_size: int
        lr: float

    assert [one["label"] for one in pydantic_to_ui_schema(Model)] == ["Batch Size", "Lr"]


def test_order_of_fields_and_keys() -> None:
    class Model(BaseModel):
        second: int = Field(
            3,
            description="d",
            ge=1,
            le=9,
            multiple_of=2,
            json_schema_extra={"options": ["a"], "required": True},
        )
        first: str

    found = pydantic_to_ui_schema(Model)
    assert [one["name"] for one in found] == ["second", "first"]
    assert list(found[0]) == [
        "$formkit",
        "name",
        "label",
        "value",
        "placeholder",
        "help",
        "min",
        "max",
        "step",
        "number",
        "options",
        "required",
    ]
    assert list(found[1]) == ["$formkit", "name", "label", "required"]


def test_formkit_is_replaced_after_number_was_decided() -> None:
    assert item(int, Field(json_schema_extra={"formkit": "range"})) == {
        "$formkit": "range",
        "name": "field",
        "label": "Field",
        "required": True,
        "number": True,
    }
    chosen = item(str, Field(json_schema_extra={"formkit": "select", "options": ["a", "b"]}))
    assert chosen["$formkit"] == "select"
    assert chosen["options"] == ["a", "b"]
    assert "number" not in chosen


def test_overrides_and_what_is_ignored() -> None:
    extra = {
        "options": [{"label": "A", "value": Colour.RED}],
        "help": "other help",
        "required": False,
        "step": 0.5,
        "min": 2,
        "max": 3,
        "label": "Other",
        "placeholder": "no",
        "value": "no",
        "if": "no",
        "anything": "no",
    }
    found = item(int, Field(description="help", ge=1, json_schema_extra=extra))
    assert found == {
        "$formkit": "number",
        "name": "field",
        "label": "Other",
        "help": "other help",
        "required": False,
        "min": 2,
        "max": 3,
        "step": 0.5,
        "number": True,
        "options": [{"label": "A", "value": "red"}],
    }


def test_a_callable_extra_is_ignored() -> None:
    found = item(int, Field(json_schema_extra=lambda schema: schema.update(formkit="x")))
    assert found["$formkit"] == "number"


class Params(BaseModel):
    dataset: int = Field(..., description="Dataset ID to train on")
    epochs: int = Field(default=100, ge=1, le=1000)
    learning_rate: float = Field(default=0.01, gt=0, lt=1, description="Step")
    note: str | None = None
    hidden: int = Field(default=1, json_schema_extra={"exclude_from_ui": True})


def test_fields_and_models_that_want_no_form() -> None:
    assert [one["name"] for one in pydantic_to_ui_schema(Params)] == [
        "dataset",
        "epochs",
        "learning_rate",
        "note",
    ]

    class Unseen(BaseModel):
        model_config = ConfigDict(json_schema_extra={"exclude_from_ui": True})
        a: int = 1

    assert pydantic_to_ui_schema(Unseen) == []


def test_schema_of_an_action() -> None:
    assert get_action_ui_schema(Params, "train") == {
        "action": "train",
        "ui_schemas": pydantic_to_ui_schema(Params),
    }
    assert get_action_ui_schema(None, "train") == {"action": "train", "ui_schemas": []}


def test_hyperparameters_are_required_and_without_the_platforms_own_fields() -> None:
    found = hyperparameter_ui_schema(Params)
    assert found == [
        {
            "$formkit": "number",
            "name": "epochs",
            "label": "Epochs",
            "value": 100,
            "placeholder": 100,
            "required": True,
            "min": 1,
            "max": 1000,
            "number": True,
        },
        {
            "$formkit": "number",
            "name": "learning_rate",
            "label": "Learning Rate",
            "value": 0.01,
            "placeholder": 0.01,
            "help": "Step",
            "required": True,
            "min": 0,
            "max": 1,
            "number": True,
        },
        {"$formkit": "text", "name": "note", "label": "Note", "required": True},
    ]
    assert list(found[1]) == [
        "$formkit",
        "name",
        "label",
        "value",
        "placeholder",
        "help",
        "required",
        "min",
        "max",
        "number",
    ]


@pytest.mark.parametrize("name", sorted(HYPERPARAMETER_EXCLUDED))
def test_the_platforms_own_fields(name: str) -> None:
    fields: dict[str, Any] = {name: (int, 1), "kept": (int, 1)}
    model = create_model("Model", **fields)
    assert [one["name"] for one in hyperparameter_ui_schema(model)] == ["kept"]
    assert [one["name"] for one in pydantic_to_ui_schema(model)] == [name, "kept"]


def test_inherited_fields_come_first() -> None:
    class More(Nested):
        y: int = 2

    assert [one["name"] for one in pydantic_to_ui_schema(More)] == ["x", "path", "y"]


def test_a_model_that_was_not_finished() -> None:
    class Early(BaseModel):
        later: Later | None = None
        count: int = 1

    class Later(BaseModel):
        a: int

    found = pydantic_to_ui_schema(Early)
    assert [(one["name"], one["$formkit"]) for one in found] == [
        ("later", "text"),
        ("count", "number"),
    ]
