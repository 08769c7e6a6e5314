"""Training: both shapes of execute, steps and rollback, datasets, checkpoints, models, trials."""

from __future__ import annotations

import os
import sys
import types
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from synapse_sdk import exceptions as client_errors
from synapse_sdk.clients.cache import DownloadCache, pack
from synapse_sdk.plugins import BaseTrainAction
from synapse_sdk.plugins.actions.backend import NoClientError
from synapse_sdk.plugins.actions.train import (
    BaseTrainParams,
    TrainContext,
    TrainProgressCategories,
)
from synapse_sdk.plugins.errors import ExecutionError, PluginError
from synapse_sdk.plugins.steps import BaseStep, StepRegistry, StepResult
from tests.action_run import backend_fixture, bare_ctx, client_fixture, ctx_fixture  # noqa: F401

FILES: dict[str, tuple[str | None, bytes]] = {
    "images/train/a.jpg": ("train", b"image a"),
    "images/train/b.jpg": ("train", b"image b"),
    "images/val/c.jpg": ("val", b"image c"),
    "labels/train/a.txt": (None, b"0 0.5 0.5 1 1\n"),
    "dataset.yaml": (None, b"names: [cat]\n"),
}


# Supplied: the guide's "/models/best.pt" lies in the test's folder.
MODEL: dict[str, str] = {}
SEEN: list[dict[str, Any]] = []


def guide_action() -> Any:
    """Return the guide's train action, its lines unchanged but for where its model lies."""
    path = Path(__file__).parents[2] / "fixtures/yolov8/synapse-yolov8-plugin/plugin/train.py"
    text = path.read_text("utf-8").replace('"/models/best.pt"', 'MODEL["path"]')
    module = types.ModuleType("guide_train")
    sys.modules[module.__name__] = module
    module.__dict__["MODEL"] = MODEL
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


guide = guide_action()


class TrainAction(guide.TrainAction):  # type: ignore[misc]
    def get_dataset(self) -> Any:
        SEEN.append(super().get_dataset())
        return SEEN[-1]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "best.pt"
    path.parent.mkdir()
    path.write_bytes(b"trained weights")
    MODEL["path"] = str(path)
    SEEN.clear()
    return path


def test_the_guide_trains(backend, ctx, weights):
    backend.add_dataset(123, FILES)
    result = TrainAction.dispatch({"dataset": 123, "epochs": 5}, ctx)
    assert isinstance(result, guide.TrainResult)
    assert result.model_path == str(weights)
    assert result.final_loss == pytest.approx(0.48)
    assert backend.models[1]["name"] == "yolov8-trained"
    assert backend.files[f"{backend.models[1]['checksum']}/best.pt"] == b"trained weights"
    steps = {step for step, _, _ in ctx.logger.progress}
    assert steps == {"dataset", "train", "model_upload"}
    assert ctx.logger.messages() == ["Starting training..."]
    assert ctx.logger.metrics[-1] == ("train", {"epoch": 5, "loss": 0.48, "learning_rate": 0.01})
    [dataset] = SEEN
    assert (dataset["id"], dataset["name"], dataset["format"]) == (123, "dataset-123", "yolo")
    assert dataset["splits"] == {"train": 2, "val": 1} and dataset["count"] == 5
    assert (Path(dataset["path"]) / "images/val/c.jpg").read_bytes() == b"image c"


def test_an_own_message_for_a_checkpoint_of_the_run(backend, ctx, weights):
    backend.add_dataset(123, FILES)
    ctx.checkpoint = {"category": "base", "path": "/p.pt"}
    TrainAction.dispatch({"dataset": 123, "epochs": 1}, ctx)
    assert "Resuming from checkpoint: base" in ctx.logger.messages()
    assert backend.count("GET", "models/") == 0


# The shape of execute.


class Params(BaseTrainParams):
    dataset: int | None = None  # type: ignore[assignment]
    lr: float = 0.1


