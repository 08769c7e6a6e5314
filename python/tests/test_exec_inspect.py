"""The fork server of inspections: plugins from memory, everything else a stub."""

from __future__ import annotations

import glob
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from exec_support import Server

TRAIN = """
from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseTrainAction
from synapse_sdk.plugins.types import ModelWeights, YOLODataset
from synapse_sdk.plugins.enums import PluginCategory

class TrainParams(BaseModel):
    dataset: int = Field(..., description="Dataset")
    epochs: int = Field(default=100, ge=1, le=1000)

class TrainAction(BaseTrainAction[TrainParams]):
    category = PluginCategory.NEURAL_NET
    input_type = YOLODataset
    output_type = ModelWeights
    def execute(self): return {}
"""
PARAMS = """
from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseAction, action
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.worker.finish() == 0


def test_an_action_of_the_guide(server: Server) -> None:
    reply = server.one(TRAIN)
    assert reply["reason"] is None and reply["syntax"] is False and reply["stubbed"] == []
    assert reply["kind"] == "class" and reply["model"] == "plugin.train:TrainParams"
    assert reply["metadata"] == {
        "action_name": None,
        "method": None,
        "category": "neural_net",
        "description": None,
        "input_type": "yolo_dataset",
        "output_type": "model_weights",
    }
    assert reply["ui_schemas"] == [
        {
            "$formkit": "number",
            "name": "dataset",
            "label": "Dataset",
            "help": "Dataset",
            "required": True,
            "number": True,
        },
        {
            "$formkit": "number",
            "name": "epochs",
            "label": "Epochs",
            "value": 100,
            "placeholder": 100,
            "min": 1,
            "max": 1000,
            "number": True,
        },
    ]


def test_functions_and_actions_without_params(server: Server) -> None:
    text = PARAMS + (
        "class P(BaseModel):\n    n: int = 3\n"
        "@action(params=P, description='d')\ndef work(params, ctx): pass\n"
        "@action\ndef bare(params, ctx): pass\n"
    )
    reply = server.one(text, "plugin.train:work")
    assert reply["kind"] == "function" and reply["metadata"]["action_name"] == "work"
    assert reply["metadata"]["description"] == "d" and reply["model"] == "plugin.train:P"
    bare = server.one(text, "plugin.train:bare")
    assert (bare["model"], bare["ui_schemas"], bare["reason"]) == (None, [], None)


def test_every_use_of_an_absent_module_at_import(server: Server) -> None:
    text = (
        """
        import torch, numpy as np
        import torch.nn.functional as F
        from torch import nn
        from torch.utils.data import DataLoader, Dataset as D
        from typing import Generic, TypeVar, Optional, Protocol, Union, Callable, NamedTuple
        from abc import ABC, abstractmethod
        from dataclasses import dataclass
        from enum import Enum
        import functools, warnings, os, copy, pickle, logging, inspect
        """
        + PARAMS.replace("\n", "\n        ")
        + """
        T = TypeVar("T", bound=nn.Module)
        class Net(nn.Module):
            def __init__(self, size: torch.Tensor = torch.zeros(3)):
                super().__init__()
                self.layer = nn.Linear(3, 3)
                self.register_buffer("x", torch.ones(2))
        class Both(nn.Module, ABC):
            @abstractmethod
            def go(self): ...
        class Typed(D[int], Generic[T]): pass
        class Plain(D[int]): pass
        Plain[int]
        class Two(nn.Module, D, metaclass=type): pass
        class Meta(metaclass=torch.Meta): x = 1
        class Kind(torch.Model, table=True): pass
        assert Meta.x == 1 and isinstance(Meta, type)
        net = Net()
        net.eval().to("cpu")
        @torch.no_grad()
        def f(x: torch.Tensor, y: Optional[torch.Tensor] = None) -> "torch.Tensor | None": return x
        @torch.jit.script
        def g(x: torch.Tensor | None, y: int | torch.Tensor = 3): return 7
        @nn.decorate
        class C: value = 4
        assert g(1) == 7 and C.value == 4 and f(3) == 3
        @functools.partial(torch.vmap, dim=1)
        def h(x): return x
        class E(Enum):
            A = torch.float32
            B = torch.float16
        assert len(E) == 2
        @dataclass
        class Data:
            x: torch.Tensor = None
            y: np.ndarray = np.zeros(3)
        class NT(NamedTuple):
            t: torch.Tensor
        Alias = Union[torch.Tensor, np.ndarray]
        Fn = Callable[[torch.Tensor], np.ndarray]
        try:
            pass
        except torch.cuda.OutOfMemoryError:
            pass
        class Mine(torch.TorchError): pass
        assert issubclass(Mine, Exception)
        warnings.filterwarnings("ignore", category=torch.UserWarning)
        DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
        VERSION = tuple(map(int, torch.__version__.split(".")[:2]))
        if torch.__version__ >= "2.0" and VERSION >= (2, 0):
            raise RuntimeError
        with torch.no_grad() as a, torch.autocast("cuda"):
            b = (a + 1) * 2 - torch.ones(3) @ 4 / 3 // 2 % 5 ** 2
            b += 1; b |= 2; c = -b; d = ~b; e = 3 - b; e2 = b << 1 & 3
        for _ in torch.arange(3): raise RuntimeError
        list(map(str, np.array([1]))), [*torch.ones(3)], {**np.d}, sorted(np.x)
        len(np.y), int(np.z)
        float(np.x), round(np.x), abs(np.x), divmod(np.x, 2), range(np.n)
        "%s" % np.x, f"{np.x:.2f}"
        isinstance(3, (int, np.integer)); issubclass(int, np.number); 3 in np.x
        np.x[1:2, ..., None] = 3; del np.x[0]
        np.random.seed(1); np.bool = bool
        assert np.bool is bool
        os.path.join(os.path.dirname(torch.__file__), "x")
        copy.deepcopy(np.x), copy.copy(np.x), pickle.loads(pickle.dumps(np.x))
        hash(np.x), {np.x: 1}
        logging.getLogger().addHandler(torch.Handler())
        inspect.signature(Net), inspect.getsource(Net)
        class State(BaseModel):
            model_config = {"arbitrary_types_allowed": True}
            tensor: torch.Tensor
            many: list[np.ndarray] | None = None
            net: Net | None = None
        State(tensor=1)
        class P(BaseModel):
            device: str = DEVICE
            n: int = 3
        class TrainAction(BaseAction[P], nn.Module):
            def execute(self): pass
        """
    )
    reply = server.one(text)
    assert reply["reason"] is None, reply
    assert [item["name"] for item in reply["ui_schemas"]] == ["device", "n"]
    assert reply["stubbed"] == ["numpy", "torch"]


@pytest.mark.parametrize(
    "field",
    [
        "x: torch.Tensor",
        "x: torch.Tensor | None = None",
        "x: list[torch.Tensor] = []",
        "x: dict[str, list[torch.Tensor]] = {}",
        "x: Annotated[int, torch.Positive()] = 1",
        "x: int = torch.cuda.device_count()",
        "x: list[int] = [1, torch.n]",
        "x: str = str(torch.device('cpu'))",
        "x: str = f'{torch.name}/a'",
        "x: Path = Path(torch.hub.get_dir()) / 'a'",
        "x: Kind = Kind.A",
        "x: Sub = None",
        "x: int = Field(1, description=torch.text())",
        "x: Err = None",
    ],
)
def test_a_field_that_needs_an_absent_module_is_not_guessed(server: Server, field: str) -> None:
    text = PARAMS + (
        "import torch\nfrom enum import Enum\nfrom pathlib import Path\n"
        "from typing import Annotated\n"
        "class Kind(Enum):\n    A = torch.float32\nclass Sub(torch.Thing): pass\n"
        "Err = type[torch.SomeError]\n"
        f"class P(BaseModel):\n    n: int = 1\n    {field}\n"
        "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n"
    )
    reply = server.one(text)
    sentence = "the field `x` of `P` uses torch, which inspection does without"
    assert (reply["ui_schemas"], reply["reason"]) == (None, sentence)
    assert reply["module"] == "torch" and reply["metadata"] is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "from pydantic_settings import BaseSettings\nclass P(BaseSettings):\n    n: int = 1\n"
            "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n",
            "the params of `TrainAction` derive from pydantic_settings, "
            "which inspection does without",
        ),
        (
            "import lib\nclass P(lib.Mixin, BaseModel):\n    n: int = 1\n"
            "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n",
            "`P` derives from lib, which inspection does without",
        ),
        (
            "import lib\nclass TrainAction(lib.Train): pass\n",
            "`TrainAction` derives from lib, which inspection does without",
        ),
        (
            "from lib import TrainAction\n",
            "`TrainAction` comes from lib, which inspection does without",
        ),
        ("class TrainAction: pass\n", "`TrainAction` is not an action"),
        ("TrainAction = 3\n", "`TrainAction` is not an action"),
        ("", "plugin.train has no TrainAction"),
        ("x\n", "importing plugin.train fails: NameError: name 'x' is not defined"),
        ("import plugin.nothing\n", "No module named 'plugin.nothing'"),
        ("raise SystemExit\n", "importing it ends the process"),
        ("import os; os._exit(0)\n", "importing it ends the process"),
        ("import os; os.kill(os.getpid(), 11)\n", "importing it crashes Python (signal 11)"),
        ("open('data.json')\n", "No such file or directory: 'data.json'"),
        ("import sys; raise RuntimeError(__file__)\n", "RuntimeError: plugin/train.py"),
        (
            "from pathlib import Path\n"
            "class P(BaseModel):\n    at: Path = Path(__file__).parent / 'a'\n"
            "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n",
            "the default of `at` of `P` is a path of this machine",
        ),
        (
            "class P(BaseModel):\n    model_config = {'arbitrary_types_allowed': True}\n"
            "    at: object = object()\n"
            "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n",
            "the default of `at` of `P` has no plain form",
        ),
    ],
)
def test_reasons(server: Server, text: str, reason: str) -> None:
    reply = server.one(PARAMS + text)
    assert reply["ui_schemas"] is None
    assert reply["reason"].endswith(reason), reply["reason"]
    assert reply["syntax"] is False


def test_the_place_of_a_failure(server: Server) -> None:
    sources = {"plugin/train.py": "\nimport plugin.b\n", "plugin/b.py": "\n\n1 / 0\n"}
    reply = server.one(sources)
    assert reply["place"] == {"file": "plugin/b.py", "line": 3}


@pytest.mark.parametrize(
    "text", ["def f(:\n", "x = 1\n  y = 2\n", "x = '\\0'\n".replace("\\0", "\0")]
)
def test_what_cannot_be_compiled_is_flagged(server: Server, text: str) -> None:
    reply = server.one({"plugin/train.py": "from plugin import b\n", "plugin/b.py": text})
    assert reply["syntax"] is True and reply["ui_schemas"] is None
    assert "cannot be compiled" in reply["reason"]


def test_a_syntax_error_that_the_plugin_minds_itself_is_none(server: Server) -> None:
    text = "try:\n    import plugin.b\nexcept SyntaxError:\n    pass\n" + TRAIN
    reply = server.one({"plugin/train.py": text, "plugin/b.py": "def f(:\n"})
    assert reply["syntax"] is False and reply["reason"] is None


def test_packages_namespaces_and_relative_imports(server: Server) -> None:
    sources = {
        "plugin/train.py": PARAMS
        + "from .inner.deep import A\nfrom space.mod import B\n"
        + "import space, top, plugin.inner as i\n"
        + "assert __package__ == 'plugin' and space.__path__ and i.__path__ and i.__file__\n"
        + "assert __file__.endswith('the-plugin/plugin/train.py')\n"
        + "class P(BaseModel):\n    a: int = A\n    b: int = B\n    c: int = top.C\n"
        + "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n",
        "plugin/inner/__init__.py": "",
        "plugin/inner/deep.py": "from ..one import ONE\nA = ONE\n",
        "plugin/one.py": "ONE = 1\n",
        "space/mod.py": "B = 2\n",
        "top.py": "C = 3\n",
    }
    assert server.fields(sources) == {"a": 1, "b": 2, "c": 3}


def test_nothing_outside_the_sources_is_imported(server: Server) -> None:
    hidden = server.cwd / "the-plugin/plugin/hidden.py"
    hidden.parent.mkdir(parents=True, exist_ok=True)
    hidden.write_text("VALUE = 1\n")
    reply = server.one({"plugin/train.py": "import plugin.hidden\n"})
    assert "No module named 'plugin.hidden'" in reply["reason"]


def test_a_base_in_another_module_and_params_named_apart(server: Server) -> None:
    sources = {
        "plugin/train.py": "from plugin.base import Base\nclass TrainAction(Base): pass\n",
        "plugin/base.py": PARAMS
        + "class P(BaseModel):\n    n: int = 5\n"
        + "class Base(BaseAction[P]):\n    def execute(self): pass\n",
        "plugin/broken.py": "1 / 0\n",
    }
    assert server.fields(sources) == {"n": 5}
    wanted = {
        "action": "train",
        "module": "plugin.broken",
        "object": "X",
        "params": "plugin.base:P",
    }
    reply = server.one(sources, wanted=[wanted])
    assert reply["reason"] is None and reply["ui_schemas"][0]["name"] == "n"
    assert reply["metadata"] is None and "ZeroDivisionError" in reply["metadata_reason"]
    quiet = server.one(sources, wanted=[{**wanted, "ui": False}])
    assert (quiet["ui_schemas"], quiet["reason"]) == (None, None)


def test_distributions_are_never_seen(server: Server) -> None:
    text = PARAMS + (
        "import importlib.metadata as m\n"
        "try:\n    m.version('pydantic'); found = 1\nexcept m.PackageNotFoundError: found = 0\n"
        "import pytest, pkgutil\n"
        "many = len(list(m.distributions()))\n"
        "class P(BaseModel):\n    found: int = found\n    many: int = many\n"
        "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n"
    )
    assert server.fields(text) == {"found": 0, "many": 0}


def test_pydantics_own_kinds_of_fields(server: Server) -> None:
    text = PARAMS + (
        "from pydantic import EmailStr, SecretStr, HttpUrl, conint, constr, PositiveInt\n"
        "from typing import Literal, Optional\nfrom enum import Enum\nimport datetime, uuid\n"
        "class Color(Enum):\n    RED = 'red'\n"
        "class Inner(BaseModel):\n    a: int = 1\n"
        "class P(BaseModel):\n    mail: EmailStr = 'a@b.c'\n    url: HttpUrl = 'http://a'\n"
        "    color: Color = Color.RED\n    kind: Literal['a', 'b'] = 'a'\n"
        "    inner: Inner = Inner()\n"
        "    count: PositiveInt = 2\n    tags: set[str] = {'b', 'a'}\n"
        "    day: Optional[datetime.date] = None\n    at: float = float('inf')\n"
        "    skip: int = Field(1, json_schema_extra={'exclude_from_ui': True})\n"
        "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n"
    )
    reply = server.one(text)
    assert reply["reason"] is None, reply["reason"]
    values = {item["name"]: item.get("value") for item in reply["ui_schemas"]}
    assert values["color"] == "red" and values["inner"] == {"a": 1} and values["tags"] == ["a", "b"]
    assert values["mail"] == "a@b.c" and "skip" not in values
    assert reply["excluded"] == ["skip"] and reply["exclude_model"] is False


def alive(pid: int) -> bool:
    """Say whether a process runs; one that nobody has taken note of yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] in "ZX")


