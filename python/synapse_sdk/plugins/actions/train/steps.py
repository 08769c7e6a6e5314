"""Owns the steps of a training: dataset, convert, train, model_upload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from synapse_sdk.plugins.action import awaited
from synapse_sdk.plugins.actions.train.context import TrainContext
from synapse_sdk.plugins.actions.train.log_messages import TrainLogMessageCode as Code
from synapse_sdk.plugins.actions.train.progress import TrainProgressCategories as Progress
from synapse_sdk.plugins.steps import BaseStep, StepResult

if TYPE_CHECKING:
    from synapse_sdk.plugins.actions.train.action import BaseTrainAction

NO_DATA = (
    "No data path available. Ensure ExportDatasetStep and ConvertDatasetStep ran successfully."
)


class ExportDatasetStep(BaseStep[TrainContext]):
    """Downloads the dataset; `context.dataset` is what `get_dataset` returns.

    Args:
        action: Whose `get_dataset` is asked. Without one the dataset of the params is taken.
    """

    name = Progress.DATASET
    progress_weight = 0.3
    progress_proportion = 20

    def __init__(self, action: BaseTrainAction[Any] | None = None) -> None:
        self.action = action

    def execute(self, context: TrainContext) -> StepResult:
        """Download the dataset."""
        context.set_progress(0, 100)
        action = self.action
        if action is None:
            from synapse_sdk.plugins.actions.train.action import BaseTrainAction

            helper: BaseTrainAction[Any] = BaseTrainAction(context.params, context.runtime_ctx)
            action = helper
        context.dataset = action.get_dataset()
        context.set_progress(100, 100)
        context.log_message(
            Code.TRAIN_DATASET_READY,
            name=context.dataset.get("name"),
            count=context.dataset.get("count", 0),
        )
        return StepResult(data=dict(context.dataset))


class ConvertDatasetStep(BaseStep[TrainContext]):
    """Converts the downloaded dataset to the format that training reads.

    Args:
        target_format: yolo, coco or pascal_voc.
        source_format: Format of a dataset whose own is not known.
    """

    name = Progress.CONVERT
    progress_weight = 0.2
    progress_proportion = 0

    def __init__(self, target_format: str = "yolo", source_format: str = "dm_v2") -> None:
        self.target_format = target_format
        self.source_format = source_format

    def execute(self, context: TrainContext) -> StepResult:
        """Convert the dataset beside itself; one converted before is taken as it is."""
        from synapse_sdk.plugins.actions.dataset.conversion import convert_dataset

        if context.dataset is None:
            return StepResult(success=False, error="there is no dataset to convert")
        source = str(context.dataset.get("format") or self.source_format)
        done = convert_dataset(Path(context.dataset["path"]), source, self.target_format)
        for note in done.notes:
            context.log_message(Code.TRAIN_CONVERT_NOTE, note=note)
        context.dataset = {
            **context.dataset,
            "path": str(done.path),
            "format": done.format,
            "config_path": str(done.config_path) if done.config_path else None,
        }
        context.log_message(Code.TRAIN_DATASET_CONVERTED, format=done.format, count=done.count)
        return StepResult(data={"path": str(done.path), "format": done.format})


class TrainExecuteStep(BaseStep[TrainContext]):
    """Calls the action's `execute`, of whichever of the two shapes it is.

    Args:
        action: Whose `execute` is called, with data path and checkpoint where it takes them.
    """

    name = Progress.TRAIN
    progress_weight = 0.5
    progress_proportion = 75

    def __init__(self, action: BaseTrainAction[Any]) -> None:
        self.action = action

    def execute(self, context: TrainContext) -> StepResult:
        """Train; a returned `weights_path` is what the next step uploads."""
        context.data_path = data_path = find_data_path(context)
        if not self.action.takes_data():
            context.log_message(Code.TRAIN_STARTED)
            return self._trained(context, self.action.execute())
        if data_path is None:
            return StepResult(success=False, error=NO_DATA)
        checkpoint = self.action.get_checkpoint()
        if checkpoint:
            name = checkpoint.get("name") or checkpoint.get("path")
            context.log_message(Code.TRAIN_CHECKPOINT, name=name)
        context.log_message(Code.TRAIN_STARTED)
        return self._trained(context, self.action.execute(data_path, checkpoint))

    def _trained(self, context: TrainContext, returned: Any) -> StepResult:
        context.trained = as_dict(awaited(returned))
        weights = context.trained.get("weights_path")
        if weights:
            context.model_path = str(weights)
        return StepResult(data=dict(context.trained))


class ModelUploadStep(BaseStep[TrainContext]):
    """Uploads the trained weights, where there are some and there is a backend."""

    name = Progress.MODEL_UPLOAD
    progress_weight = 0.1
    progress_proportion = 5

    def __init__(self, action: BaseTrainAction[Any]) -> None:
        self.action = action

    def can_skip(self, context: TrainContext) -> bool:
        """Skip when training left no weights."""
        return not context.model_path

    def execute(self, context: TrainContext) -> StepResult:
        """Upload `context.model_path`."""
        path = context.model_path
        if not path:
            return StepResult(skipped=True)
        if context.runtime_ctx.client is None:
            context.log_message(Code.TRAIN_MODEL_NOT_UPLOADED, path=path)
            return StepResult(data={"path": path})
        context.set_progress(0, 100)
        context.model = self.action.create_model(path)
        context.set_progress(100, 100)
        context.log_message(Code.TRAIN_MODEL_UPLOADED, id=context.model.get("id"))
        return StepResult(data=dict(context.model))


def find_data_path(context: TrainContext) -> Path | None:
    """Return what training reads: the dataset's description file, else its folder.

    The description is `config_path` of the dataset, else `dataset.yaml` or `data.yaml` in its
    folder; a dataset without one (COCO, Pascal VOC, the platform's own) is its folder.
    """
    if context.dataset is None:
        return None
    if config := context.dataset.get("config_path"):
        return Path(config)
    if not context.dataset.get("path"):
        return None
    path = Path(context.dataset["path"])
    if path.is_dir():
        for name in ("dataset.yaml", "data.yaml"):
            if (path / name).is_file():
                return path / name
    return path


def as_dict(returned: Any) -> dict[str, Any]:
    """Return what an execute returned as a dict; a bare value is its `result`."""
    if returned is None:
        return {}
    if isinstance(returned, BaseModel):
        return returned.model_dump()
    if isinstance(returned, dict):
        return dict(returned)
    return {"result": returned}
