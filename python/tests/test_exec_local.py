"""Execution in this process: the executor, discovery, the runner, the job entrypoint."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, Field

sys.path.insert(0, os.path.dirname(__file__))
from exec_support import plugin

import synapse_sdk.plugins.executors as executors
from synapse_sdk import _yaml
from synapse_sdk.plugins import action, errors, run_plugin
from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.config import PluginConfig
from synapse_sdk.plugins.discovery import PluginDiscovery
from synapse_sdk.plugins.entrypoint import RESULT_END, RESULT_START, main
from synapse_sdk.plugins.enums import PluginCategory, RunMethod
from synapse_sdk.plugins.environment import PluginEnvironment
from synapse_sdk.plugins.executors.local import LocalExecutor
from synapse_sdk.plugins.results import ActionResult


@pytest.fixture(autouse=True)
def no_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login, no executable: what is tested here needs neither."""
    monkeypatch.setenv("SYNAPSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere/python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("SYNAPSE_BIN", "SYNAPSE_HOST", "SYNAPSE_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


class Params(BaseModel):
    epochs: int = Field(default=1, ge=1)


class Result(BaseModel):
    model_path: str
    final_loss: float


class Train(BaseAction[Params]):
    result_model = Result

    def execute(self) -> Any:
        return Result(model_path="/m", final_loss=self.params.epochs / 10)


class Bare(BaseAction):  # type: ignore[type-arg]
    def execute(self) -> Any:
        return self.params


def raising(error: BaseException) -> Any:
    class Raise(BaseAction[Params]):
        def execute(self) -> Any:
            raise error

    return Raise


def test_a_result_is_a_dict_with_attributes_and_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    executor = LocalExecutor(env={"DEBUG": "true"}, job_id="local-1")
    result = executor.execute(action_cls=Train, params={"epochs": 5})
    assert isinstance(result, ActionResult)
    assert "model_path" in result and result["final_loss"] < 1.0
    assert result.model_path == "/m"
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("Result: "))
    assert json.loads(line.removeprefix("Result: ")) == {"model_path": "/m", "final_loss": 0.5}


def test_both_places_export_the_executor() -> None:
    assert executors.LocalExecutor is LocalExecutor
    assert isinstance(LocalExecutor(), executors.ExecutorProtocol)
    with pytest.raises(AttributeError):
        executors.NoSuchThing  # noqa: B018