def test_a_limit_ends_what_hangs_and_what_it_started(tmp_path: Path) -> None:
    server = Server(tmp_path, limit=1.0)
    text = (
        "import os, subprocess, time\n"
        "p = subprocess.Popen(['sleep', '317'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)\n"
    )
    assert server.one(text)["reason"] == "importing it takes too long"
    pid = int((tmp_path / "pid").read_text())
    while alive(pid):
        time.sleep(0.01)
    assert server.fields(TRAIN)["epochs"] == 100
    forked = "import os, time\nif os.fork() == 0: time.sleep(60)\n" + TRAIN
    assert server.one(forked)["reason"] is None
    assert server.worker.finish() == 0


def test_children_leave_nothing_and_see_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path)
    text = PARAMS + (
        "import os, sys\nprint('out'); print('err', file=sys.stderr); open('made', 'w').close()\n"
        "assert os.listdir('.') == ['made'] and sys.stdin.read() == ''\n"
        "def there(fd):\n"
        "    try: os.fstat(fd)\n"
        "    except OSError: return False\n"
        "    return True\n"
        "fds = [fd for fd in range(64) if there(fd)]\n"
        "class P(BaseModel):\n    cwd: int = len(os.getcwd()) and 1\n    fds: list[int] = fds\n"
        "    left: int = len([n for n in os.environ if n.startswith('SYNAPSE')])\n"
        "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n"
    )
    assert server.fields(text) == {"cwd": 1, "fds": [0, 1, 2, 3], "left": 0}
    assert server.worker.finish() == 0
    assert server.worker.stdout == "" and server.worker.stderr == ""
    assert not glob.glob(os.path.join("/tmp", "inspect-*", "made"))


