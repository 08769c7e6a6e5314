"""Inference, export, upload, to_task, auto label, deployment and the sample actions."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pydantic import BaseModel, ValidationError

from synapse_sdk import plugins
from synapse_sdk.clients.backend import BackendClient
from synapse_sdk.plugins.actions.add_task_data import AddTaskDataAction
from synapse_sdk.plugins.actions.auto_label import AutoLabelParams, BaseAutoLabelAction
from synapse_sdk.plugins.actions.backend import NoClientError
from synapse_sdk.plugins.actions.deployment import (
    BaseDeploymentAction,
    BaseServeDeployment,
    create_serve_multiplexed_model_id,
)
from synapse_sdk.plugins.actions.deployment.serve import read_serve_multiplexed_model_id
from synapse_sdk.plugins.actions.export import BaseExporter, DefaultExportAction
from synapse_sdk.plugins.actions.inference import BaseInferenceAction, InferenceContext
from synapse_sdk.plugins.actions.to_task import ToTaskAction
from synapse_sdk.plugins.actions.upload import (
    BaseUploadAction,
    DefaultUploadAction,
    UploadParams,
    UploadResult,
)
from synapse_sdk.plugins.errors import ExecutionError, ModelLoadError
from synapse_sdk.plugins.steps import BaseStep, StepRegistry, StepResult
from synapse_sdk.plugins.testing import ConvertAction, DownloadAction, TrainAction
from tests.action_run import backend_fixture, bare_ctx, client_fixture, ctx_fixture  # noqa: F401

# Inference.


class InferParams(BaseModel):
    model_id: int = 5
    batch_size: int = 2


class Plain(BaseInferenceAction[InferParams]):
    def execute(self) -> dict[str, Any]:
        model = self.load_model(self.params.model_id)
        self.set_progress(1, 1, self.progress.MODEL_LOAD)
        return {"bytes": Path(model["path"]).read_bytes().decode(), "name": model["name"]}


class Infer(BaseStep[InferenceContext]):
    name = "inference"
    progress_weight = 1.0

    def execute(self, context: InferenceContext) -> StepResult:
        context.results = [context.model_id, context.batch_size]
        context.processed_count = 2
        return StepResult()


class Stepped(BaseInferenceAction[InferParams]):
    def execute(self) -> Any:
        raise AssertionError("steps replace execute")

    def setup_steps(self, registry: StepRegistry[InferenceContext]) -> None:
        registry.register(Infer())


def test_inference_in_one_piece_and_in_steps(backend, ctx, tmp_path):
    backend.add_model(5, "w.pt", b"weights")
    assert Plain.dispatch({}, ctx) == {"bytes": "weights", "name": "model-5"}
    result = Stepped.dispatch({}, ctx)
    assert result["results"] == [5, 2] and result["processed_count"] == 2
    assert result["success"] is True
    action = Plain(InferParams(), ctx)
    copied = action.download_model(5, tmp_path / "here")
    assert copied == tmp_path / "here/w.pt"
    copied.write_bytes(b"mine")
    assert action.download_model(5).read_bytes() == b"weights"
    assert backend.count("GET", "files/") == 1
    backend.models[5]["file"] = None
    with pytest.raises(ValueError, match="has no file"):
        action.download_model(5)
    with pytest.raises(NotImplementedError):
        action.infer(None, [])
    with pytest.raises(NoClientError, match="Backend client is None"):
        Plain.dispatch({}, bare_ctx())


# Export.


def export(run: Any, action: Any = DefaultExportAction, **params: Any) -> Any:
    wanted = {"name": "first", "target": "ground_truth", "filter": {"dataset": 7}, **params}
    return action.dispatch(wanted, run)


FILES: dict[str, tuple[str | None, bytes]] = {
    "images/a.jpg": ("train", b"image a"),
    "images/b.jpg": ("val", b"image b"),
}


def test_ground_truths_are_exported(backend, ctx, tmp_path):
    backend.add_dataset(7, FILES)
    result = export(ctx)
    out = tmp_path / "exports/first"
    assert Path(result["output_path"]).resolve() == out
    assert (result["exported_count"], result["failed_count"], result["total_count"]) == (2, 0, 2)
    assert (out / "origin_files/images/a.jpg").read_bytes() == b"image a"
    assert json.loads((out / "labels/images/b.jpg.json").read_text())["split"] == "val"
    with pytest.raises(RuntimeError, match="holds another export"):
        export(ctx)
    assert (out / "origin_files/images/a.jpg").exists()


class OnlyTrain(BaseExporter):
    def convert_data(self, data: dict[str, Any]) -> Any:
        if data["split"] != "train":
            raise ValueError("not for training")
        return {"name": data["name"]}

    def additional_file_saving(self, path: Path) -> None:
        (path / "classes.txt").write_text("cat\n")


class OnlyTrainExport(DefaultExportAction):
    exporter_class = OnlyTrain


def test_an_own_exporter_and_items_that_fail(backend, ctx, tmp_path):
    backend.add_dataset(7, FILES)
    result = export(ctx, OnlyTrainExport, save_original_file=False, path="out")
    assert (result["exported_count"], result["failed_count"]) == (1, 1)
    out = tmp_path / "out/first"
    assert sorted(path.name for path in out.iterdir()) == [
        "classes.txt",
        "error_file_list.json",
        "labels",
    ]
    assert "not for training" in (out / "error_file_list.json").read_text()
    backend.add_dataset(8, {"x.jpg": ("val", b"x")})
    with pytest.raises(RuntimeError, match="no item could be exported: not for training"):
        export(ctx, OnlyTrainExport, name="second", filter={"dataset": 8})
    assert not (tmp_path / "exports/second").exists()


def test_an_exporter_alone_needs_no_backend(tmp_path):
    items = [{"id": 1, "name": "a"}, {"id": 2, "name": "../b"}]
    done = BaseExporter(bare_ctx(), items, tmp_path / "out", save_original_file=False).export()
    assert (done["exported_count"], done["failed_count"]) == (1, 1)
    assert [path.name for path in tmp_path.rglob("*.json")] != []
    assert not (tmp_path / "b.json").exists()


def test_what_export_cannot_do_is_said(backend, ctx):
    for params, words in [
        ({"target": "assignment"}, "gives no assignment results"),
        ({"filter": {}}, "names no dataset"),
        ({"filter": {"dataset": 99}}, "404"),
    ]:
        with pytest.raises(RuntimeError, match=words):
            export(ctx, **params)
    with pytest.raises(ValidationError, match="the backend has no storage 4"):
        export(ctx, storage=4)
    with pytest.raises(ValidationError, match="must not be blank"):
        export(ctx, name="  ")
    with pytest.raises(ValidationError, match="plain name"):
        export(ctx, name="../x")
    action = OnlyTrainExport(None, ctx)  # type: ignore[arg-type]
    with pytest.raises(ExecutionError, match="no get_project"):
        action.get_project(1)


# Upload.


class RichClient(BackendClient):
    """A client with the calls that the platform's API of this release lacks."""

    units: list[Any]
    tasks: list[dict[str, Any]]
    sent: dict[int, Any]

    def get_storage(self, storage_id: int) -> dict[str, Any]:
        return {"id": storage_id}

    def get_project(self, project_id: int) -> dict[str, Any]:
        return {"id": project_id}

    def get_data_collection(self, collection_id: int) -> dict[str, Any]:
        return {
            "id": collection_id,
            "file_specifications": [
                {"name": "image", "file_type": "image", "is_required": True},
                {"name": "label", "file_type": "data", "is_required": False},
            ],
        }

    def create_data_units(self, rows: list[Any]) -> list[Any]:
        self.units = [*getattr(self, "units", []), *rows]
        return rows

    def list_tasks(self, **filters: Any) -> list[dict[str, Any]]:
        return self.tasks

    def annotate_task_data(self, task_id: int, data: Any) -> None:
        self.sent[task_id] = data


