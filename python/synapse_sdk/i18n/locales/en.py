"""Owns the English texts."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "PLUGIN_RUN_COMPLETE": "Plugin run is complete.",
}