@pytest.mark.parametrize("env", [{"A": "1"}, PluginEnvironment({"A": "1"}), None])
def test_env_is_seen_by_the_action_and_not_exported(
    env: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if env is None:
        monkeypatch.setenv("A", "1")

    @action()
    def look(params: Any, ctx: Any) -> Any:
        return {"a": ctx.env["A"], "job": ctx.job_id, "client": ctx.client}

    assert LocalExecutor(env=env, job_id="j").execute(look) == {
        "a": "1",
        "job": "j",
        "client": None,
    }
    assert env is None or "A" not in os.environ


def test_bad_params_name_field_value_and_rule() -> None:
    with pytest.raises(errors.ValidationError) as caught:
        LocalExecutor().execute(Train, {"epochs": -1})
    assert caught.value.details == [
        {
            "loc": ["epochs"],
            "msg": "Input should be greater than or equal to 1",
            "type": "greater_than_equal",
            "input": -1,
        }
    ]
    text = "epochs: Input should be greater than or equal to 1 (got -1)"
    assert text in caught.value.message
    assert type(caught.value.__cause__).__name__ == "ValidationError"


def test_errors_of_the_action() -> None:
    own = errors.BuildError("b", {"x": 1})
    with pytest.raises(errors.BuildError) as same:
        LocalExecutor().execute(raising(own))
    assert same.value is own
    cause = KeyError("k")
    with pytest.raises(errors.ExecutionError) as wrapped:
        LocalExecutor().execute(raising(cause))
    assert wrapped.value.__cause__ is cause
    assert wrapped.value.message == "Action execution failed: KeyError: 'k'"
    assert "test_exec_local.py" in wrapped.value.details["traceback"]
    assert "invocation.py" not in wrapped.value.details["traceback"]
    for passed in (KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(passed)):
            LocalExecutor().execute(raising(passed))


def test_raw_params_functions_and_plain_results() -> None:
    assert LocalExecutor().execute(Bare, {"a": 1}) == {"a": 1}
    assert LocalExecutor().execute(Bare) == {}

    @action
    def number(params: Any, ctx: Any) -> Any:
        return 5

    @action(params=Params)
    async def later(params: Params, ctx: Any) -> Any:
        return {"n": params.epochs}

    assert LocalExecutor().execute(number) == {"result": 5}
    assert LocalExecutor().execute(later, {"epochs": 2}) == {"n": 2}


def test_an_overridden_dispatch_is_used() -> None:
    class Remote(BaseAction[Params]):
        def execute(self) -> Any: ...

        @classmethod
        def dispatch(cls, params: Any, ctx: Any) -> Any:
            return {"sent": params}

    assert LocalExecutor().execute(Remote, {"epochs": 3}) == {"sent": {"epochs": 3}}


def test_params_are_parsed_once() -> None:
    seen = []

    class Counting(BaseModel):
        n: int = 0

        def model_post_init(self, context: Any) -> None:
            seen.append(context)

    class Count(BaseAction[Counting]):
        def execute(self) -> Any: ...

    LocalExecutor().execute(Count, {})
    assert len(seen) == 1


def test_a_result_that_is_not_as_declared_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Wrong(Train):
        def execute(self) -> Any:
            return {"model_path": 1}

    assert LocalExecutor().execute(Wrong) == {"model_path": 1}
    said = capsys.readouterr()
    assert "Result validation warning for Result" in said.out + said.err

    class Lossy(Train):
        def execute(self) -> Any:
            return {"model_path": "m", "loss": float("nan")}

    LocalExecutor().execute(Lossy)
    said = capsys.readouterr()
    assert "result: loss is NaN, kept as null" in said.out + said.err


CONFIG = """\
name: Sample
code: {code}
category: neural_net
actions:
  train:
    entrypoint: plugin.train:TrainAction
    method: job
    custom: kept
  work: plugin.train.work
"""
SOURCE = """
from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseAction, action
from synapse_sdk.plugins.types import YOLODataset, ModelWeights
from plugin.near import NAME
class P(BaseModel):
    dataset: int = 1
    epochs: int = Field(default=3, ge=1)
class TrainAction(BaseAction[P]):
    input_type = YOLODataset
    output_type = ModelWeights
    def execute(self):
        from plugin.late import LATE
        return {"name": NAME, "late": LATE, "epochs": self.params.epochs}
@action(params=P)
def work(params, ctx):
    return {"name": NAME, "worked": params.epochs}
"""


def sample(root: Path, code: str = "sample", config: str = "config.yaml") -> Path:
    plugin(root, train=SOURCE, near=f"NAME = {code!r}\n", late=f"LATE = {code!r} * 2\n")
    (root / config).write_text(CONFIG.format(code=code))
    return root


def test_plugins_of_the_same_module_names_stay_apart(tmp_path: Path) -> None:
    before, path = dict(sys.modules), list(sys.path)
    foreign = ModuleType("plugin")
    sys.modules["plugin"] = foreign
    try:
        found = [PluginDiscovery.from_path(sample(tmp_path / c, c)) for c in "abc"]
        classes = [each.get_action_class("train") for each in found]
        assert sys.modules["plugin"] is foreign and "plugin.train" not in sys.modules
        for each, code in zip(classes, "abc", strict=True):
            result = LocalExecutor().execute(each, {})
            assert result == {"name": code, "late": code * 2, "epochs": 3}
        assert sys.modules["plugin"] is foreign and sys.path == path
    finally:
        del sys.modules["plugin"]
    left = [name for name in set(sys.modules) - set(before) if name.startswith("plugin")]
    assert left == []


def test_plugins_in_threads_take_turns(tmp_path: Path) -> None:
    roots = [sample(tmp_path / str(n), f"p{n}") for n in range(6)]
    results: dict[str, Any] = {}

    def go(root: Path) -> None:
        results[root.name] = run_plugin(root, "train")["late"]

    threads = [threading.Thread(target=go, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {str(n): f"p{n}" * 2 for n in range(6)}


def test_one_plugin_may_run_another_and_itself(tmp_path: Path) -> None:
    inner = sample(tmp_path / "inner", "inner")
    outer = sample(tmp_path / "outer", "outer")
    (outer / "plugin/late.py").write_text(
        "from synapse_sdk.plugins import run_plugin\n"
        f"LATE = [run_plugin({str(inner)!r}, 'train')['late'],"
        f" run_plugin({str(outer)!r}, 'work')['name'],"
        " __import__('plugin.near').near.NAME]\n"
    )
    assert run_plugin(outer, "train")["late"] == ["innerinner", "outer", "outer"]


def test_a_plugin_that_the_process_can_import_anyway_stays_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = sample(tmp_path)
    monkeypatch.syspath_prepend(str(root))
    try:
        from plugin.train import TrainAction  # type: ignore[import-not-found]

        assert PluginDiscovery.from_path(root).get_action_class("train") is TrainAction
        assert sys.modules["plugin.train"].TrainAction is TrainAction
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "plugin"]:
            del sys.modules[name]


def test_discovery_of_a_config(tmp_path: Path) -> None:
    found = PluginDiscovery.from_path(sample(tmp_path) / "config.yaml")
    assert found.list_actions() == ["train", "work"]
    assert found.has_action("work") and not found.has_action("x")
    assert found.get_action_method("train") is RunMethod.JOB
    assert found.get_action_entrypoint("train") == "plugin.train:TrainAction"
    assert found.get_action_entrypoint("work") == "plugin.train.work"
    assert found.get_action_input_type("train") == "yolo_dataset"
    assert found.get_action_params_model("train").__name__ == "P"
    assert found.get_action_class("train").action_name == "train"
    assert found.get_action_class("train").category is PluginCategory.NEURAL_NET
    form = found.get_action_ui_schema("train")
    assert [item["name"] for item in form["ui_schemas"]] == ["dataset", "epochs"]
    with pytest.raises(errors.ActionNotFoundError) as caught:
        found.get_action_config("x")
    assert caught.value.message == "Action not found: x"
    assert caught.value.details == {"available": ["train", "work"]}


def test_what_the_config_lacks_is_told_and_written(tmp_path: Path) -> None:
    found = PluginDiscovery.from_path(sample(tmp_path))
    assert found.check_config_sync() == {"train": ["input_type", "output_type", "hyperparameters"]}
    data = found.to_config_dict()
    train = data["actions"]["train"]
    assert train["custom"] == "kept" and train["input_type"] == "yolo_dataset"
    (item,) = train["hyperparameters"]["train_ui_schemas"]
    assert item["name"] == "epochs" and item["required"] is True
    (tmp_path / "config.yaml").write_text(found.to_yaml())
    again = PluginDiscovery.from_path(tmp_path)
    assert again.check_config_sync() == {}
    assert again.to_config_dict() == data
    with pytest.raises(errors.PluginError, match="SYNAPSE_BIN"):
        again.sync_config_file(tmp_path)


def test_an_sdk_class_as_entrypoint_is_not_shared(tmp_path: Path) -> None:
    classes = []
    for code in ("a", "b"):
        root = plugin(tmp_path / code)
        text = f"name: X\ncode: {code}\nactions:\n  {code}: synapse_sdk.plugins.BaseAction\n"
        (root / "config.yaml").write_text(text)
        classes.append(PluginDiscovery.from_path(root).get_action_class(code))
    assert [each.action_name for each in classes] == ["a", "b"]
    assert BaseAction.action_name is None


def test_entrypoints_that_name_nothing(tmp_path: Path) -> None:
    root = sample(tmp_path)
    for old, new, text in [
        ("TrainAction", "TrainActoin", "did you mean TrainAction?"),
        ("plugin.train:", "plugin.trian:", "there is no module plugin.trian"),
    ]:
        (root / "config.yaml").write_text(CONFIG.format(code="x").replace(old, new))
        with pytest.raises(errors.ActionNotFoundError) as caught:
            PluginDiscovery.from_path(root).get_action_class("train")
        assert caught.value.message.startswith("Action not found: train: ")
        assert text in caught.value.message
    (root / "config.yaml").write_text(CONFIG.format(code="x"))
    (root / "plugin/near.py").write_text("import nowhere\n")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        PluginDiscovery.from_path(root).get_action_class("train")


def test_configs_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Config file not found: .*config\.yaml"):
        PluginDiscovery.from_path(tmp_path)
    (tmp_path / "config.yaml").write_text("name: x\nactions: {train: {method: nope}}\n")
    with pytest.raises(errors.ValidationError) as caught:
        PluginDiscovery.from_path(tmp_path)
    assert "code: Field required" in caught.value.message
    (tmp_path / "config.yaml").write_text("- 1\n")
    with pytest.raises(_yaml.YamlError):
        PluginDiscovery.from_path(tmp_path)
    os.rename(tmp_path / "config.yaml", tmp_path / "synapse.yaml")
    (tmp_path / "synapse.yaml").write_text("name: x\ncode: y\n")
    assert PluginDiscovery.from_path(tmp_path).config.code == "y"


def test_the_config_model_is_lenient_where_it_may() -> None:
    with pytest.warns(FutureWarning, match=r"X\.Y\.Z"):
        config = PluginConfig.model_validate(
            {
                "name": "n",
                "code": "c",
                "version": 1.5,
                "unknown": 1,
                "env": None,
                "supported_data_type": "image",
                "smart_tool_type": "interactive",
                "actions": {"a": "p:A", "b": None, "c": {"method": None, "description": None}},
            }
        )
    assert config.actions["a"].entrypoint == "p:A" and config.actions["a"].name == "a"
    assert config.actions["b"].method is RunMethod.TASK
    assert config.supported_data_types == ["image"] and config.smart_tool == "interactive"


def test_actions_found_in_code(tmp_path: Path) -> None:
    head = "from synapse_sdk.plugins import BaseAction, BaseTrainAction, action\n"
    body = "    def execute(self): pass\n"
    plugin(
        tmp_path,
        train=head + f"class YOLOTrainAction(BaseAction):\n{body}",
        named=head + f"class X(BaseAction):\n    action_name = 'other'\n    method = 'job'\n{body}",
        abstract=head + "class HalfAction(BaseAction): pass\n",
        function=head + "@action('fn')\ndef f(params, ctx): pass\n",
        broken=f"import nowhere\nclass B(nowhere.BaseX):\n    action_name = 'lost'\n{body}",
        again="from plugin.train import YOLOTrainAction\nclass NoBase: pass\n",
        test_x="raise SystemExit('a test was imported')\nclass A(BaseAction): pass\n",
        ignored="raise SystemExit('an ignored file was imported')\nclass A(BaseAction): pass\n",
    )
    trap = "raise SystemExit('imported')\nclass A(BaseAction): pass\n"
    for folder in (".venv/lib", "own-env/lib", "build", "__pycache__", "notes/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text(trap)
    (tmp_path / "own-env/pyvenv.cfg").touch()
    (tmp_path / ".synapseignore").write_text("# c\nplugin/ignored.py\nnotes/**\n")
    found = PluginDiscovery.discover_actions(tmp_path)
    assert found == {
        "yolotrain": {"entrypoint": "plugin.train:YOLOTrainAction"},
        "other": {"entrypoint": "plugin.named:X", "method": "job"},
        "fn": {"entrypoint": "plugin.function:f"},
        "lost": {"entrypoint": "plugin.broken:B"},
    }


def test_discovery_of_a_module() -> None:
    module = ModuleType("some_module")
    exec(
        "from synapse_sdk.plugins import BaseAction, action\n"
        "class TrainAction(BaseAction):\n    'Trains.'\n    def execute(self): return 1\n"
        "@action('fn', description='Does.')\ndef f(params, ctx): return 2\n",
        vars(module),
    )
    found = PluginDiscovery.from_module(module, name="Some")
    assert found.list_actions() == ["train", "fn"]
    assert found.config.code == "some-module" and found.config.name == "Some"
    assert found.get_action_config("fn").description == "Does."
    assert LocalExecutor().execute(found.get_action_class("fn")) == {"result": 2}


def test_a_plugin_is_found_by_path_module_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sample(tmp_path / "w/plugins/one", "one")
    sample(tmp_path / "w/plugins/two", "two", "synapse.yaml")
    sample(tmp_path / "w/plugins/out", "out")
    (tmp_path / "w/synapse-workspace.yaml").write_text(
        "members: ['plugins/{one,two,out}', '!plugins/out']\n"
    )
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/my_actions.py").write_text(
        "from synapse_sdk.plugins import action\n@action\ndef hi(params, ctx): return params\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.chdir(one / "plugin")
    assert run_plugin(str(one), "train")["name"] == "one"
    assert run_plugin(one / "config.yaml", "work", {"epochs": 2})["worked"] == 2
    assert run_plugin("my_actions", "hi", {"a": 1}) == {"a": 1}
    assert run_plugin(plugin_code="one", action="train", mode="local")["name"] == "one"
    assert run_plugin("two", "train")["name"] == "two"
    assert run_plugin("anything", "x", {"epochs": 2}, action_cls=Train)["final_loss"] == 0.2
    for missing in ("out", "nothing", "json"):
        with pytest.raises(errors.PluginRunError, match=f"no plugin '{missing}'"):
            run_plugin(missing, "train")
    with pytest.raises(errors.ActionNotFoundError, match="Action not found: nope"):
        run_plugin("one", "nope")


@pytest.mark.parametrize(
    ("mode", "text"),
    [("task", "the Ray release"), ("job", "the Ray release"), ("remote", "the platform release")],
)
def test_modes_that_are_not_there_yet(mode: str, text: str) -> None:
    with pytest.raises(errors.PluginRunError, match=f"comes with {text}"):
        run_plugin("x", "train", mode=mode)


def test_a_mode_that_is_none() -> None:
    with pytest.raises(ValueError, match="local, task, job, remote"):
        run_plugin("x", "train", mode="nope")


class Releases:
    """A backend with releases of one plugin."""

    def __init__(self, root: Path) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(root.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(root).as_posix())
        self.zip = packed.getvalue()
        self.downloads: list[str] = []

    def list_plugin_releases(self, code: str) -> list[dict[str, Any]]:
        rows = [self._row(v) for v in ("0.9.0", "0.10.0", "0.2.0")]
        rows.append({**self._row("9.9.9"), "debug": True})
        return rows if code == "released" else []

    def get_plugin_release(self, code: str, version: str) -> dict[str, Any]:
        return self._row(version)

    def _row(self, version: str) -> dict[str, Any]:
        checksum = "ab" + version.replace(".", "")
        return {"version": version, "file": f"/files/{version}", "checksum": checksum}

    def download(self, url: str, path: Path, checksum: str | None = None) -> Path:
        self.downloads.append(url)
        path.write_bytes(self.zip)
        return path


def test_a_release_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Releases(sample(tmp_path / "source", "released"))
    monkeypatch.setattr("synapse_sdk.clients.get_client", lambda env=None: backend)
    monkeypatch.setenv("SYNAPSE_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path / "source" / "plugin")
    monkeypatch.chdir("/")
    for _ in range(2):
        assert run_plugin("released", "train")["name"] == "released"
    assert backend.downloads == ["/files/0.10.0"]
    assert run_plugin("released@0.2.0", "train")["name"] == "released"
    assert backend.downloads == ["/files/0.10.0", "/files/0.2.0"]
    with pytest.raises(errors.PluginRunError, match="no plugin 'absent'"):
        run_plugin("absent", "train")


def test_the_job_entrypoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jobs_of_test.py").write_text(
        "from synapse_sdk.plugins import action\n"
        "@action\ndef hi(params, ctx): return {'p': params, 'job': ctx.job_id}\n"
        "@action\ndef five(params, ctx): return 5\n"
        "@action\ndef bad(params, ctx): raise ValueError('no')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def said(**variables: str) -> tuple[int, str, str]:
        code = main({f"SYNAPSE_{name}": value for name, value in variables.items()})
        out = capsys.readouterr()
        return code, out.out, out.err

    code, out, _ = said(ACTION_ENTRYPOINT="jobs_of_test:hi", ACTION_PARAMS='{"a": 1}', JOB_ID="7")
    inner = out.partition(RESULT_START)[2].partition(RESULT_END)[0]
    assert code == 0 and json.loads(inner) == {"p": {"a": 1}, "job": "7"}
    (tmp_path / "params.json").write_text('{"b": 2}')
    code, out, _ = said(
        ACTION_ENTRYPOINT="jobs_of_test.hi", ACTION_PARAMS_FILE=str(tmp_path / "params.json")
    )
    assert code == 0 and '"b": 2' in out
    assert '{"result": 5}' in said(ACTION_ENTRYPOINT="jobs_of_test.five")[1]
    code, out, err = said(ACTION_ENTRYPOINT="jobs_of_test:bad")
    assert code == 1 and RESULT_START not in out
    assert err.startswith("Error: Action execution failed: no\nDetails: {")
    assert said(ACTION_ENTRYPOINT="jobs_of_test:nothing")[0] == 1
    assert said() == (2, "", "Error: SYNAPSE_ACTION_ENTRYPOINT is not set\n")
    code, _, err = said(ACTION_ENTRYPOINT="x:y", ACTION_PARAMS="{")
    assert code == 2 and err.startswith("Error: Invalid JSON params: ")
