"""Owns `BaseDeploymentAction`: putting a serve class onto Ray Serve, and telling the backend.

Serving comes with Ray: without it `ray_init` and `deploy` say what to install.
"""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.backend import BackendHelpers, param
from synapse_sdk.plugins.actions.deployment.context import (
    DeploymentContext,
    DeploymentProgressCategories,
)
from synapse_sdk.plugins.actions.release import CODE_VARIABLE, release_code
from synapse_sdk.plugins.actions.steps_flow import run_steps
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.errors import ExecutionError
from synapse_sdk.plugins.steps import StepRegistry

P = TypeVar("P", bound=BaseModel)

CHECKSUM_VARIABLE = "SYNAPSE_PLUGIN_RELEASE_CHECKSUM"


def ray_module(name: str = "ray") -> Any:
    """Import a module of Ray.

    Raises:
        ExecutionError: Ray is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ExecutionError(
            "serving needs Ray: pip install 'synapse-sdk[ray]'", {"module": name}
        ) from error


class BaseDeploymentAction(BackendHelpers, BaseAction[P], Generic[P]):
    """Base of deployment actions: override `execute`, or `setup_steps` for a run in steps."""

    category = PluginCategory.NEURAL_NET
    progress: ClassVar[type[DeploymentProgressCategories]] = DeploymentProgressCategories
    #: The serve class to deploy.
    entrypoint: ClassVar[type | None] = None

    def run(self) -> Any:
        """Run the registered steps, else `execute`."""
        registry: StepRegistry[DeploymentContext] = StepRegistry()
        self.setup_steps(registry)
        if not registry:
            return self.execute()
        context = self.create_context()
        result = run_steps(registry, context)
        result["serve_application"] = context.serve_app_id
        return result

    def setup_steps(self, registry: StepRegistry[DeploymentContext]) -> None:
        """Register steps; none by default."""

    def create_context(self) -> DeploymentContext:
        """Return the state that the steps share."""
        return DeploymentContext(
            runtime_ctx=self.ctx,
            params=self.params,
            serve_app_name=self.get_serve_app_name(),
            route_prefix=self.get_route_prefix(),
        )

    def get_serve_app_name(self) -> str:
        """Return `CODE@VERSION` of the plugin, as which its application is served.

        Raises:
            RuntimeError: Nothing tells it.
        """
        name = release_code(self.ctx)
        if name is None:
            raise RuntimeError(
                f"the release is not known: set {CODE_VARIABLE}, or run where config.yaml is"
            )
        return name

    def get_route_prefix(self) -> str:
        """Return the path that the application answers under."""
        told = self.ctx.env.get(CHECKSUM_VARIABLE) or os.environ.get(CHECKSUM_VARIABLE)
        name = self.get_serve_app_name().encode()
        return f"/{told or hashlib.md5(name, usedforsecurity=False).hexdigest()}"

    def get_ray_actor_options(self) -> dict[str, Any]:
        """Return what one replica needs: num_cpus, num_gpus and memory of the params."""
        options: dict[str, Any] = {}
        for name in ("num_cpus", "num_gpus", "memory"):
            value = param(self.params, name)
            if value is not None:
                options[name] = value
        if runtime_env := self.get_runtime_env():
            options["runtime_env"] = runtime_env
        return options

    def get_serve_options(self) -> dict[str, Any]:
        """Return the `serve_options` of this action in config.yaml."""
        for name in ("config.yaml", "synapse.yaml"):
            path = Path(name)
            if not path.is_file():
                continue
            from synapse_sdk._yaml import load_config

            actions = load_config(path).get("actions") or {}
            own = actions.get(self.action_name or "deployment")
            options = own.get("serve_options") if isinstance(own, dict) else None
            return dict(options or {})
        return {}

    def get_runtime_env(self) -> dict[str, Any]:
        """Return the Ray runtime_env of the replicas: the packages of requirements.txt."""
        path = Path("requirements.txt")
        if not path.is_file():
            return {}
        lines = (line.strip() for line in path.read_text("utf-8").splitlines())
        packages = [line for line in lines if line and not line.startswith("#")]
        return {"pip": packages} if packages else {}

    def ray_init(self, **options: Any) -> None:
        """Connect to Ray, once.

        Raises:
            ExecutionError: Ray is not installed.
        """
        ray = ray_module()
        if not ray.is_initialized():
            ray.init(**options)

    def deploy(self) -> None:
        """Put `entrypoint` onto Ray Serve.

        Raises:
            ExecutionError: Ray is not installed, or the class names no entrypoint.
        """
        if self.entrypoint is None:
            raise ExecutionError(f"{type(self).__name__}.entrypoint names no serve class")
        serve = ray_module("ray.serve")
        options = {"ray_actor_options": self.get_ray_actor_options(), **self.get_serve_options()}
        deployment = serve.deployment(**options)(self.entrypoint)
        serve.run(
            deployment.bind(self.client.base_url),
            name=self.get_serve_app_name(),
            route_prefix=self.get_route_prefix(),
        )

    def register_serve_application(self) -> int | None:
        """Tell the backend of the application; returns its id there, None without a backend."""
        if self.ctx.client is None:
            return None
        answer = self.client.register_serve_application(
            {"job": self.ctx.job_id, "name": self.get_serve_app_name(), "status": "RUNNING"}
        )
        found = answer.get("id")
        return int(found) if found is not None else None
