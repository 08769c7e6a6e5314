"""Owns `BaseInferenceAction`: loading models, and inferring in one piece or in steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.backend import BackendHelpers, param
from synapse_sdk.plugins.actions.inference.context import InferenceContext
from synapse_sdk.plugins.actions.inference.progress import InferenceProgressCategories
from synapse_sdk.plugins.actions.steps_flow import run_steps
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.steps import StepRegistry

P = TypeVar("P", bound=BaseModel)


class BaseInferenceAction(BackendHelpers, BaseAction[P], Generic[P]):
    """Base of inference actions: override `execute`, or `setup_steps` for a run in steps."""

    category = PluginCategory.NEURAL_NET
    progress: ClassVar[type[InferenceProgressCategories]] = InferenceProgressCategories

    def run(self) -> Any:
        """Run the registered steps, else `execute`.

        With steps the result is the orchestrator's, with `processed_count`, and `results` where
        there are some.
        """
        registry: StepRegistry[InferenceContext] = StepRegistry()
        self.setup_steps(registry)
        if not registry:
            return self.execute()
        context = self.create_context()
        result = run_steps(registry, context)
        result["processed_count"] = context.processed_count
        if context.results:
            result["results"] = context.results
        return result

    def setup_steps(self, registry: StepRegistry[InferenceContext]) -> None:
        """Register steps; none by default."""

    def create_context(self) -> InferenceContext:
        """Return the state that the steps share."""
        return InferenceContext(
            runtime_ctx=self.ctx,
            params=self.params,
            model_id=param(self.params, "model_id") or param(self.params, "model"),
            batch_size=param(self.params, "batch_size") or 1,
        )

    def download_model(self, model_id: int, output_dir: str | Path | None = None) -> Path:
        """Download a model; one that is on this machine already is not downloaded again.

        Args:
            model_id: Id of the model.
            output_dir: Folder to copy it to; by default it stays in the cache, read-only.

        Returns:
            The file; the folder for a model that was uploaded as one.

        Raises:
            ValueError: The model has no file.
            NoClientError: The run has no backend.
        """
        path = self._model_path(self.get_model(model_id))
        return path if output_dir is None else _copy(path, Path(output_dir))

    def load_model(self, model_id: int) -> dict[str, Any]:
        """Return what the backend says of a model, with the local `path` of its file."""
        model = self.get_model(model_id)
        model["path"] = str(self._model_path(model))
        return model

    def infer(self, model: Any, inputs: list[Any]) -> list[Any]:
        """Infer a batch. To be overridden by plugins that call it.

        Args:
            model: What the plugin loaded.
            inputs: A batch.

        Returns:
            One result for each input, in their order.

        Raises:
            NotImplementedError: Unless overridden.
        """
        raise NotImplementedError(f"{type(self).__name__} has no infer(model, inputs)")


def _copy(path: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        # Without the cache's read-only mode: the copy is the caller's.
        shutil.copyfile(path, target)
    return target