class Two(BaseTrainAction[Params]):
    def execute(self, data_path, checkpoint):
        self.seen = (data_path, checkpoint)
        CALLS.append(self.seen)
        path = Path("out.pt")
        path.write_bytes(b"two")
        return {"weights_path": str(path), "loss": 0.25}


CALLS: list[Any] = []


def test_two_arguments_get_steps_around(backend, ctx):
    backend.add_dataset(7, FILES)
    backend.add_model(5, "base.pt", b"base weights")
    CALLS.clear()
    result = Two.dispatch({"dataset": 7, "checkpoint": 5}, ctx)
    assert result["success"] is True
    assert (result["steps_executed"], result["steps_total"]) == (3, 3)
    assert result["loss"] == 0.25
    model = backend.models[result["model_id"]]
    assert backend.files[f"{model['checksum']}/out.pt"] == b"two"
    assert model["checkpoint"] == 5
    [(data_path, checkpoint)] = CALLS
    assert data_path.name == "dataset.yaml" and data_path.is_file()
    assert checkpoint["category"] == "base" and checkpoint["id"] == 5
    assert Path(checkpoint["path"]).read_bytes() == b"base weights"
    assert Path(checkpoint["path"]).name == "base.pt"


def test_the_shape_is_read_off_the_signature():
    class Keyword(BaseTrainAction[Params]):
        def execute(self, data_path=None, checkpoint=None):
            return None

    class Plain(BaseTrainAction[Params]):
        def execute(self, *, loud=False):
            return None

    assert Two.takes_data() and Keyword.takes_data() and BaseTrainAction.takes_data()
    assert not TrainAction.takes_data() and not Plain.takes_data()


def test_two_arguments_without_a_dataset_say_what_is_missing(ctx):
    with pytest.raises(RuntimeError, match="Step 'train' failed: No data path available"):
        Two.dispatch({}, ctx)


def test_without_weights_nothing_is_uploaded(backend, ctx):
    backend.add_dataset(7, FILES)

    class NoWeights(BaseTrainAction[Params]):
        def execute(self, data_path, checkpoint):
            return None

    result = NoWeights.dispatch({"dataset": 7}, ctx)
    assert result == {"success": True, "steps_executed": 2, "steps_total": 3}
    assert backend.models == {}


def test_without_any_execute_it_says_so(backend, ctx):
    backend.add_dataset(7, FILES)

    class Nothing(BaseTrainAction[Params]):
        pass

    with pytest.raises(RuntimeError, match="Nothing has no execute"):
        Nothing.dispatch({"dataset": 7}, ctx)


# Own steps.


class Noted(BaseStep[TrainContext]):
    progress_weight = 0.5

    def __init__(self, name: str, fail: bool = False) -> None:
        self._name, self.fail = name, fail

    @property
    def name(self) -> str:
        return self._name

    def execute(self, context: TrainContext) -> StepResult:
        CALLS.append(f"do {self.name}")
        return StepResult(success=not self.fail, error="it broke" if self.fail else None)

    def rollback(self, context: TrainContext, result: StepResult) -> None:
        CALLS.append(f"undo {self.name}")


def test_own_steps_replace_the_automatic_ones_and_are_rolled_back(ctx):
    class Steps(BaseTrainAction[Params]):
        def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
            registry.register(Noted("one"))
            registry.register(Noted("two", fail=self.params.lr > 0.5))

    CALLS.clear()
    result = Steps.dispatch({"dataset": 1}, ctx)
    assert result == {"success": True, "steps_executed": 2, "steps_total": 2}
    CALLS.clear()
    with pytest.raises(RuntimeError, match="Step 'two' failed: it broke"):
        Steps.dispatch({"lr": 0.9}, ctx)
    assert CALLS == ["do one", "do two", "undo two", "undo one"]


