"""Owns calls that a default action needs and that not every backend client has.

The platform's API, as far as this release speaks it, has no data collections, data units,
projects or tasks. An action that needs one asks the run's client for it: another client, or a
mock, may have it; otherwise the run ends here, saying what to override.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from synapse_sdk.plugins.errors import ExecutionError


def backend_call(client: Any, name: str, instead: str) -> Callable[..., Any]:
    """Return the client's method `name`.

    Args:
        client: The run's client.
        name: Of the method.
        instead: What the plugin's author can do without it.

    Raises:
        ExecutionError: The client has no such method.
    """
    call = getattr(client, name, None)
    if call is None:
        raise ExecutionError(
            f"the backend API of this release has no {name}: {instead}", {"call": name}
        )
    found: Callable[..., Any] = call
    return found
