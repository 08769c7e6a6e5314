"""Owns `BaseServeDeployment`: the class that answers requests in a Ray Serve replica."""

from __future__ import annotations

import base64
import json
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.deployment.action import ray_module
from synapse_sdk.plugins.errors import ExecutionError, ModelLoadError

P = TypeVar("P", bound=BaseModel)


def create_serve_multiplexed_model_id(
    model_id: int | str, token: str, backend_url: str, tenant: str | None = None
) -> str:
    """Return the id under which a replica is asked for a model.

    It carries what the replica needs to fetch the model, the token too: it is a secret.

    Args:
        model_id: Id of the model at the backend.
        token: Access token; the user's token where `tenant` is given.
        backend_url: The backend that the token is for.
        tenant: The tenant that the token acts for.
    """
    content = {"model": model_id, "token": token, "backend": backend_url, "tenant": tenant}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def read_serve_multiplexed_model_id(value: str) -> dict[str, Any]:
    """Return `model`, `token`, `backend` and `tenant` of such an id.

    Raises:
        ModelLoadError: It is none; the text does not quote it.
    """
    try:
        content = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
        return {name: content[name] for name in ("model", "token", "backend", "tenant")}
    except (ValueError, KeyError, TypeError):
        raise ModelLoadError("the request names no model in the form that it should") from None


class BaseServeDeployment(BaseAction[P], Generic[P]):
    """Base of serve classes.

    Args:
        backend_url: The backend whose models are served; a token is sent to no other.
    """

    def __init__(self, backend_url: str) -> None:
        self.backend_url = backend_url

    @classmethod
    def dispatch(cls, params: dict[str, Any], ctx: Any) -> Any:
        """Ask the deployed application; comes with Ray.

        Raises:
            ExecutionError: Always, until it does.
        """
        raise ExecutionError(
            f"{cls.__name__} answers requests in Ray Serve; it cannot be run as an action here"
        )

    def execute(self) -> Any:
        """Serve classes are asked, not executed."""
        raise ExecutionError(f"{type(self).__name__} answers requests; it has no execute")

    @abstractmethod
    async def _get_model(self, model_info: dict[str, Any]) -> Any:
        """Return the loaded model that `model_info` (with the local `path`) describes."""

    @abstractmethod
    async def infer(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one request."""

    async def infer_batch(self, inputs: list[Any]) -> list[Any]:
        """Answer several requests; by default one after the other."""
        return [await self.infer(item) for item in inputs]

    async def get_model(self) -> Any:
        """Return the model that the current request names, loaded.

        Raises:
            ModelLoadError: The request names none, or one of another backend.
            ExecutionError: Ray is not installed.
        """
        import asyncio

        from synapse_sdk.clients import places
        from synapse_sdk.clients.backend import BackendClient
        from synapse_sdk.clients.cache import DownloadCache
        from synapse_sdk.clients.transport import origin

        wanted = read_serve_multiplexed_model_id(
            str(ray_module("ray.serve").get_multiplexed_model_id())
        )
        if origin(str(wanted["backend"])) != origin(self.backend_url):
            raise ModelLoadError("the request names a model of another backend")
        token, tenant = str(wanted["token"]), wanted["tenant"]
        client = (
            BackendClient(self.backend_url, user_token=token, tenant=tenant)
            if tenant
            else BackendClient(self.backend_url, token)
        )

        def fetch() -> dict[str, Any]:
            info = dict(client.get_model(wanted["model"]))
            info["path"] = str(DownloadCache(places.downloads(), client).model(info))
            return info

        # Slow to import, and most that import this module never serve.

        info = await asyncio.get_running_loop().run_in_executor(None, fetch)
        return await self._get_model(info)

    async def handle_inference(
        self,
        body: dict[str, Any],
        input_model: type[BaseModel],
        runner: Callable[[BaseModel], Awaitable[Any]],
        deadline_s: float | None = None,
    ) -> Any:
        """Check a request's body, run it, and give up after `deadline_s` seconds.

        Raises:
            pydantic.ValidationError: The body is not what `input_model` says.
            asyncio.TimeoutError: The deadline passed.
        """
        import asyncio

        return await asyncio.wait_for(runner(input_model.model_validate(body)), deadline_s)
