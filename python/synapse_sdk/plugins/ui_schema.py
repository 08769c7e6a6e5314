"""Owns the way from a params model to the platform's form schema (FormKit)."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from synapse_sdk.plugins.results import plain

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

__all__ = [
    "HYPERPARAMETER_EXCLUDED",
    "get_action_ui_schema",
    "hyperparameter_ui_schema",
    "pydantic_to_ui_schema",
]

HYPERPARAMETER_EXCLUDED = frozenset(
    {
        "data_path",
        "dataset_path",
        "dataset",
        "splits",
        "checkpoint",
        "model_path",
        "weights_path",
        "output_path",
        "work_dir",
        "is_tune",
        "hyperparameters",
    }
)
"""Fields that the platform's own form has already."""

_OVERRIDES = ("options", "help", "required", "step", "min", "max", "label")

_BOUNDS = (("ge", "min"), ("gt", "min"), ("le", "max"), ("lt", "max"), ("multiple_of", "step"))


def pydantic_to_ui_schema(model: type[BaseModel]) -> list[dict[str, Any]]:
    """One form item per field, in the model's order, of plain JSON values.

    Keys come in the order `$formkit, name, label, value, placeholder, help, required, min, max,
    step, number`, those that apply, then what `json_schema_extra` adds. A field or model with
    `json_schema_extra={"exclude_from_ui": True}` is left out.
    """
    if not model.__pydantic_complete__:
        model.model_rebuild(raise_errors=False)
    if is_hidden(model):
        return []
    return [
        _item(name, field)
        for name, field in model.model_fields.items()
        if not _extra(field.json_schema_extra).get("exclude_from_ui")
    ]


def is_hidden(model: type[BaseModel]) -> bool:
    """True for a model that says `exclude_from_ui` of itself: it has no form at all."""
    return bool(_extra(model.model_config.get("json_schema_extra")).get("exclude_from_ui"))


def get_action_ui_schema(model: type[BaseModel] | None, name: str) -> dict[str, Any]:
    """`{"action": name, "ui_schemas": [items]}`; no items without a model."""
    return {"action": name, "ui_schemas": [] if model is None else pydantic_to_ui_schema(model)}


def hyperparameter_ui_schema(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The form of a training's hyperparameters, as `hyperparameters.train_ui_schemas` has it.

    As `pydantic_to_ui_schema`, without the fields that the platform asks for itself, and with
    every item required.
    """
    return [
        _required(item)
        for item in pydantic_to_ui_schema(model)
        if item["name"] not in HYPERPARAMETER_EXCLUDED
    ]


def _required(item: dict[str, Any]) -> dict[str, Any]:
    """The item with `required: true` in its place in the order of keys."""
    if "required" in item:
        return {**item, "required": True}
    head = ("$formkit", "name", "label", "value", "placeholder", "help")
    required = {key: item[key] for key in head if key in item}
    required["required"] = True
    return {**required, **item}


def _item(name: str, field: FieldInfo) -> dict[str, Any]:
    formkit = _formkit(field.annotation)
    item: dict[str, Any] = {
        "$formkit": formkit,
        "name": name,
        "label": name.replace("_", " ").title(),
    }
    if not field.is_required() and field.default_factory is None and field.default is not None:
        # Twice, since the two must not be one object: YAML would write an anchor.
        item["value"] = plain(field.default)
        item["placeholder"] = plain(field.default)
    if field.description:
        item["help"] = field.description
    if field.is_required():
        item["required"] = True
    bounds = _bounds(field.metadata)
    item.update({key: bounds[key] for key in ("min", "max", "step") if key in bounds})
    if formkit == "number":
        item["number"] = True
    extra = _extra(field.json_schema_extra)
    if "formkit" in extra:
        item["$formkit"] = plain(extra["formkit"])
    item.update({key: plain(extra[key]) for key in _OVERRIDES if key in extra})
    return item


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for constraint in metadata:
        for attribute, key in _BOUNDS:
            value = getattr(constraint, attribute, None)
            if value is not None:
                bounds[key] = plain(value)
    return bounds


def _formkit(annotation: Any) -> str:
    if annotation is bool or annotation is list:
        return "checkbox"
    if annotation is int or annotation is float:
        return "number"
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is list and not arguments:  # typing.List
        return "checkbox"
    if origin is None or origin is Literal or origin is type or not arguments:
        return "text"
    if origin is Annotated:
        return _formkit(arguments[0])
    if origin is Union or origin is UnionType:
        return next((_formkit(one) for one in arguments if one is not type(None)), "text")
    return _formkit(arguments[0])


def _extra(extra: Any) -> dict[str, Any]:
    return extra if isinstance(extra, dict) else {}