def test_thirty_plugins_of_the_same_names_side_by_side(tmp_path: Path) -> None:
    server = Server(tmp_path, parallel=4)
    numbers = {}
    for n in range(30):
        text = "from plugin.near import N\n" + TRAIN.replace("default=100", "default=N")
        near = {"plugin/train.py": text, "plugin/near.py": f"N = {n + 1}"}
        numbers[server.ask(near)] = n
    server.worker.end()
    for _ in range(30):
        reply = server.worker.until("inspected")
        items = reply["actions"]["train"]["ui_schemas"]
        assert items, reply
        assert items[1]["value"] == numbers.pop(reply["id"]) + 1
    assert not numbers
    assert server.worker.finish() == 0


def test_requests_that_are_none_leave_the_server_up(server: Server) -> None:
    server.worker.send(id=99, plugin_dir=3, sources={}, wanted=[])
    error = server.worker.until("error")
    assert (error["kind"], error["id"]) == ("protocol", 99)
    assert server.fields(TRAIN)["epochs"] == 100


def test_for_real_the_environments_modules_are_used(tmp_path: Path) -> None:
    server = Server(tmp_path)
    folder = tmp_path / "the-plugin/plugin"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(
        PARAMS + "import _pytest\nclass P(BaseModel):\n    n: str = _pytest.__name__\n"
        "class TrainAction(BaseAction[P]):\n    def execute(self): pass\n"
    )
    assert server.fields({}, real=True) == {"n": "_pytest"}
    (folder / "train.py").write_text("import surely_absent\n")
    assert "No module named 'surely_absent'" in server.one({}, real=True)["reason"]
    (folder / "train.py").write_text("def f(:\n")
    assert server.one({}, real=True)["syntax"] is True
    assert server.worker.finish() == 0


