"""Owns how actions are executed: the protocol of executors, and the local one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synapse_sdk.plugins.executors.local import LocalExecutor
    from synapse_sdk.plugins.executors.protocol import ExecutorProtocol
    from synapse_sdk.plugins.results import ActionResult

__all__ = ["ActionResult", "ExecutorProtocol", "LocalExecutor"]

_HOMES = {
    "ActionResult": "synapse_sdk.plugins.results",
    "ExecutorProtocol": "synapse_sdk.plugins.executors.protocol",
    "LocalExecutor": "synapse_sdk.plugins.executors.local",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