def test_steps_around_the_plain_shape(ctx):
    class Plain(BaseTrainAction[Params]):
        def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
            super().setup_steps(registry)
            registry.insert_after("train", Noted("after"))

        def execute(self) -> dict[str, Any]:
            return {"loss": self.params.lr}

    CALLS.clear()
    result = Plain.dispatch({}, ctx)
    assert result == {"loss": 0.1, "success": True, "steps_executed": 2, "steps_total": 3}
    assert CALLS == ["do after"]


def test_an_asynchronous_training_is_run_to_its_end(backend, ctx):
    backend.add_dataset(7, FILES)

    class Later(BaseTrainAction[Params]):
        async def execute(self, data_path, checkpoint):
            return {"loss": self.params.lr, "read": data_path.name}

    result = Later.dispatch({"dataset": 7}, ctx)
    assert (result["loss"], result["read"]) == (0.1, "dataset.yaml")
    trials = {"dataset": 7, "is_tune": True, "hyperparameters": [{"lr": 0.5}]}
    assert Later.dispatch(trials, ctx)["trials"] == [{"trial_id": "1", "lr": 0.5, "loss": 0.5}]


def test_no_steps_at_all_is_an_error(ctx):
    class Empty(BaseTrainAction[Params]):
        def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
            pass

    with pytest.raises(RuntimeError, match="No steps registered"):
        Empty.dispatch({}, ctx)


# Datasets.


def trainer(ctx: Any, **params: Any) -> BaseTrainAction[Params]:
    return BaseTrainAction(Params(**params), ctx)


def test_a_dataset_is_downloaded_once(backend, ctx):
    backend.add_dataset(7, {**FILES, "images/train/copy.jpg": ("train", b"image a")})
    first = trainer(ctx, dataset=7).get_dataset()
    assert backend.count("GET", "files/") == 5  # six names, five contents
    backend.requests.clear()
    assert trainer(ctx, dataset=7).get_dataset() == first
    assert [path for _, path, _ in backend.requests] == ["ground_truth_dataset_versions/7/"]


def test_another_version_downloads_only_what_is_new(backend, ctx):
    backend.add_dataset(7, FILES)
    first = trainer(ctx, dataset=7).get_dataset()
    backend.requests.clear()
    backend.add_dataset(8, {**FILES, "images/val/d.jpg": ("val", b"image d")})
    second = trainer(ctx, dataset=8).get_dataset()
    assert backend.count("GET", "files/") == 1
    assert second["path"] != first["path"] and second["count"] == 6


def test_a_download_that_failed_continues_with_what_is_missing(backend, ctx, tmp_path):
    backend.add_dataset(7, FILES)
    url = next(row["file"] for row in backend.items[7] if row["name"] == "images/val/c.jpg")
    path = url.removeprefix(backend.url + "/")
    content = backend.files.pop(path.removeprefix("files/"))
    with pytest.raises(client_errors.NotFoundError):
        trainer(ctx, dataset=7).get_dataset()
    assert list((tmp_path / "store/downloads/datasets").iterdir()) == []
    backend.files[path.removeprefix("files/")] = content
    got = backend.count("GET", "files/")
    trainer(ctx, dataset=7).get_dataset()
    again = {p for m, p, _ in backend.requests[got:] if p.startswith("files/")}
    assert path in again
    assert backend.count("GET", "files/") <= 6


def test_a_file_that_was_written_to_is_fetched_again(backend, ctx):
    backend.add_dataset(7, FILES)
    path = Path(trainer(ctx, dataset=7).get_dataset()["path"])
    image = path / "images/train/a.jpg"
    image.chmod(0o644)
    image.write_bytes(b"IMAGE A")  # as long as before, and the cache's own bytes by the hard link
    (path / "labels.cache").write_bytes(b"of the trainer")
    (path / "images/val/c.jpg").unlink()
    backend.requests.clear()
    trainer(ctx, dataset=7).get_dataset()
    assert image.read_bytes() == b"image a"
    assert (path / "images/val/c.jpg").read_bytes() == b"image c"
    assert (path / "labels.cache").exists()
    assert backend.count("GET", "files/") == 1