@pytest.fixture
def rich(backend, ctx):
    from tests.fake_backend import TOKEN

    made = RichClient(backend.url, TOKEN)
    made.sent = {}
    ctx.client = made
    return made


class Upload(DefaultUploadAction[UploadParams]):
    def get_allowed_extensions(self) -> dict[str, list[str]]:
        return {"image": [".jpg"], "data": [".json"]}


def lay(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return str(folder)


WANTED = {"name": "u", "storage": 1, "data_collection": 2}


def test_files_become_data_units(backend, ctx, rich, tmp_path):
    names = ["image/a.jpg", "image/deep/b.jpg", "image/c.png", "label/a.json", "label/d.json"]
    path = lay(tmp_path / "in", *names)
    result = Upload.dispatch({**WANTED, "path": path, "creating_data_unit_batch_size": 1}, ctx)
    assert isinstance(result, UploadResult) and result.success and result.partial_failure
    assert (result.uploaded_files, result.data_units, result.lost_files_count) == (3, 2, 2)
    reasons = {Path(row["file"]).name: row["reason"] for row in result.lost_files}
    assert reasons["c.png"] == ".png is none of .jpg"
    assert reasons["d.json"] == "there is no file of image to it"
    assert [sorted(row["files"]) for row in rich.units] == [["image", "label"], ["image"]]
    assert len(backend.uploads) == 3
    assert (result.steps_executed, result.steps_total) == (7, 8)


def test_steps_of_the_default_upload_can_be_changed(backend, ctx, rich, tmp_path):
    class Own(BaseStep[Any]):
        name = "own"
        progress_weight = 0.1

        def execute(self, context: Any) -> StepResult:
            context.organized_files = context.organized_files[:1]
            return StepResult()

    class Changed(Upload):
        def setup_steps(self, registry: StepRegistry[Any]) -> None:
            super().setup_steps(registry)
            registry.insert_after("organize_files", Own())
            registry.unregister("generate_data_units")

    path = lay(tmp_path / "in", "image/a.jpg", "image/b.jpg")
    result = Changed.dispatch({**WANTED, "path": path}, ctx)
    assert (result.uploaded_files, result.data_units) == (1, 0)


def test_an_upload_that_the_backend_cannot_take_never_succeeds(backend, ctx, tmp_path):
    path = lay(tmp_path / "in", "a.jpg")
    with pytest.raises(ValidationError, match="the backend has no storage 1"):
        Upload.dispatch({**WANTED, "path": path}, ctx)
    backend.faults[("GET", "storages/")] = [(200, {}, {"id": 1})] * 2
    with pytest.raises(RuntimeError, match="has no get_data_collection"):
        Upload.dispatch({**WANTED, "path": path}, ctx)
    assert backend.uploads == {}

    class None_(BaseUploadAction[UploadParams]):
        pass

    backend.faults[("GET", "storages/")] = [(200, {}, {"id": 1})]
    with pytest.raises(RuntimeError, match=r"No steps registered\. Override setup_steps"):
        None_.dispatch({**WANTED, "path": path}, ctx)


def test_upload_params():
    with pytest.raises(ValidationError, match="path is required"):
        UploadParams.model_validate(WANTED)
    with pytest.raises(ValidationError, match="assets are required"):
        UploadParams.model_validate({**WANTED, "use_single_path": False})
    assert UploadParams.model_config["json_schema_extra"] == {"exclude_from_ui": True}


# Tasks.


class FromFile(ToTaskAction):
    def convert_data_from_file(
        self, primary_file_url, primary_file_name, data_file_url, data_file_name, task_data=None
    ):
        if data_file_name == "bad.json":
            raise ValueError("cannot read it")
        return {"of": primary_file_name, "from": data_file_url}


def task(number: int, data: str) -> dict[str, Any]:
    files = {
        "image": {"url": "u/i", "name": "i.jpg", "is_primary": True},
        "label": {"url": "u/l", "name": data},
    }
    return {"id": number, "data_unit": {"files": files}}


def test_tasks_are_annotated_from_files(backend, ctx, rich):
    rich.tasks = [task(1, "l.json"), task(2, "bad.json"), {"id": 3, "files": {}}]
    wanted = {"name": "t", "project": 1, "target_specification_name": "label"}
    result = FromFile.dispatch(wanted, ctx)
    assert (result.status, result.success_count, result.failed_count) == ("SUCCEEDED", 1, 2)
    assert rich.sent == {1: {"of": "i.jpg", "from": "u/l"}}
    assert result.failures[1] == {"task": 3, "error": "the task has no file of label"}
    rich.tasks = [task(2, "bad.json")]
    with pytest.raises(RuntimeError, match="no task could be annotated: cannot read it"):
        FromFile.dispatch(wanted, ctx)


def test_tasks_on_a_backend_without_them(ctx):
    wanted = {"name": "t", "project": 1, "target_specification_name": "label"}
    with pytest.raises(RuntimeError, match="has no get_project"):
        FromFile.dispatch(wanted, ctx)
    with pytest.raises(ValidationError, match="target_specification_name is required"):
        FromFile.dispatch({"name": "t", "project": 1}, ctx)
    assert AddTaskDataAction is ToTaskAction


def test_importing_the_params_warns_of_nothing():
    code = "import synapse_sdk.plugins.actions.to_task as t; print(t.ToTaskParams.__name__)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(Path(plugins.__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ToTaskParams\n", "")


