"""Owns which backend a run talks to, and as whom."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from synapse_sdk.clients import places
from synapse_sdk.clients.backend import BackendClient
from synapse_sdk.clients.transport import origin

#: The platform, where nothing names another host.
DEFAULT_HOST = "https://api.synapse.sh"
#: The saved profile that stands for the embedded backend.
LOCAL = "local"
#: The saved profile at the top level of the file.
DEFAULT = "default"


@runtime_checkable
class _Listed(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


def get_client(env: Mapping[str, Any] | _Listed | None = None) -> BackendClient | None:
    """Return the client of a run, or None where there is nothing to talk to.

    In this order: the tokens of `env` (`SYNAPSE_ACCESS_TOKEN` with `SYNAPSE_HOST`, else
    `SYNAPSE_PLUGIN_RUN_USER_TOKEN` with `..._TENANT` and `..._URL_HOST`); the saved login, for
    the host that it was saved for; a host of `env` without a token (its refusal says what to
    do); the embedded backend, which starts when it is first asked something.

    Args:
        env: Variables of the run; by default those of this process. A `PluginEnvironment` or a
            mapping.
    """
    if env is None:
        variables: dict[str, Any] = dict(os.environ)
    else:
        variables = dict(env.to_dict() if isinstance(env, _Listed) else env)

    def text(*names: str) -> str | None:
        return next((str(variables[name]) for name in names if variables.get(name)), None)

    host = text("SYNAPSE_HOST", "SYNAPSE_PLUGIN_RUN_URL_HOST")
    profile, saved = _saved(text("SYNAPSE_PROFILE"))
    saved_host = _word(saved, "host")
    access = text("SYNAPSE_ACCESS_TOKEN")
    user = text("SYNAPSE_PLUGIN_RUN_USER_TOKEN")
    if access or user:
        return BackendClient(
            host or saved_host or DEFAULT_HOST,
            access,
            user_token=user,
            tenant=text("SYNAPSE_PLUGIN_RUN_TENANT"),
        )
    if host is None and profile == LOCAL:
        return _embedded()
    wanted = host or saved_host or DEFAULT_HOST
    if origin(wanted) == origin(saved_host or DEFAULT_HOST):
        access, user = _word(saved, "access_token"), _word(saved, "user_token")
        if access or user:
            return BackendClient(wanted, access, user_token=user, tenant=_word(saved, "tenant"))
    if host is not None:
        return BackendClient(host)
    return _embedded()


def _embedded() -> BackendClient | None:
    from synapse_sdk.clients.embedded import EmbeddedClient, available

    return EmbeddedClient() if available() else None


def _saved(wanted: str | None) -> tuple[str, dict[str, Any]]:
    """Return the profile in use and its saved login.

    A file that cannot be read is as good as none, and so is a profile that is not in it.

    Args:
        wanted: The profile that the environment names, which comes before the file's own.
    """
    try:
        content = json.loads(places.config_file().read_bytes())
    except (OSError, ValueError, RuntimeError):
        content = {}
    if not isinstance(content, dict):
        content = {}
    name = wanted or _word(content, "profile") or DEFAULT
    # What is saved at the top may still be for the host that `SYNAPSE_HOST` names.
    if name in (DEFAULT, LOCAL):
        return name, content
    profiles = content.get("profiles")
    login = profiles.get(name) if isinstance(profiles, dict) else None
    return name, login if isinstance(login, dict) else {}


def _word(saved: Mapping[str, Any], name: str) -> str | None:
    value = saved.get(name)
    return value if isinstance(value, str) and value else None
