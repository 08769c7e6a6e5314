"""Owns which facts of an action's code belong into its config, and in what form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from synapse_sdk.plugins.enums import ACTION_DEFAULT_METHODS
from synapse_sdk.plugins.results import plain
from synapse_sdk.plugins.ui_schema import hyperparameter_ui_schema, pydantic_to_ui_schema

if TYPE_CHECKING:
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
    found = types(plugin.get_action_class(name))
    if "method" not in found and name in ACTION_DEFAULT_METHODS:
        found["method"] = str(plain(ACTION_DEFAULT_METHODS[name]))
    return {**found, **(_forms(plugin, name) if forms else {})}


def _forms(plugin: PluginDiscovery, name: str) -> dict[str, Any]:
    if name not in ("train", "tune", "upload"):
        return {}
    model = plugin.get_action_params_model(name)
    if name == "upload":
        items = [] if model is None else plain(pydantic_to_ui_schema(model), finite=True)
        if not any(item["name"] == _GROUP["name"] for item in items):
            items.append(dict(_GROUP))
        return {"ui_schema": items}
    if model is None:
        return {}
    written = plugin.written(name).get("hyperparameters")
    kept = written if isinstance(written, dict) else {}
    items = plain(hyperparameter_ui_schema(model), finite=True)
    return {"hyperparameters": {**kept, "train_ui_schemas": items}} if items else {}
