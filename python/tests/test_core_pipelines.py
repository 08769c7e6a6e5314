"""Pipelines: checks of neighbours, running, progress models and folders."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synapse_sdk.plugins import BaseAction, PluginError, RuntimeContext, action, types
from synapse_sdk.plugins import pipelines as package
from synapse_sdk.plugins.pipelines import (
    ActionPipeline,
    ActionProgress,
    ActionStatus,
    Checkpoint,
    PipelineContext,
    PipelineProgress,
    RunStatus,
    SchemaIncompatibleError,
    display_progress,
    display_progress_async,
    print_progress_summary,
)


class DownloadParams(BaseModel):
    dataset: int


class DownloadResult(BaseModel):
    path: str
    count: int


class ConvertParams(BaseModel):
    path: str
    target: str = "yolo"


class ConvertResult(BaseModel):
    path: str
    config: str


class TrainParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: str
    epochs: int = Field(ge=1)


class Download(BaseAction[DownloadParams]):
    action_name = "download"
    output_type = types.YOLODataset
    result_model = DownloadResult

    def execute(self) -> DownloadResult:
        return DownloadResult(path=f"/data/{self.params.dataset}", count=3)


class Convert(BaseAction[ConvertParams]):
    input_type = types.Dataset
    output_type = types.YOLODataset
    result_model = ConvertResult

    def execute(self) -> dict[str, Any]:
        return {"path": self.params.path + ".yolo", "config": "c"}


class Train(BaseAction[TrainParams]):
    action_name = "train"
    input_type = types.YOLODataset

    def execute(self) -> Any:
        return ("trained", self.params.path, self.params.epochs)


class Weights(BaseAction[DownloadParams]):
    input_type = types.ModelWeights

    def execute(self) -> Any:
        raise OSError("no disk")


def test_every_name_is_there() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_a_pipeline_needs_actions() -> None:
    with pytest.raises(ValueError, match="at least one action"):
        ActionPipeline([])
    with pytest.raises(TypeError, match="is not an action"):
        ActionPipeline([len])


def test_its_look() -> None:
    pipeline = ActionPipeline([Download, Convert, Train])
    assert repr(pipeline) == "ActionPipeline(Download | Convert | Train)"
    assert len(pipeline) == 3
    pipeline.actions.clear()
    assert pipeline.actions == [Download, Convert, Train]


def test_results_become_params(ctx: RuntimeContext) -> None:
    calls: list[tuple[int, int, str]] = []
    pipeline = ActionPipeline([Download, Convert, Train])
    result = pipeline.execute(
        {"dataset": 7, "epochs": 2}, ctx, progress_callback=lambda *call: calls.append(call)
    )
    assert result == ("trained", "/data/7.yolo", 2)
    assert calls == [(0, 3, "download"), (1, 3, "Convert"), (2, 3, "train"), (3, 3, "complete")]


def test_params_may_be_a_model(ctx: RuntimeContext) -> None:
    assert ActionPipeline([Download]).execute(DownloadParams(dataset=1), ctx).path == "/data/1"


def test_functions_take_part(ctx: RuntimeContext) -> None:
    @action(params=DownloadParams, result=DownloadResult)
    def fetch(params: DownloadParams, context: Any) -> dict[str, Any]:
        return {"path": "p", "count": params.dataset}

    @action
    def count(params: dict[str, Any], context: Any) -> Any:
        return params["count"]

    pipeline = ActionPipeline([fetch, count])
    assert repr(pipeline) == "ActionPipeline(fetch | count)"
    assert pipeline.execute({"dataset": 5}, ctx) == 5


def test_an_asynchronous_action_is_run_to_its_end(ctx: RuntimeContext) -> None:
    class Fetch(BaseAction[DownloadParams]):
        async def execute(self) -> Any:
            return {"path": f"/data/{self.params.dataset}"}

    class Show(BaseAction[ConvertParams]):
        def execute(self) -> Any:
            return self.params.path

    assert ActionPipeline([Fetch, Show]).execute({"dataset": 4}, ctx) == "/data/4"


def test_a_dispatch_of_its_own_is_what_runs(ctx: RuntimeContext) -> None:
    class Elsewhere(BaseAction[DownloadParams]):
        @classmethod
        def dispatch(cls, params: Any, ctx: Any) -> Any:
            return {"sent": dict(params)}

        def execute(self) -> Any:
            raise AssertionError("asked here")

    assert ActionPipeline([Elsewhere]).execute({"dataset": "x"}, ctx) == {"sent": {"dataset": "x"}}


def test_wrong_params(ctx: RuntimeContext) -> None:
    with pytest.raises(RuntimeError, match=r"^Failed to validate params for action 'train': ") as c:
        ActionPipeline([Download, Train]).execute({"dataset": 1, "epochs": 0}, ctx)
    assert isinstance(c.value.__cause__, ValidationError)


def test_a_failing_action(ctx: RuntimeContext) -> None:
    with pytest.raises(RuntimeError, match=r"^Action 'Weights' failed: no disk$") as caught:
        ActionPipeline([Weights]).execute({"dataset": 1}, ctx)
    assert isinstance(caught.value.__cause__, OSError)


class NoModel(BaseAction[DownloadParams]):
    def execute(self) -> Any:
        return None


@pytest.mark.parametrize(
    ("actions", "level", "text"),
    [
        ([Download, Weights], logging.WARNING, "Download gives yolo_dataset, but Weights takes"),
        ([NoModel, Convert], logging.WARNING, "NoModel has no result model"),
        ([Download, Train], logging.INFO, "lacks what Train requires: epochs"),
    ],
)
def test_neighbours_that_do_not_fit(
    caplog: pytest.LogCaptureFixture, actions: list[Any], level: int, text: str
) -> None:
    with caplog.at_level(logging.INFO):
        ActionPipeline(actions)
    assert [record.levelno for record in caplog.records if text in record.message] == [level]
    with pytest.raises(SchemaIncompatibleError, match=text) as caught:
        ActionPipeline(actions, strict=True)
    assert isinstance(caught.value, PluginError)
    assert caught.value.details["target"] == actions[1].__name__
    caplog.clear()
    ActionPipeline(actions, validate_schemas=False, strict=True)
    assert not caplog.records


def test_neighbours_that_fit(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ActionPipeline([Download, Convert], strict=True)
    assert not caplog.records


def test_aliases_count_as_names() -> None:
    class Aliased(BaseModel):
        place: str = Field(alias="path")

    class Take(BaseAction[Aliased]):
        def execute(self) -> Any:
            return None

    pipeline = ActionPipeline([Download, Take], strict=True)
    assert pipeline.validate_initial_params({"dataset": 1}) == []


def test_initial_params() -> None:
    pipeline = ActionPipeline([Download, Convert, Train])
    assert pipeline.validate_initial_params({}) == ["DownloadParams.dataset", "TrainParams.epochs"]
    assert pipeline.validate_initial_params({"dataset": 1, "epochs": 1}) == []
    assert ActionPipeline([Train]).validate_initial_params(DownloadParams(dataset=1)) == [
        "TrainParams.path",
        "TrainParams.epochs",
    ]


def test_submit_and_wait() -> None:
    class Executor:
        def submit(self, pipeline: Any, params: Any, **options: Any) -> int:
            self.submitted = (pipeline, params, options)
            return 42

        def wait(self, run_id: str, **options: Any) -> Any:
            return (run_id, options)

    executor, pipeline = Executor(), ActionPipeline([Download])
    run_id = pipeline.submit({"dataset": 1}, executor, name="n", resume_from="r")
    assert run_id == "42"
    assert executor.submitted == (pipeline, {"dataset": 1}, {"name": "n", "resume_from": "r"})
    assert pipeline.wait(run_id, executor) == (
        "42",
        {"timeout_seconds": 3600, "poll_interval": 5.0},
    )


def test_folders(tmp_path: Path) -> None:
    one = PipelineContext("pipe", base_path=tmp_path)
    assert len(one.run_id) == 12
    assert int(one.run_id, 16) >= 0
    assert one.work_dir == tmp_path / "pipe" / one.run_id
    assert list(one.work_dir.iterdir()) == []
    for name in ("datasets", "models", "artifacts", "logs", "checkpoints"):
        assert getattr(one, f"{name}_dir") == one.work_dir / name
        assert (one.work_dir / name).is_dir()
    assert one.get_action_dir("train").is_dir()
    assert one.get_action_dir("train") != one.get_action_dir("test")
    assert one.metadata == {}
    one.cleanup()
    assert not one.work_dir.exists()
    one.cleanup()
    assert PipelineContext("pipe", "fixed", str(tmp_path)).work_dir == tmp_path / "pipe" / "fixed"
    assert PipelineContext.__dataclass_fields__["base_path"].default == "/tmp/synapse_pipelines"


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../x", "a\\b"])
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        PipelineContext(name, base_path=tmp_path)
    with pytest.raises(ValueError, match="is no name"):
        PipelineContext("a", base_path=tmp_path).get_action_dir(name)


def test_statuses() -> None:
    values = ["pending", "running", "completed", "failed", "cancelled"]
    assert [str(status) for status in RunStatus] == values
    assert [str(status) for status in ActionStatus] == [*values, "skipped"]
    assert [status.is_final for status in RunStatus] == [False, False, True, True, True]


def progress(status: RunStatus, *actions: tuple[str, ActionStatus, float]) -> PipelineProgress:
    return PipelineProgress(
        run_id="r1",
        status=status,
        actions=[
            ActionProgress(name=name, status=state, progress=percent)
            for name, state, percent in actions
        ],
    )


def test_progress_models() -> None:
    one = progress(
        RunStatus.RUNNING,
        ("a", ActionStatus.COMPLETED, 0),
        ("b", ActionStatus.SKIPPED, 0),
        ("c", ActionStatus.RUNNING, 50),
    )
    assert one.completed_count == 2
    assert one.overall_progress == 83.33
    assert progress(RunStatus.COMPLETED).overall_progress == 100.0
    assert progress(RunStatus.PENDING).overall_progress == 0.0
    assert PipelineProgress.model_validate_json(one.model_dump_json()) == one
    with pytest.raises(ValidationError):
        ActionProgress(name="a", progress=101)
    kept = Checkpoint(run_id="r", action_name="a", action_index=0, params={"x": 1})
    assert Checkpoint.model_validate_json(kept.model_dump_json()) == kept


UPDATES = [
    progress(RunStatus.RUNNING, ("a", ActionStatus.RUNNING, 50), ("b", ActionStatus.PENDING, 0)),
    progress(RunStatus.RUNNING, ("a", ActionStatus.RUNNING, 50), ("b", ActionStatus.PENDING, 0)),
    progress(RunStatus.FAILED, ("a", ActionStatus.COMPLETED, 100), ("b", ActionStatus.FAILED, 0)),
    progress(RunStatus.RUNNING, ("never", ActionStatus.RUNNING, 1)),
]
UPDATES[2].error = "it broke"
UPDATES[2].actions[1].error = "why"

SHOWN = """\
[>] a: running 50%
[+] a: completed
[x] b: failed (why)
Pipeline r1: failed (1/2 actions, 50.0%)
  [+] a: completed
  [x] b: failed (why)
  error: it broke
"""


def test_display() -> None:
    out = io.StringIO()
    assert display_progress(UPDATES, file=out) is UPDATES[2]
    assert out.getvalue() == SHOWN
    assert display_progress([]) is None


def test_display_of_an_asynchronous_stream() -> None:
    async def stream() -> AsyncIterator[PipelineProgress]:
        for update in UPDATES:
            yield update

    out = io.StringIO()
    assert asyncio.run(display_progress_async(stream(), file=out)) is UPDATES[2]
    assert out.getvalue() == SHOWN


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    print_progress_summary(UPDATES[0])
    assert capsys.readouterr().out == (
        "Pipeline r1: running (0/2 actions, 25.0%)\n  [>] a: running 50%\n  [ ] b: pending\n"
    )