def test_a_description_may_be_written_to(backend, ctx):
    backend.add_dataset(7, FILES)
    path = Path(trainer(ctx, dataset=7).get_dataset()["path"])
    assert os.access(path / "dataset.yaml", os.W_OK)
    with (path / "dataset.yaml").open("a") as file:
        file.write("path: /here\n")
    trainer(ctx, dataset=7).get_dataset()
    assert (path / "dataset.yaml").read_bytes() == b"names: [cat]\n"


def test_only_the_splits_that_are_wanted(backend, ctx):
    backend.add_dataset(7, FILES)
    found = trainer(ctx, dataset=7, splits=["val"]).get_dataset()
    assert found["splits"] == {"val": 1}
    names = {p.relative_to(found["path"]).as_posix() for p in Path(found["path"]).rglob("*.*")}
    assert names == {"images/val/c.jpg", "labels/train/a.txt", "dataset.yaml"}
    with pytest.raises(client_errors.ClientError, match="no file in the split test"):
        trainer(ctx, dataset=7, splits=["test"]).get_dataset()


def test_a_dataset_of_many_pages_and_without_digests(backend, ctx):
    backend.page = 2
    backend.add_dataset(7, FILES, checksum=None)
    for row in backend.items[7]:
        row["checksum"] = None
    first = trainer(ctx, dataset=7).get_dataset()
    assert first["count"] == 5
    backend.requests.clear()
    assert trainer(ctx, dataset=7).get_dataset()["path"] == first["path"]
    assert backend.count("GET", "files/") == 0
    assert backend.count("GET", "ground_truths/") == 3


@pytest.mark.parametrize("name", ["../out", "/etc/x", "a/../../b", "a\\..\\b", "C:/x", "."])
def test_names_that_lead_out_are_refused(backend, ctx, name):
    backend.add_dataset(7, {name: (None, b"x")})
    with pytest.raises(client_errors.ClientError, match="may not be placed"):
        trainer(ctx, dataset=7).get_dataset()
    assert backend.count("GET", "files/") == 0


def test_a_dataset_that_is_not_there(backend, ctx):
    with pytest.raises(client_errors.NotFoundError):
        trainer(ctx, dataset=99).get_dataset()
    with pytest.raises(ValueError, match=r"params\.dataset is not set"):
        trainer(ctx).get_dataset()


def test_an_own_cache_folder_of_the_run(backend, ctx, tmp_path):
    backend.add_dataset(7, FILES)
    ctx.cache_dir = tmp_path / "own"
    path = trainer(ctx, dataset=7).get_dataset()["path"]
    assert Path(path).is_relative_to(tmp_path / "own")


# Without a backend.


def test_without_a_client_the_hint_of_the_guide(tmp_path):
    action = trainer(bare_ctx(), dataset=7, checkpoint=1)
    for ask in (action.get_dataset, action.get_checkpoint, lambda: action.client):
        with pytest.raises(NoClientError, match="Backend client is None") as caught:
            ask()
        assert "use --mode remote or mock the client" in str(caught.value)
        assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, PluginError)
    with pytest.raises(NoClientError):
        action.create_model(tmp_path)


def test_a_mocked_client(tmp_path):
    mocked = mock.Mock()
    mocked.create_model.return_value = {"id": 3}
    path = tmp_path / "best.pt"
    path.touch()
    action = trainer(bare_ctx(client=mocked))
    assert action.create_model(path, name="n") == {"id": 3, "path": str(path)}
    mocked.create_model.assert_called_once_with({"name": "n"}, file=path)


# Checkpoints and models.