def pythons() -> list[str]:
    """Return the interpreters to compare, each with the same pydantic: `SYNAPSE_PYTHONS`."""
    return (os.environ.get("SYNAPSE_PYTHONS") or sys.executable).split(os.pathsep)


SAMPLE = {
    "plugin/train.py": PARAMS
    + """
import torch, tomllib, distutils.version, lzma, sqlite3, tkinter
from torch import nn
from enum import Enum
from typing import Optional, Literal
import dataclasses, datetime

class Mode(Enum):
    '''Modes.'''
    FAST = 'fast'
    SLOW = 'slow'

class Inner(BaseModel):
    '''Inner one.

        Indented.
    '''
    a: int = 1

@dataclasses.dataclass
class Point:
    x: int = 0

class P(BaseModel):
    '''Params.
        More.
    '''
    epochs: int = Field(default=3, ge=1, description='How many')
    rate: Optional[float] = 0.1
    mode: Mode = Mode.FAST
    kind: Literal['a', 'b'] = 'a'
    inner: Inner = Inner()
    point: Point = Point()
    names: list[str] | None = None
    sizes: tuple[int, ...] = (1, 2)
    when: datetime.timedelta = datetime.timedelta(seconds=3)
    device: str = 'cuda' if torch.cuda.is_available() else 'cpu'
    gpu: bool = bool(torch.backends.ok)

class Net(nn.Module): pass

class TrainAction(BaseAction[P]):
    def execute(self): pass
"""
}


