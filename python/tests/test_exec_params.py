"""Params held against an action's model, before its environment is made and by a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from exec_support import SDK, Run, Server, plugin

CANARY = "c4n4ry"
HEAD = """
from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseAction, action
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.worker.finish() == 0


CHECKED = """
import torch
from pathlib import Path
from typing import Annotated
from pydantic import AfterValidator, BaseModel, Field, FilePath, SecretStr
from pydantic import field_validator, model_validator
from synapse_sdk.plugins import BaseAction

class Optimizer(BaseModel):
    rate: float = Field(0.1, gt=0)

def there(value: str) -> str:
    if not torch.hub.has(value):
        raise ValueError("no such model")
    return value

class Params(BaseModel):
    dataset: int
    epochs: int = Field(5, ge=1)
    optimizer: Optimizer = Optimizer()
    weights: FilePath | None = None
    name: Annotated[str, AfterValidator(there)] | int = "m"
    key: SecretStr = Field("", max_length=3)
    %s

class TrainAction(BaseAction[Params]):
    def execute(self): return {}
"""


def _check(server: Server, given: Any, more: str = "") -> dict[str, str] | None:
    module, name = "plugin.train", "TrainAction"
    wanted = {"action": "train", "module": module, "object": name, "params": None, "ui": False}
    wanted |= {"check": True, "given": given}
    refused = server.one(CHECKED % more, wanted=[wanted])["refused"]
    if refused is None:
        return None
    return {".".join(map(str, item["loc"])): item["type"] for item in refused}


def test_params_are_held_against_their_model(server: Server) -> None:
    assert _check(server, {"dataset": "7", "epochs": 3}) is None
    assert _check(server, None) == {"dataset": "missing"}
    assert _check(server, [1]) == {"": "model_type"}
    given = {"dataset": "x", "epochs": 0, "optimizer": {"rate": "fast"}}
    assert _check(server, given) == {
        "dataset": "int_parsing",
        "epochs": "greater_than_equal",
    }
    wanted = {"action": "train", "module": "plugin.train", "object": "TrainAction"}
    wanted |= {"params": None, "ui": False, "check": True, "given": {"dataset": 1, "key": "abcd"}}
    (item,) = server.one(CHECKED % "", wanted=[wanted])["refused"]
    assert item["loc"] == ["key"] and item["input"] is None


@pytest.mark.parametrize(
    ("head", "field"),
    [
        ("import os", "n: int = Field(1, le=int(os.environ.get('MAXN', '5')))"),
        ("import os\nMOST = int(os.environ.get('MAXN', '5'))", "n: int = Field(1, le=MOST)"),
        ("from os import environ as Field5\nMOST = len(Field5)", "n: int = Field(1, le=MOST)"),
        ("from plugin.limits import MOST", "n: int = Field(1, le=MOST)"),
        ("from plugin.limits import *", "n: int = Field(1, le=MOST)"),
        ("from plugin.limits import *", "n: int = int()"),
        ("import os\nN = bool if 'X' not in os.environ else str", "n: 'N' = True"),
        ("", "n: int = Field(1, le=eval('5'))"),
        ("", "n: int = Field(1, le=len(dir()))"),
        ("import yaml\nN = str if isinstance(yaml.__version__, str) else bytes", "n: N = N()"),
        ("from typing import Literal\nimport yaml", "n: Literal[tuple(dir(yaml))] = '1'"),
        ("", "n: int = Field(1, le=len(open('/etc/hostname').read()) * 0)"),
        ("int = str if __import__('os').environ.get('X') else bool", "n: int = int()"),
        (
            "from pydantic import ConfigDict",
            "model_config = ConfigDict(strict=True)\n    n: float = 1",
        ),
    ],
)
def test_a_declaration_that_may_mean_something_else_elsewhere_refuses_nothing(
    server: Server, head: str, field: str
) -> None:
    text = "from pydantic import BaseModel, Field\nfrom synapse_sdk.plugins import BaseAction\n"
    text += f"{head}\n"
    text += f"class Params(BaseModel):\n    {field}\n    m: int = 1\n"
    text += "class TrainAction(BaseAction[Params]):\n    def execute(self): return {}\n"
    sources = {"plugin/__init__.py": "", "plugin/train.py": text}
    sources["plugin/limits.py"] = "import os\nMOST = int(os.environ.get('MAXN', '5'))\nint = bool\n"
    wanted = {"action": "train", "module": "plugin.train", "object": "TrainAction", "params": None}
    wanted |= {"ui": False, "check": True, "given": {"n": "77", "m": "x"}}
    refused = server.one(sources, wanted=[wanted])["refused"] or []
    assert [item["loc"] for item in refused] in ([], [["m"]]), refused