def test_a_checkpoint_is_downloaded_once(backend, ctx):
    backend.add_model(5, "base.pt", b"weights")
    first = trainer(ctx, checkpoint=5).get_checkpoint()
    assert first is not None
    assert first == {**first, "category": "base", "id": 5, "name": "model-5"}
    assert trainer(ctx, checkpoint=5).get_checkpoint() == first
    assert backend.count("GET", "files/") == 1
    assert trainer(ctx).get_checkpoint() is None


def test_a_model_without_a_file_or_a_digest(backend, ctx):
    backend.add_model(5, "base.pt", b"weights", file=None)
    with pytest.raises(ValueError, match="has no file"):
        trainer(ctx, checkpoint=5).get_checkpoint()
    backend.add_model(6, "base.pt", b"weights", checksum=None)
    for _ in range(2):
        found = trainer(ctx, checkpoint=6).get_checkpoint()
        assert found is not None and Path(found["path"]).read_bytes() == b"weights"
    assert backend.count("GET", "files/") == 2


def test_a_folder_goes_up_as_a_zip_and_comes_back_as_a_folder(backend, ctx, tmp_path):
    folder = tmp_path / "saved_model"
    (folder / "assets").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"w")
    (folder / "assets/labels.txt").write_text("cat\n")
    made = trainer(ctx).create_model(folder)
    assert made["path"] == str(folder) and made["name"] == "saved_model"
    os.utime(folder / "weights.bin", (1, 1))
    assert trainer(ctx).create_model(folder)["checksum"] == made["checksum"]
    found = trainer(ctx, checkpoint=made["id"]).get_checkpoint()
    assert found is not None
    assert (Path(found["path"]) / "assets/labels.txt").read_text() == "cat\n"
    (folder / "linked").symlink_to(folder / "assets")
    with pytest.raises(ValueError, match="link to a folder"):
        pack(folder, tmp_path / "x.zip")


def test_an_archive_that_leads_out_is_refused(backend, ctx, tmp_path):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("../evil.txt", "x")
    backend.add_model(5, "evil.zip", archive.read_bytes())
    with pytest.raises(client_errors.ClientError, match="archive names"):
        trainer(ctx, checkpoint=5).get_checkpoint()


def test_models_keep_their_fields_and_their_release(backend, ctx, tmp_path):
    (tmp_path / "best.pt").write_bytes(b"w")
    ctx.plugin = {"code": "yolov8", "version": "0.1.0"}
    made = trainer(ctx).create_model("best.pt", description="d", metrics={"mAP50": 0.85})
    assert made["path"] == "best.pt"
    assert (made["plugin"], made["version"]) == ("yolov8", "0.1.0")
    assert made["metrics"] == {"mAP50": 0.85} and made["name"] == "best"
    assert trainer(ctx).get_model(made["id"])["description"] == "d"
    with pytest.raises(FileNotFoundError, match="no model at"):
        trainer(ctx).create_model("none.pt")


# Metrics and tuning.


def test_hyperparameters_are_lifted():
    params = Params.model_validate({"hyperparameters": [{"lr": 0.5, "extra": 1}], "extra": 2})
    assert params.lr == 0.5 and params.extra == 2  # type: ignore[attr-defined]
    tuned = Params.model_validate({"is_tune": True, "hyperparameters": [{"lr": 0.5}]})
    assert tuned.lr == 0.1


class Tuned(BaseTrainAction[Params]):
    def execute(self, data_path, checkpoint):
        path = Path(f"lr-{self.params.lr}.pt")
        path.write_text(str(self.params.lr))
        self.report_metrics({"mAP": self.params.lr * 2}, epoch=1, category="validation")
        return {"weights_path": path}


TRIALS = {"is_tune": True, "hyperparameters": [{"lr": 0.1}, {"lr": 0.4}, {"lr": 0.2}]}