def test_one_result_on_every_python_with_and_without_the_module(tmp_path: Path) -> None:
    replies = []
    site = tmp_path / "site"
    (site / "torch").mkdir(parents=True)
    (site / "torch/__init__.py").write_text("raise SystemExit('torch was imported')")
    # As a `.pth` file of an environment might do it.
    (site / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = sys")
    for python in pythons():
        for env in ({}, {"PYTHONPATH": str(site)}):
            server = Server(tmp_path, python, env)
            server.ask(SAMPLE)
            replies.append(server.worker.until("inspected"))
            assert server.worker.finish() == 0
    first = replies[0]["actions"]["train"]
    assert first["reason"] is None, first
    for reply in replies[1:]:
        assert reply["actions"] == replies[0]["actions"]
    assert all("torch" in reply["stubbed"] for reply in replies)


def test_the_first_is_answered_as_the_later_ones_are(tmp_path: Path) -> None:
    server = Server(tmp_path)
    # Looks around, and uses what the server imports only for more than one.
    text = TRAIN.replace("def execute", "names = [MODULES]\n    def execute").replace(
        "class TrainParams",
        "import asyncio, email_validator, logging, sys\n"
        "from pydantic import EmailStr, TypeAdapter\n"
        "from synapse_sdk.plugins import BaseDeploymentAction, BaseUploadAction, run_plugin\n"
        "MODULES = sorted(n for n in sys.modules if n.startswith(('numpy', 'yaml', 'pytest')))\n"
        "class TrainParams",
    )
    text = text.replace("epochs: int", "mail: EmailStr = 'a@b.c'\n    epochs: int")
    replies = [server.one(text) for _ in range(3)]
    assert replies[0]["reason"] is None, replies[0]
    assert replies[0] == replies[1] == replies[2]
    assert server.worker.finish() == 0
