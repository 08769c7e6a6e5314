"""Owns the clients of the platform's HTTP API, and how one is found for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synapse_sdk.clients.backend import BackendClient
    from synapse_sdk.clients.credentials import get_client
    from synapse_sdk.clients.embedded import EmbeddedClient, embedded_backend

_HOMES = {
    "BackendClient": "backend",
    "EmbeddedClient": "embedded",
    "embedded_backend": "embedded",
    "get_client": "credentials",
}

__all__ = ["BackendClient", "EmbeddedClient", "embedded_backend", "get_client"]


def __getattr__(name: str) -> Any:
    """Import an export when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name the exports, imported or not."""
    return sorted({*globals(), *__all__})
