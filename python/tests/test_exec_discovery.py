"""PluginDiscovery: modules, methods by name, and what is said of a config that is refused."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from synapse_sdk import _yaml
from synapse_sdk._find import find_synapse
from synapse_sdk.plugins import errors, run_plugin, testing, utils
from synapse_sdk.plugins.config import PluginConfig
from synapse_sdk.plugins.discovery import PluginDiscovery
from synapse_sdk.plugins.enums import PluginCategory, RunMethod

MODULE = """
from synapse_sdk.plugins import BaseAction, BaseTrainAction, PluginCategory, action
from synapse_sdk.plugins.actions.dataset import DatasetAction
from synapse_sdk.plugins.types import YOLODataset

class Plain(BaseAction):
    def execute(self): return self.params

class Own(BaseAction):
    action_name, category, method = "own", PluginCategory.UPLOAD, "serve"
    input_type = YOLODataset
    def execute(self): return 1

@action
def train(params, ctx): return 2
"""


@pytest.fixture
def module() -> ModuleType:
    made = ModuleType("__my.Module_")
    exec(MODULE, vars(made))
    return made


def test_the_actions_of_a_module_get_what_they_lack(module: ModuleType) -> None:
    found = PluginDiscovery.from_module(module, category="export")
    assert found.list_actions() == ["plain", "own", "train"]
    plain, own = found.get_action_class("plain"), found.get_action_class("own")
    assert (plain.action_name, plain.category) == ("plain", PluginCategory.EXPORT)
    assert (own.action_name, own.category) == ("own", PluginCategory.UPLOAD)
    assert found.get_action_class("train").category is PluginCategory.EXPORT
    assert found.get_action_method("own") is RunMethod.SERVE
    assert found.get_action_method("train") is RunMethod.JOB
    assert found.get_action_method("plain") is RunMethod.TASK
    assert found.get_action_config("own").input_type == "yolo_dataset"


def test_the_code_of_a_module_is_one(module: ModuleType) -> None:
    assert PluginDiscovery.from_module(module).config.code == "module"
    assert PluginDiscovery.from_module(module).config.name == "Module_"
    assert PluginDiscovery.from_module(ModuleType("___")).config.code == "plugin"


def test_the_sample_actions_run_by_their_module(tmp_path: Path) -> None:
    assert PluginDiscovery.from_module(testing).list_actions() == ["download", "convert", "train"]
    name = "synapse_sdk.plugins.testing"
    result = run_plugin(name, "download", {"work_dir": str(tmp_path), "count": 2})
    assert result["count"] == 2
    assert sorted(path.name for path in Path(result["path"]).iterdir()) == ["1.txt", "2.txt"]
    assert testing.DownloadAction.category is None


def config(root: Path, text: str) -> Path:
    (root / "config.yaml").write_text(f"name: X\ncode: x\n{text}")
    return root


def test_methods_go_by_the_name_where_none_is_written(tmp_path: Path) -> None:
    written = {
        "train": {"entrypoint": "a:A", "method": None},
        "inference": "a:A",
        "export": {"entrypoint": "a:A", "method": "task"},
        "mine": {"entrypoint": "a:A"},
    }
    expected = {
        "train": RunMethod.JOB,
        "inference": RunMethod.SERVE,
        "export": RunMethod.TASK,
        "mine": RunMethod.TASK,
    }
    model = PluginConfig.model_validate({"name": "X", "code": "x", "actions": written})
    raw = {"actions": written}
    found = PluginDiscovery(model, tmp_path, raw)
    for name, method in expected.items():
        assert found.get_action_method(name) is method
        assert utils.get_action_method(model, name) is method
        assert utils.get_action_method(raw, name) is method


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("category: neural\n", "PluginConfig (config:{file}): category: Input should be"),
        (
            "actions:\n  train:\n    method: local\n    entrypoint: [a]\n",
            "ActionConfig (action:train) of {file}: entrypoint: Input should be a valid string, "
            "method: Input should be",
        ),
        ("actions: 5\n", "PluginConfig (config:{file}): actions: Input should be"),
        ("actions: {train: 5}\n", "ActionConfig (action:train) of {file}: Input should be"),
    ],
)
def test_a_refused_config_names_its_part(tmp_path: Path, text: str, said: str) -> None:
    root = config(tmp_path, text)
    with pytest.raises(errors.ValidationError) as caught:
        PluginDiscovery.from_path(root)
    expected = said.replace("{file}", str(root / "config.yaml"))
    assert f"Validation failed for {expected}" in caught.value.message


def test_a_refusal_tells_no_values_of_env(tmp_path: Path) -> None:
    root = config(tmp_path, "env: hunter2secret\ncategory: no\n")
    with pytest.raises(errors.ValidationError) as caught:
        PluginDiscovery.from_path(root)
    shown = "".join(traceback.format_exception(caught.value))
    assert "env: Input should be" in shown
    assert "hunter2secret" not in shown


def test_syncers_are_not_chosen(tmp_path: Path) -> None:
    root = config(tmp_path, "actions: {}\n")
    found = PluginDiscovery.from_path(root)
    chosen: Any = ["types"]
    with pytest.raises(errors.PluginError, match="as a whole"):
        found.sync_config_file(root, syncers=chosen)


CODE = """
from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseAction, BaseServeDeployment, BaseUploadAction
from synapse_sdk.plugins.actions.upload import UploadParams

