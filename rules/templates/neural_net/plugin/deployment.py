"""Serving a trained model with Ray Serve."""

from typing import Any

from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseDeploymentAction, BaseServeDeployment

from .inference import InferenceParams
from .model import Classifier


class ClassifierDeployment(BaseServeDeployment[InferenceParams]):
    """What a replica does; it is made once, and asked for every request."""

    async def _get_model(self, model_info: dict[str, Any]) -> Classifier:
        return Classifier.load(model_info["path"])

    async def infer(self, rows: list[list[float]]) -> list[dict[str, Any]]:
        """Return `label` and `score` (0 to 1) of each row."""
        model = await self.get_model()
        found = [model.predict(row) for row in rows]
        return [{"label": label, "score": round(score, 4)} for label, score in found]


class DeploymentParams(BaseModel):
    """What to serve, and with how much."""

    model: int = Field(..., description="Model ID to serve")
    num_cpus: float = Field(default=1, gt=0, description="Processors of a replica")
    num_gpus: float = Field(default=0, ge=0, description="GPUs of a replica")
    dry_run: bool = Field(default=False, description="Check the model, stop before Ray Serve")


class DeploymentResult(BaseModel):
    """The application, as the platform knows it."""

    name: str
    route_prefix: str
    deployed: bool
    serve_application: int | None = None


class DeploymentAction(BaseDeploymentAction[DeploymentParams]):
    """Serve a trained model with Ray Serve."""

    entrypoint = ClassifierDeployment
    result_model = DeploymentResult

    def execute(self) -> DeploymentResult:
        """Make sure of the model, deploy, and tell the platform."""
        model = self.get_model(self.params.model)
        self.ctx.log_message(f"Serving {model['name']}", "info")
        self.set_progress(1, 1, self.progress.INITIALIZE)
        application = None
        if not self.params.dry_run:
            self.ray_init()
            self.deploy()
            self.set_progress(1, 1, self.progress.DEPLOY)
            application = self.register_serve_application()
            self.set_progress(1, 1, self.progress.REGISTER)
        return DeploymentResult(
            name=self.get_serve_app_name(),
            route_prefix=self.get_route_prefix(),
            deployed=not self.params.dry_run,
            serve_application=application,
        )
