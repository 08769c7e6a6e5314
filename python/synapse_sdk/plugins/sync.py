"""Owns which facts of an action's code belong into its config, and in what form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from synapse_sdk.plugins.enums import ACTION_DEFAULT_METHODS, RunMethod
from synapse_sdk.plugins.results import plain
from synapse_sdk.plugins.ui_schema import (
    HYPERPARAMETER_EXCLUDED,
    hyperparameter_ui_schema,
    is_hidden,
    pydantic_to_ui_schema,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from synapse_sdk.plugins.discovery import PluginDiscovery

# Changed keys by action.
Changes: TypeAlias = dict[str, list[str]]

_GROUP = {"$formkit": "text", "name": "group_name", "label": "묶음 이름"}


def types(found: Any) -> dict[str, str]:
    """Return the method and semantic types that an action's class states."""
    facts = {}
    method = getattr(found, "method", None)
    if isinstance(method, str):
        facts["method"] = str(plain(method))
    for key in ("input_type", "output_type"):
        kind = getattr(found, key, None)
        if kind is not None:
            facts[key] = str(kind.name)
    return facts


def facts(plugin: PluginDiscovery, name: str, *, forms: bool = True) -> dict[str, Any]:
    """Return the keys of an action's config that follow from its code, with their values."""
    action = plugin.get_action_class(name)
    found = types(action)
    known = ACTION_DEFAULT_METHODS.get(name)
    # Of an inference the name says little: it is served when its class can be.
    if "method" not in found and known and (known != RunMethod.SERVE or _serves(action)):
        found["method"] = known.value
    return {**found, **(_forms(plugin, name) if forms else {})}


def _serves(action: type) -> bool:
    return any(base.__name__ == "BaseServeDeployment" for base in action.__mro__)


def _forms(plugin: PluginDiscovery, name: str) -> dict[str, Any]:
    if name not in ("train", "tune", "upload"):
        return {}
    written = plugin.written(name)
    model = plugin.get_action_params_model(name)
    model = None if model is None or is_hidden(model) else model
    if name == "upload":
        there = written.get("ui_schema")
        return {} if there and not isinstance(there, list) else {"ui_schema": _upload(model, there)}
    if model is None:
        return {}
    hyperparameters = written.get("hyperparameters")
    kept = hyperparameters if isinstance(hyperparameters, dict) else {}
    items = plain(hyperparameter_ui_schema(model), finite=True)
    if not items and kept.get("train_ui_schemas") is None:
        return {}
    return {"hyperparameters": {**kept, "train_ui_schemas": items}}


def _upload(model: type[BaseModel] | None, there: list[Any] | None) -> list[Any]:
    """Return an upload's form: without a model what is `there`, always with the group's field."""
    own = [item for item in there or [] if _name(item) == _GROUP["name"]]
    items = list(there or [])
    if model is not None:
        form = plain(pydantic_to_ui_schema(model), finite=True)
        items = [item for item in form if item["name"] not in HYPERPARAMETER_EXCLUDED]
    if not any(_name(item) == _GROUP["name"] for item in items):
        items.append(own[0] if own else dict(_GROUP))
    return items


def _name(item: Any) -> Any:
    return item.get("name") if isinstance(item, dict) else None
