"""Owns checking ids in params against the backend, while params are validated."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationInfo

from synapse_sdk import exceptions as errors


def check_name(value: str) -> str:
    """Return a name without surrounding space.

    Raises:
        ValueError: Nothing is left of it.
    """
    stripped = value.strip()
    if not stripped:
        raise ValueError("must not be blank")
    return stripped


def check_known(value: int | None, info: ValidationInfo, call: str, noun: str) -> int | None:
    """Check that the backend knows the id `value`, where there is a backend to ask.

    Args:
        value: The id.
        info: Its context's `client` is asked.
        call: The client's method.
        noun: What the id is of, for the message.

    Raises:
        ValueError: The backend does not know it.
    """
    client: Any = (info.context or {}).get("client")
    ask = getattr(client, call, None)
    if value is None or ask is None:
        return value
    try:
        ask(value)
    except errors.NotFoundError:
        raise ValueError(f"the backend has no {noun} {value}") from None
    return value
