"""Owns which release of which plugin a run belongs to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synapse_sdk.plugins.context import RuntimeContext

CODE_VARIABLE = "SYNAPSE_PLUGIN_RELEASE_CODE"


def _text(ctx: RuntimeContext, name: str) -> str | None:
    value = ctx.env.get(name) or os.environ.get(name)
    return str(value) if value else None


def release_code(ctx: RuntimeContext) -> str | None:
    """Return `CODE@VERSION` of the run's plugin, or None where nothing tells it.

    It comes from the run itself, else from `SYNAPSE_PLUGIN_RELEASE_CODE`, else from the
    config.yaml (or synapse.yaml) of the working directory.
    """
    plugin = getattr(ctx, "plugin", None)
    if isinstance(plugin, dict) and plugin.get("code") and plugin.get("version"):
        return f"{plugin['code']}@{plugin['version']}"
    if told := _text(ctx, CODE_VARIABLE):
        return told
    for name in ("config.yaml", "synapse.yaml"):
        path = Path(name)
        if not path.is_file():
            continue
        from synapse_sdk._yaml import load_config

        try:
            config = load_config(path)
        except Exception:  # a broken config is reported where configs are read
            return None
        code, version = config.get("code"), config.get("version")
        return f"{code}@{version}" if code and version else None
    return None


def release_fields(ctx: RuntimeContext) -> dict[str, Any]:
    """Return the fields `plugin` and `version` of what the run creates."""
    code, _, version = (release_code(ctx) or "").partition("@")
    fields = {"plugin": code, "version": version}
    return {name: value for name, value in fields.items() if value}
