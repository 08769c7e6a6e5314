"""Owns small look-ups in a plugin's config and its requirements file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synapse_sdk.plugins.enums import ACTION_DEFAULT_METHODS, RunMethod

__all__ = ["get_action_config", "get_action_method", "get_plugin_actions", "read_requirements"]


def get_plugin_actions(config: Any) -> list[str]:
    """The names of a plugin's actions, in the config's order.

    Args:
        config: a PluginConfig, or the parsed config.yaml as a dict.
    """
    return list(_actions(config))


def get_action_config(config: Any, action: str) -> dict[str, Any]:
    """One action's configuration as a dict; a bare string counts as its entrypoint.

    Raises:
        KeyError: there is no such action; the text has those that there are.
    """
    actions = _actions(config)
    if action not in actions:
        known = ", ".join(actions) or "none"
        raise KeyError(f"Action '{action}' not found. Available actions: {known}")
    found = actions[action]
    if isinstance(found, str):
        return {"entrypoint": found}
    if isinstance(found, Mapping):
        return dict(found)
    dumped: dict[str, Any] = found.model_dump()
    return dumped


def get_action_method(config: Any, action: str) -> RunMethod:
    """How an action is run: its `method`, else that of its well-known name, else `task`.

    Raises:
        KeyError: there is no such action.
        ValueError: the config has a method that there is not.
    """
    found = get_action_config(config, action)
    one = _actions(config)[action]
    method = found.get("method")
    if "method" not in getattr(one, "model_fields_set", found):
        # What an ActionConfig says of itself then is only a default.
        method = None
    return RunMethod(method or ACTION_DEFAULT_METHODS.get(action, RunMethod.TASK))


def read_requirements(path: str | Path) -> list[str]:
    """The lines of a requirements file, without comments, empty lines and line continuations.

    A folder means its requirements.txt. A file that is not there has no requirements.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "requirements.txt"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    lines = text.replace("\\\r\n", "").replace("\\\n", "").splitlines()
    # As pip reads it: `#` begins a comment only at the start or after white space.
    stripped = (f" {line}".replace("\t#", " #").partition(" #")[0].strip() for line in lines)
    return [line for line in stripped if line]


def _actions(config: Any) -> dict[str, Any]:
    found = config.get("actions") if isinstance(config, Mapping) else config.actions
    return dict(found or {})
