"""Owns tuning: one training per set of hyperparameters, and which of them was best.

The trials named in `params.hyperparameters` run here, one after the other. Searching a space
of values, and running trials side by side, is Ray Tune's part and comes with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.action import awaited
from synapse_sdk.plugins.actions.backend import param
from synapse_sdk.plugins.actions.steps_flow import run_steps
from synapse_sdk.plugins.actions.train.context import TrainContext
from synapse_sdk.plugins.actions.train.log_messages import TrainLogMessageCode as Code
from synapse_sdk.plugins.actions.train.progress import TrainProgressCategories as Progress
from synapse_sdk.plugins.actions.train.steps import (
    NO_DATA,
    ConvertDatasetStep,
    ExportDatasetStep,
    ModelUploadStep,
    as_dict,
    find_data_path,
)
from synapse_sdk.plugins.errors import ExecutionError
from synapse_sdk.plugins.steps import BaseStep, StepRegistry, StepResult

if TYPE_CHECKING:
    from synapse_sdk.plugins.actions.train.action import BaseTrainAction

NEEDS_RAY = (
    "a search over values needs Ray Tune, which local runs do not have: name each trial's values "
    'in hyperparameters, as in [{"lr": 0.1}, {"lr": 0.01}]'
)


class TuneDatasetStep(ExportDatasetStep):
    """Downloads the dataset once, for all trials."""


class TuneTrialsStep(BaseStep[TrainContext]):
    """Runs the action's execute once per set of hyperparameters."""

    name = Progress.TRIALS
    progress_weight = 0.6
    progress_proportion = 75

    def __init__(self, action: BaseTrainAction[Any]) -> None:
        self.action = action

    def execute(self, context: TrainContext) -> StepResult:
        """Run the trials; the best one's weights are what the next step uploads."""
        trials = trials_of(context.params)
        takes_data = self.action.takes_data()
        data_path: Path | None = None
        if takes_data:
            data_path = context.data_path = find_data_path(context)
            if data_path is None:
                return StepResult(success=False, error=NO_DATA)
        rows: list[dict[str, Any]] = []
        names = sorted({name for trial in trials for name in trial})
        for number, values in enumerate(trials, 1):
            context.log_message(Code.TRAIN_TRIAL, number=number, total=len(trials))
            trial = type(self.action)(_with(context.params, values), context.runtime_ctx)
            reported: dict[str, Any] = {}
            trial._trial_metrics = reported
            if takes_data:
                returned = as_dict(awaited(trial.execute(data_path, trial.get_checkpoint())))
            else:
                returned = as_dict(awaited(trial.execute()))
            weights = returned.get("weights_path")
            metrics = {**_numbers(returned), **_numbers(reported)}
            rows.append({"trial_id": str(number), **values, **metrics})
            context.trial_models.append(
                {"trial_id": str(number), "weights_path": str(weights) if weights else None}
            )
            context.set_progress(number, len(trials))
            self._log(context, rows, names, "")
        best = best_of(rows, context.params)
        self._log(context, rows, names, best or "")
        context.tune_result = {"trials": rows, "best_trial": best}
        if best is not None:
            context.model_path = context.trial_models[int(best) - 1]["weights_path"]
        return StepResult(data=dict(context.tune_result))

    def _log(
        self, context: TrainContext, rows: list[dict[str, Any]], names: list[str], best: str
    ) -> None:
        metrics = sorted({name for row in rows for name in row} - {"trial_id", *names})
        context.runtime_ctx.log_trials(
            trials={row["trial_id"]: row for row in rows},
            base=["trial_id"],
            hyperparameters=names,
            metrics=metrics,
            best_trial=best,
        )


def run_tune(action: BaseTrainAction[Any]) -> dict[str, Any]:
    """Run a tuning: dataset, conversion where asked for, trials, upload of the best model."""
    trials_of(action.params)
    registry: StepRegistry[TrainContext] = StepRegistry()
    if action.takes_data():
        registry.register(TuneDatasetStep(action))
        if action.target_format:
            registry.register(ConvertDatasetStep(action.target_format))
    registry.register(TuneTrialsStep(action))
    registry.register(ModelUploadStep(action))
    context = action.create_context()
    result = run_steps(registry, context)
    result.update(context.tune_result or {})
    if context.model is not None:
        result["model_id"] = context.model.get("id")
    return result


def trials_of(params: Any) -> list[dict[str, Any]]:
    """Return the hyperparameters of each trial.

    Raises:
        ExecutionError: There are none, or they describe a search.
    """
    trials = param(params, "hyperparameters") or []
    if not trials:
        raise ExecutionError("a tuning run needs hyperparameters: a list with one set per trial")
    for trial in trials:
        if {"name", "type"} <= set(trial) or any(_is_space(value) for value in trial.values()):
            raise ExecutionError(NEEDS_RAY)
    return [dict(trial) for trial in trials]


def _is_space(value: Any) -> bool:
    return isinstance(value, dict) and bool({"type", "min", "max", "options"} & set(value))


def _with(params: Any, values: dict[str, Any]) -> Any:
    """Return `params` with a trial's values, checked as params are."""
    if isinstance(params, dict):
        return {**params, "is_tune": False, **values}
    kept = params.model_dump(exclude={"is_tune", "hyperparameters"})
    return type(params).model_validate({**kept, **values})


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found.update(_numbers(value))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[name] = value
    return found


def best_of(rows: list[dict[str, Any]], params: Any) -> str | None:
    """Return the id of the best trial by `params.metric` (and `params.mode`, max or min).

    None when the params name no metric and there are several trials.
    """
    if len(rows) == 1:
        return str(rows[0]["trial_id"])
    metric = param(params, "metric")
    ranked = [row for row in rows if isinstance(row.get(str(metric)), (int, float))]
    if not metric or not ranked:
        return None
    pick = min if str(param(params, "mode", "max")) == "min" else max
    return str(pick(ranked, key=lambda row: row[str(metric)])["trial_id"])
