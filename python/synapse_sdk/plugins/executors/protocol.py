"""Owns what an executor is."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ExecutorProtocol(Protocol):
    """Executes an action with params and returns what it returned."""

    def execute(self, action_cls: Any, params: Any = None, **kwargs: Any) -> Any:
        """Execute `action_cls`, an action class or function, with `params`.

        Raises ValidationError for params that the action refuses, any PluginError that the action
        raises, and ExecutionError for everything else.
        """
