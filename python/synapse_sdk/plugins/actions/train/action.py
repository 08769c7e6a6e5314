"""Owns `BaseTrainAction`: the helpers of a training, and how its execute is called."""

from __future__ import annotations

import inspect
import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.backend import BackendHelpers, download_cache, param
from synapse_sdk.plugins.actions.release import release_fields
from synapse_sdk.plugins.actions.steps_flow import run_steps
from synapse_sdk.plugins.actions.train.context import TrainContext
from synapse_sdk.plugins.actions.train.log_messages import TrainLogMessageCode
from synapse_sdk.plugins.actions.train.progress import TrainProgressCategories
from synapse_sdk.plugins.actions.train.steps import (
    ConvertDatasetStep,
    ExportDatasetStep,
    ModelUploadStep,
    TrainExecuteStep,
)
from synapse_sdk.plugins.enums import MetricsCategory, PluginCategory
from synapse_sdk.plugins.log_messages import LogMessageCode
from synapse_sdk.plugins.steps import StepRegistry

P = TypeVar("P", bound=BaseModel)


class BaseTrainAction(BackendHelpers, BaseAction[P], Generic[P]):
    """Base of training actions.

    `execute` comes in two shapes, told apart by its signature. `execute(self)` does all of the
    work, with the helpers below, and what it returns is the result. `execute(self, data_path,
    checkpoint)` trains only: dataset, conversion and upload of the model are steps around it,
    and the result says how many ran. Overriding `setup_steps` replaces both by own steps.
    """

    category = PluginCategory.NEURAL_NET
    progress: ClassVar[type[TrainProgressCategories]] = TrainProgressCategories
    #: Validation metrics of the trial that this instance runs, in a tuning run.
    _trial_metrics: dict[str, Any] | None = None
    #: Format that the dataset is converted to before training: yolo, coco or pascal_voc.
    target_format: ClassVar[str | None] = None

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Train. To be overridden, as `execute(self)` or `execute(self, data_path, checkpoint)`.

        In the second shape `data_path` is the dataset's description file, else its folder, and
        `checkpoint` what `get_checkpoint` returns. Returned `weights_path` is uploaded.

        Raises:
            NotImplementedError: Unless overridden.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no execute(self) or execute(self, data_path, checkpoint)"
        )

    @classmethod
    def takes_data(cls) -> bool:
        """Say whether this class's execute is the shape with data_path and checkpoint."""
        if cls.execute is BaseTrainAction.execute:
            return True
        try:
            inspect.signature(cls.execute).bind(None, None, None)
        except TypeError:
            return False
        return True

    def run(self) -> Any:
        """Run the training: own steps, the automatic steps, a tuning, or the plain execute."""
        own_steps = type(self).setup_steps is not BaseTrainAction.setup_steps
        if param(self.params, "is_tune"):
            from synapse_sdk.plugins.actions.train.tune import run_tune

            return run_tune(self)
        if not own_steps and not self.takes_data():
            return self.execute()
        registry: StepRegistry[TrainContext] = StepRegistry()
        self.setup_steps(registry)
        context = self.create_context()
        result = run_steps(registry, context)
        result = {**context.trained, **result}
        if context.model is not None:
            result["model_id"] = context.model.get("id")
        return result

    def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
        """Register the steps: dataset, convert, train, model_upload, as far as they apply."""
        if param(self.params, "dataset") is not None:
            registry.register(ExportDatasetStep(self))
            if self.target_format:
                registry.register(ConvertDatasetStep(self.target_format))
        registry.register(TrainExecuteStep(self))
        registry.register(ModelUploadStep(self))

    def create_context(self) -> TrainContext:
        """Return the state that the steps share."""
        return TrainContext(runtime_ctx=self.ctx, params=self.params)

    @classmethod
    def get_log_message_code_class(cls) -> type[LogMessageCode]:
        """Return the messages of trainings."""
        return TrainLogMessageCode

    # Helpers.

    def get_dataset(self) -> dict[str, Any]:
        """Return the dataset `params.dataset`, downloaded.

        Files are kept by content: what is on this machine already is not downloaded again.
        Where params have `splits`, only those splits.

        Returns:
            `id`, `name`, `path` (folder), `splits` (files per split), `format`, `count` (files).

        Raises:
            ValueError: The params name no dataset.
            NoClientError: The run has no backend.
            synapse_sdk.exceptions.ClientError: The backend has no such dataset, or failed.
        """
        dataset_id = param(self.params, "dataset")
        if dataset_id is None:
            raise ValueError("params.dataset is not set: there is no dataset to get")
        local = download_cache(self.ctx).dataset(dataset_id, splits=_splits(self.params))
        self.ctx.log_dev_event(
            f"dataset {dataset_id}: {local.count} files, {local.downloaded} downloaded",
            {"dataset": dataset_id, "count": local.count, "downloaded": local.downloaded},
        )
        return {
            "id": local.version.get("id", dataset_id),
            "name": local.version.get("name") or str(dataset_id),
            "path": str(local.path),
            "splits": local.splits,
            "format": local.version.get("format"),
            "count": local.count,
        }

    def get_checkpoint(self) -> dict[str, Any] | None:
        """Return the model to start from, downloaded: that of the run, else `params.checkpoint`.

        Returns:
            `category` ("base" for a pretrained one), `path`, `id`, `name`; None without one.
        """
        if self.ctx.checkpoint:
            return self.ctx.checkpoint
        model_id = param(self.params, "checkpoint")
        if model_id is None:
            return None
        model = self.get_model(model_id)
        return {
            "category": model.get("category") or "fine_tuned",
            "path": str(self._model_path(model)),
            "id": model.get("id", model_id),
            "name": model.get("name") or str(model_id),
        }

    def create_model(self, path: str | Path, **fields: Any) -> dict[str, Any]:
        """Upload a trained model.

        Args:
            path: The weights: a file, or a folder, which is sent as a zip.
            **fields: name, description, metrics, configuration, ...; kept with the model.

        Returns:
            What the backend says of the model, always with `id`, and `path` as given.

        Raises:
            FileNotFoundError: There is nothing at `path`.
            RuntimeError: The backend named no id for the model.
            NoClientError: The run has no backend.
        """
        client = self.client
        source = Path(path)
        if not source.exists():
            raise FileNotFoundError(f"no model at {source}")
        data = {**release_fields(self.ctx), **fields}
        data.setdefault("name", source.name if source.is_dir() else source.stem)
        checkpoint = param(self.params, "checkpoint")
        if checkpoint is not None:
            data.setdefault("checkpoint", checkpoint)
        if source.is_dir():
            from synapse_sdk.clients.cache import pack

            with tempfile.TemporaryDirectory(prefix="synapse-model-") as folder:
                archive = Path(folder) / f"{source.resolve().name}.zip"
                pack(source, archive)
                model = dict(client.create_model(data, file=archive))
        else:
            model = dict(client.create_model(data, file=source))
        if model.get("id") is None:
            raise RuntimeError("the backend took the model but named no id for it")
        model["path"] = str(path)
        return model

    def report_metrics(
        self,
        metrics: dict[str, Any],
        *,
        epoch: int | None = None,
        category: MetricsCategory | str = MetricsCategory.TRAIN,
    ) -> None:
        """Record the metrics of an epoch; in a trial, validation metrics count for its rank.

        Args:
            metrics: Name to value.
            epoch: Number of the epoch.
            category: train, validation or test.
        """
        kind = MetricsCategory(category)
        self.ctx.log_metric(kind, "epoch", epoch or 0, **metrics)
        if self._trial_metrics is not None and kind is MetricsCategory.VALIDATION:
            self._trial_metrics.update(metrics)
            return
        if os.environ.get("IS_TUNE") == "true" and kind is MetricsCategory.VALIDATION:
            try:
                from importlib import import_module

                tune = import_module("ray.tune")
            except ImportError:
                return
            tune.report(metrics)


def _splits(params: Any) -> list[str] | None:
    """Return the splits that the params choose; a plugin's own `splits` may be something else."""
    chosen = param(params, "splits")
    if isinstance(chosen, (list, tuple, set)) and all(isinstance(name, str) for name in chosen):
        return list(chosen) or None
    return None