# Automatic labelling.


class Label(BaseAutoLabelAction[AutoLabelParams]):
    def handle_input(self, input_data):
        return {"image": input_data["url"]}

    def handle_output(self, output_data):
        return None


def test_automatic_labelling_asks_the_agent():
    run = bare_ctx(agent_client=mock.Mock())
    run.agent_client.run_plugin.return_value = {"boxes": [1]}
    wanted = {"plugin": "yolov8", "version": "1.0.0", "model_id": 3, "url": "u"}
    assert Label.dispatch(wanted, run) == {"boxes": [1]}
    run.agent_client.run_plugin.assert_called_once_with(
        "yolov8", "inference", {"image": "u", "model": 3}, version="1.0.0"
    )
    assert run.logger.progress == [
        ("input_transform", 1, 3),
        ("inference", 2, 3),
        ("output_transform", 3, 3),
    ]
    with pytest.raises(ExecutionError, match="No agent client"):
        Label.dispatch(wanted, bare_ctx())


# Deployment.


class ServeParams(BaseModel):
    num_cpus: float | None = None
    num_gpus: float | None = 1


class Deploy(BaseDeploymentAction[ServeParams]):
    entrypoint = object

    def execute(self) -> Any:
        self.ray_init()
        self.deploy()
        return {"id": self.register_serve_application()}