def test_choices_that_are_written_out_are_certain(server: Server) -> None:
    more = "mode: Literal['fast', 'slow'] = 'fast'\n    size: Annotated[int, Field(le=5)] = 1"
    text = CHECKED.replace("import Annotated", "import Annotated, Literal") % more
    wanted = {"action": "train", "module": "plugin.train", "object": "TrainAction", "params": None}
    wanted |= {"ui": False, "check": True, "given": {"dataset": 1, "mode": "x", "size": 6}}
    refused = server.one(text, wanted=[wanted])["refused"]
    assert [item["loc"] for item in refused] == [["mode"], ["size"]]


def test_what_only_a_run_can_tell_is_not_refused(server: Server) -> None:
    # A file that is not there, and a validator that uses what inspection does without.
    assert _check(server, {"dataset": 1, "weights": "best.pt", "name": "resnet"}) is None
    # What is certain is told all the same.
    assert _check(server, {"name": "resnet"}) == {"dataset": "missing"}
    for more in (
        "@field_validator('dataset', mode='before')\n    def f(cls, v): return len(v)",
        "@model_validator(mode='before')\n    def f(cls, v): return {'dataset': 1}",
        "size: torch.Size = None",
    ):
        assert _check(server, {"dataset": "x"}, more) is None
    assert _check(server, {"dataset": "x"}, "size: int = 1") == {"dataset": "int_parsing"}


def test_secret_input_is_not_echoed(tmp_path: Path) -> None:
    text = HEAD + (
        "from pydantic import SecretStr\n"
        "class S(BaseModel):\n    token: SecretStr = Field(min_length=50)\n    n: int = 1\n"
        "class TrainAction(BaseAction[S]):\n    def execute(self): pass\n"
    )
    done = Run(plugin(tmp_path, train=text), params={"token": "canary", "n": "x"})
    assert done.error["kind"] == "validation"
    assert "canary" not in str(done.worker.messages) and "'x'" in done.error["message"]


@pytest.mark.parametrize(
    "params",
    [
        # pydantic gives the whole as the input of what is missing from it.
        {"token": CANARY * 20},
        {"n": 1, "tokne": CANARY},
        {"n": 1, "deep": [{"key": CANARY}]},
        {"n": 1, "deep": [{"key": CANARY, "size": "x"}]},
        CANARY,
    ],
)
def test_secret_input_is_not_echoed_with_what_is_around_it(tmp_path: Path, params: Any) -> None:
    text = HEAD + (
        "from pydantic import ConfigDict, SecretStr\n"
        "class D(BaseModel):\n    key: SecretStr\n    size: int\n"
        "class S(BaseModel):\n    model_config = ConfigDict(extra='forbid')\n"
        "    token: SecretStr = SecretStr('')\n    n: int\n    deep: list[D] = []\n"
        "class TrainAction(BaseAction[S]):\n    def execute(self): pass\n"
    )
    done = Run(plugin(tmp_path, train=text), params=params)
    assert done.error["kind"] == "validation"
    assert CANARY not in str(done.worker.messages)
    # Nor where a program of somebody's prints all that led to the error.
    script = (
        "import json, sys\n"
        "from synapse_sdk.plugins.executors.local import LocalExecutor\n"
        "from plugin.train import TrainAction\n"
        "LocalExecutor().execute(TrainAction, params=json.loads(sys.argv[1]))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, json.dumps(params)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": SDK},
        capture_output=True,
        text=True,
    )
    assert "ValidationError" in told.stderr and CANARY not in told.stderr + told.stdout