class P(BaseModel):
    path: str = ""
    checkpoint: int = 1
    lr: float = Field(default=0.1, gt=0)

class Hidden(BaseModel):
    model_config = {"json_schema_extra": {"exclude_from_ui": True}}
    lr: float = 0.1

class Empty(BaseModel):
    dataset: int = 1

class Run(BaseAction[P]):
    def execute(self): return 1

class Concealed(BaseAction[Hidden]):
    def execute(self): return 1

class Nothing(BaseAction[Empty]):
    def execute(self): return 1

class Plain(BaseAction):
    def execute(self): return 1

class Deployed(BaseServeDeployment[P]):
    async def _get_model(self, model_info): return 1
    async def infer(self): return 1
"""
RUN, HIDDEN, NOTHING = "plugin.code:Run", "plugin.code:Concealed", "plugin.code:Nothing"
FORM = [{"$formkit": "select", "name": "group_name"}, {"$formkit": "text", "name": "mine"}]
ACTIONS: dict[str, tuple[str, Any]] = {
    "a task that is called inference": ("inference", {"entrypoint": RUN, "method": "task"}),
    "an inference that can be served": ("inference", {"entrypoint": "plugin.code:Deployed"}),
    "a bare train": ("train", RUN),
    "a train as a task": ("train", {"entrypoint": RUN, "method": "task"}),
    "a train without a form": ("train", {"entrypoint": HIDDEN}),
    "a train with nothing to ask": ("train", {"entrypoint": NOTHING}),
    "a train that asks nothing more": (
        "train",
        {"entrypoint": NOTHING, "hyperparameters": {"train_ui_schemas": [{"name": "a"}]}},
    ),
    "an upload": ("upload", {"entrypoint": RUN}),
    "an upload with its own group": ("upload", {"entrypoint": RUN, "ui_schema": FORM}),
    "an upload without a model": (
        "upload",
        {"entrypoint": "plugin.code:Plain", "ui_schema": FORM},
    ),
    "a hidden upload": ("upload", {"entrypoint": HIDDEN}),
    "an upload with another form": ("upload", {"entrypoint": RUN, "ui_schema": {"a": 1}}),
    "another action": ("mine", {"entrypoint": RUN, "method": "serve"}),
}


@pytest.mark.skipif(find_synapse() is None, reason="the synapse command is not built")
@pytest.mark.parametrize(("name", "entry"), ACTIONS.values(), ids=ACTIONS)
def test_package_and_command_say_the_same(tmp_path: Path, name: str, entry: Any) -> None:
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin/__init__.py").touch()
    (tmp_path / "plugin/code.py").write_text(CODE)
    # All of the code is named somewhere, so that no action is new.
    classes = ("Run", "Concealed", "Nothing", "Plain", "Deployed")
    others = {f"other{short}": f"plugin.code:{short}" for short in classes}
    head = {"version": "0.1.0", "category": "custom"}
    root = config(tmp_path, _yaml.dump({**head, "actions": {**others, name: entry}}))
    found = PluginDiscovery.from_path(root)
    expected, data = found.check_config_sync(), found.to_config_dict()
    assert found.sync_config_file(root) == expected
    again = PluginDiscovery.from_path(root)
    assert again.check_config_sync() == {}
    assert again.sync_config_file(root) == {}
    # An entry that stays short means what the long one says.
    written = again.raw["actions"][name]
    assert data["actions"][name] == (
        {"entrypoint": written} if isinstance(written, str) else written
    )


def test_a_script_that_ends_the_process_is_looked_at_no_further(tmp_path: Path) -> None:
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin/__init__.py").touch()
    body = "from synapse_sdk.plugins import BaseAction\nimport sys\n"
    action = "class A(BaseAction):\n    action_name = 'a'\n    def execute(self): return 1\n"
    (tmp_path / "plugin/cli.py").write_text(f"{body}{action}sys.exit(3)\n")
    found = PluginDiscovery.discover_actions(tmp_path)
    assert found == {"a": {"entrypoint": "plugin.cli:A"}}


@pytest.mark.skipif(find_synapse() is None, reason="the synapse command is not built")
def test_a_config_that_the_command_refuses(tmp_path: Path) -> None:
    root = config(tmp_path, "actions: {}\n")
    found = PluginDiscovery.from_path(root)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(errors.PluginError, match=r"config\.yaml:1:5: not valid YAML"):
        found.sync_config_file(root)