def test_a_deployment_knows_its_names_and_needs_ray(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNAPSE_PLUGIN_RELEASE_CODE", raising=False)
    monkeypatch.delenv("SYNAPSE_PLUGIN_RELEASE_CHECKSUM", raising=False)
    action = Deploy(ServeParams(), bare_ctx())
    with pytest.raises(RuntimeError, match="the release is not known"):
        action.get_serve_app_name()
    monkeypatch.setenv("SYNAPSE_PLUGIN_RELEASE_CODE", "yolov8@0.1.0")
    assert action.get_serve_app_name() == "yolov8@0.1.0"
    assert action.get_route_prefix() == f"/{hashlib.md5(b'yolov8@0.1.0').hexdigest()}"
    monkeypatch.setenv("SYNAPSE_PLUGIN_RELEASE_CHECKSUM", "abc")
    assert action.get_route_prefix() == "/abc"
    (tmp_path / "requirements.txt").write_text("# packages\ntorch>=2\n\n")
    assert action.get_ray_actor_options() == {
        "num_gpus": 1,
        "runtime_env": {"pip": ["torch>=2"]},
    }
    assert action.register_serve_application() is None
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutionError, match=r"synapse-sdk\[ray\]"):
        action.run()


class Served(BaseServeDeployment[BaseModel]):
    async def _get_model(self, model_info: dict[str, Any]) -> Any:
        return Path(model_info["path"]).read_bytes()

    async def infer(self, value: int) -> int:
        if value < 0:
            await asyncio.sleep(60)
        return value + 1


class Body(BaseModel):
    value: int


def test_a_serve_class_answers_and_gets_its_model(backend, ctx, monkeypatch):
    served = Served(backend.url)
    assert asyncio.run(served.infer_batch([1, 2])) == [2, 3]

    async def ask(body: dict[str, Any], deadline: float | None = None) -> Any:
        return await served.handle_inference(body, Body, lambda b: served.infer(b.value), deadline)

    assert asyncio.run(ask({"value": 1})) == 2
    with pytest.raises(ValidationError):
        asyncio.run(ask({"value": "x"}))
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(ask({"value": -1}, 0.01))
    backend.add_model(5, "w.pt", b"weights")
    serve = mock.Mock()
    monkeypatch.setitem(sys.modules, "ray", mock.Mock(serve=serve))
    monkeypatch.setitem(sys.modules, "ray.serve", serve)
    serve.get_multiplexed_model_id.return_value = create_serve_multiplexed_model_id(
        5, backend.token, backend.url
    )
    assert asyncio.run(served.get_model()) == b"weights"
    serve.get_multiplexed_model_id.return_value = create_serve_multiplexed_model_id(
        5, backend.token, "http://elsewhere"
    )
    with pytest.raises(ModelLoadError, match="another backend"):
        asyncio.run(served.get_model())
    with pytest.raises(ModelLoadError):
        read_serve_multiplexed_model_id("nonsense")
    with pytest.raises(ExecutionError, match="cannot be run as an action"):
        Served.dispatch({}, bare_ctx())


# Samples and exports.


def test_the_sample_actions_run_one_after_the_other(tmp_path):
    run = bare_ctx()
    first = DownloadAction.dispatch({"work_dir": str(tmp_path)}, run)
    second = ConvertAction.dispatch({"path": first.path}, run)
    third = TrainAction.dispatch({"data_path": second.data_path, "epochs": 4}, run)
    assert third["loss"] == 0.25 and Path(third["weights_path"]).is_file()


def test_every_base_class_has_its_progress_names():
    for name in (
        "BaseTrainAction",
        "BaseExportAction",
        "BaseUploadAction",
        "BaseInferenceAction",
        "BaseDeploymentAction",
    ):
        names = {k: v for k, v in vars(getattr(plugins, name).progress).items() if k.isupper()}
        assert names and all(isinstance(value, str) for value in names.values())
    assert plugins.ExportProgressCategories.CONVERT_DATA == "convert_data"
    assert plugins.UploadProgressCategories.UPLOAD_FILES == "upload_files"
    assert plugins.TrainProgressCategories.TRAIN == "train"


def test_importing_the_train_base_loads_no_http():
    code = (
        "import sys; from synapse_sdk.plugins import BaseTrainAction; "
        "print([m for m in ('urllib3', 'globox', 'yaml', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(plugins.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
