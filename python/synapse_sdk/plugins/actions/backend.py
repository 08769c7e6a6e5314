"""Owns what every base action asks of the backend: its client, models, the download cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.errors import ExecutionError

if TYPE_CHECKING:
    from synapse_sdk.clients.backend import BackendClient
    from synapse_sdk.clients.cache import DownloadCache
    from synapse_sdk.plugins.context import RuntimeContext

NO_CLIENT = (
    "No client in context. Backend client is None: use --mode remote or mock the client. "
    "Locally, the `synapse` command gives one: put it on PATH, or name it in SYNAPSE_BIN."
)


class NoClientError(ExecutionError, RuntimeError):
    """The run has no backend, and was asked for something that only a backend has."""

    def __init__(self, message: str = NO_CLIENT) -> None:
        super().__init__(message)


def require_client(ctx: RuntimeContext) -> BackendClient:
    """Return the run's client.

    Raises:
        NoClientError: There is none; the text says what to do.
    """
    client: BackendClient | None = ctx.client
    if client is None:
        raise NoClientError
    return client


def download_cache(ctx: RuntimeContext) -> DownloadCache:
    """Return the cache that the run downloads into: its `cache_dir`, else the user's."""
    from synapse_sdk.clients import places
    from synapse_sdk.clients.cache import DownloadCache

    own = getattr(ctx, "cache_dir", None)
    return DownloadCache(Path(own) if own else places.downloads(), require_client(ctx))


def param(params: Any, name: str, default: Any = None) -> Any:
    """Return the value `name` of params, which are a model, or a dict where there is none."""
    if isinstance(params, dict):
        return params.get(name, default)
    return getattr(params, name, default)


class BackendHelpers:
    """The helpers that the base actions share. Mixed into them; needs `self.ctx`."""

    ctx: RuntimeContext

    @property
    def client(self) -> BackendClient:
        """The backend's client.

        Raises:
            NoClientError: The run has none.
        """
        return require_client(self.ctx)

    def get_model(self, model_id: int) -> dict[str, Any]:
        """Return what the backend says of a model: id, name, category, file, checksum, ...

        Args:
            model_id: Id of the model.

        Raises:
            NoClientError: The run has no backend.
            synapse_sdk.exceptions.NotFoundError: There is no such model.
        """
        return dict(self.client.get_model(model_id))

    def _model_path(self, model: dict[str, Any]) -> Path:
        return download_cache(self.ctx).model(model)