def test_a_tuning_run_trains_each_set_and_uploads_the_best(backend, ctx):
    backend.add_dataset(7, FILES)
    result = Tuned.dispatch({"dataset": 7, "metric": "mAP", **TRIALS}, ctx)
    assert result["best_trial"] == "2" and len(result["trials"]) == 3
    assert backend.files[f"{backend.models[1]['checksum']}/lr-0.4.pt"] == b"0.4"
    assert result["model_id"] == 1 and len(backend.models) == 1
    tables = [data for event, data, _ in ctx.logger.events if event == "trials"]
    assert tables[-1]["best_trial"] == "2" and tables[-1]["hyperparameters"] == ["lr"]
    assert tables[-1]["metrics"] == ["mAP"]
    lowest = Tuned.dispatch({"dataset": 7, "metric": "mAP", "mode": "min", **TRIALS}, ctx)
    assert lowest["best_trial"] == "1"
    unranked = Tuned.dispatch({"dataset": 7, **TRIALS}, ctx)
    assert unranked["best_trial"] is None and "model_id" not in unranked


@pytest.mark.parametrize(
    "space", [{"name": "lr", "type": "uniform", "min": 0, "max": 1}, {"lr": {"type": "choice"}}]
)
def test_a_search_needs_ray_and_says_so(ctx, space):
    with pytest.raises(ExecutionError, match="needs Ray Tune"):
        Tuned.dispatch({"dataset": 7, "is_tune": True, "hyperparameters": [space]}, ctx)
    with pytest.raises(ExecutionError, match="needs hyperparameters"):
        Tuned.dispatch({"dataset": 7, "is_tune": True}, ctx)


def test_metrics_of_an_epoch(ctx):
    trainer(ctx).report_metrics({"loss": 1.0}, epoch=3)
    event, data, _ = ctx.logger.events[-1]
    assert event == "metric"
    assert (data["category"], data["key"], data["value"]) == ("train", "epoch", 3)
    assert data["metrics"] == {"loss": 1.0}


def test_autolog_reports_what_ultralytics_says(ctx, monkeypatch):
    class YOLO:
        def __init__(self) -> None:
            self.callbacks: dict[str, Any] = {}

        def add_callback(self, name: str, call: Any) -> None:
            self.callbacks[name] = call

        def train(self, epochs: int) -> None:
            for epoch in range(epochs):
                self.epoch, self.epochs, self.tloss = epoch, epochs, [0.5]
                self.lr, self.metrics = {"lr/pg0": 0.1}, {"metrics/mAP50(B)": 0.9}
                self.label_loss_items = lambda loss, prefix: {f"{prefix}/box_loss": loss[0]}
                for call in self.callbacks.values():
                    call(self)

    action = trainer(ctx)
    with pytest.raises(ValueError, match="ultralytics"):
        action.autolog("keras")
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(ImportError):
        action.autolog("ultralytics")
    monkeypatch.setitem(sys.modules, "ultralytics", types.SimpleNamespace(YOLO=YOLO))
    action.autolog("ultralytics")
    action.autolog("ultralytics")  # twice reports once
    YOLO().train(2)
    assert ("train", 2, 2) in ctx.logger.progress
    points = [data for event, data, _ in ctx.logger.events if event == "metric"]
    assert len(points) == 6
    assert points[0]["metrics"] == {"train_box_loss": 0.5}
    assert points[2]["metrics"] == {"metrics_mAP50_B": 0.9}


def test_progress_names_of_the_guide():
    assert TrainProgressCategories.DATASET == "dataset"
    assert TrainProgressCategories.TRAIN == "train"
    assert TrainProgressCategories.MODEL_UPLOAD == "model_upload"


def test_the_cache_is_shared_by_processes_that_meet(backend, client, tmp_path):
    """Two caches over one folder, at once: one lays the dataset out, the other takes it."""
    from concurrent.futures import ThreadPoolExecutor

    backend.add_dataset(7, FILES)
    caches = [DownloadCache(tmp_path / "c", client) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda cache: cache.dataset(7), caches))
    assert found[0].path == found[1].path
    assert sorted(local.downloaded for local in found) == [0, 5]
