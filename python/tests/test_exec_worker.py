"""The worker: one action in a process of its own, told about in messages."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from exec_support import SDK, Run, Worker, plugin, request

HEAD = """
from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseAction, action
class P(BaseModel):
    epochs: int = Field(default=1, ge=1)
"""


def klass(body: str, head: str = "") -> str:
    lines = "\n".join("        " + line for line in body.strip("\n").splitlines())
    return f"{HEAD}{head}\nclass TrainAction(BaseAction[P]):\n    def execute(self):\n{lines}\n"


def run(tmp_path: Path, body: str, head: str = "", **more: object) -> Run:
    return Run(plugin(tmp_path, train=klass(body, head)), **more)  # type: ignore[arg-type]


def test_a_result_and_what_was_logged_before_it(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
self.set_progress(0, 2, "train")
self.ctx.log_message("hello", "info")
self.set_metrics({"loss": 0.5}, step="train")
self.log_metric("train", "epoch", 1, loss=0.25)
self.log_visualization("train", "g", 0, "a.png", k=1)
self.ctx.log_dev_event("dev", {"a": 1})
self.set_progress(2, 2, "train")
print("printed")
return {"epochs": self.params.epochs, "job": self.ctx.job_id}
""",
        params={"epochs": 3},
    )
    assert done.value == {"epochs": 3, "job": "job-1"}
    assert done.code == 0
    kinds = [message["type"] for message in done.worker.messages]
    assert kinds == [
        "hello",
        "progress",
        "log",
        "metrics",
        "metric",
        "visualization",
        "log",
        "progress",
        "result",
    ]
    hello, first, message, metrics, metric, image, dev, last, result = done.worker.messages
    assert hello["protocol"] == 1 and hello["executable"] == sys.executable
    assert first["step"] == "train" and first["current"] == 0 and first["percent"] == 0
    assert message["event"] == "message" and message["level"] == "info"
    assert message["data"] == {"content": "hello"}
    assert metrics["step"] == "train" and metrics["values"] == {"loss": 0.5}
    assert (metric["category"], metric["key"], metric["value"]) == ("train", "epoch", 1)
    assert metric["metrics"] == {"loss": 0.25}
    assert image["image"] == "a.png" and image["meta"] == {"k": 1}
    assert dev["event"] == "dev_event" and dev["level"] == "debug"
    assert last["percent"] == 100 and last["failed"] is False
    assert result["warnings"] == [] and result["model"] is None
    assert done.worker.stdout == "printed\n"
    assert done.worker.stderr == ""


def test_the_process_looks_like_plain_python(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import os, sys
main = sys.modules["__main__"]
return {
    "argv": sys.argv, "path": sys.path, "executable": sys.executable, "prefix": sys.prefix,
    "cwd": os.getcwd(), "main": sorted(n for n in vars(main) if not n.startswith("__")),
    "file": getattr(main, "__file__", None), "pythonpath": os.environ["PYTHONPATH"],
    "left": [n for n in os.environ if n.startswith("SYNAPSE_WORKER")],
    "fds": [fd for fd in range(64) if inheritable(fd)],
}
""",
        head="""
import os
def inheritable(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False
""",
        env={"PYTHONPATH": "/some/where"},
    )
    value = done.value
    sdk = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    assert value["argv"] == [str(tmp_path / "plugin/train.py")]
    assert value["path"][:3] == [str(tmp_path), sdk, "/some/where"]
    assert value["path"].count(sdk) == 1
    assert value["executable"] == sys.executable and value["prefix"] == sys.prefix
    assert value["cwd"] == str(tmp_path)
    assert value["main"] == [] and value["file"] is None and value["left"] == []
    assert value["pythonpath"] == f"{sdk}{os.pathsep}/some/where"
    assert value["fds"] == [0, 1, 2]


def test_the_context_of_a_run(tmp_path: Path) -> None:
    body = """
ctx = self.ctx
return {
    "url": ctx.client.base_url, "checkpoint": ctx.checkpoint, "language": ctx.language,
    "cache": ctx.cache_dir, "name": self.action_name, "env": ctx.env["FROM_CONFIG"],
}
"""
    backend = {"host": "http://127.0.0.1:9", "token": "t", "source": "embedded"}
    done = run(
        tmp_path,
        body,
        backend=backend,
        checkpoint={"category": "base", "path": "/p"},
        language="ko",
        cache="/c",
        env={"FROM_CONFIG": "1"},
    )
    assert done.value == {
        "url": "http://127.0.0.1:9/",
        "checkpoint": {"category": "base", "path": "/p"},
        "language": "ko",
        "cache": "/c",
        "name": "train",
        "env": "1",
    }
    assert run(tmp_path, "return self.ctx.client").value is None


@pytest.mark.parametrize("payload", [True, False])
def test_the_payloads_bytecode_is_kept_and_nobody_elses(tmp_path: Path, payload: bool) -> None:
    sdk = tmp_path / "sdk"
    shutil.copytree(
        Path(SDK, "synapse_sdk"),
        sdk / "synapse_sdk",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    if payload:
        (sdk / ".complete").touch()
    root = plugin(tmp_path / "plugin", train=klass("return 1"))
    env = {"SYNAPSE_WORKER_SDK": str(sdk), "PYTHONDONTWRITEBYTECODE": "1"}
    made: list[int] = []
    for _ in range(2):
        assert Run(root, env=env).value == 1
        kept = sorted(sdk.rglob("*.pyc"))
        assert bool(kept) is payload
        made.append(sum(path.stat().st_mtime_ns for path in kept))
    assert made[0] == made[1], "the second run compiles nothing"
    assert (sdk / f".compiled-{sys.implementation.cache_tag}").exists() is payload
    assert not list(root.rglob("*.pyc"))


def test_safe_path_is_minded(tmp_path: Path) -> None:
    done = run(tmp_path, "import sys\nreturn sys.path[:2]", env={"PYTHONSAFEPATH": "1"})
    assert done.value == [str(tmp_path), os.path.dirname(os.path.dirname(__file__))]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(tmp_path: Path, method: str) -> None:
    plugin(tmp_path, helper="def double(n):\n    return 2 * n\n")
    body = f"""
import multiprocessing
with multiprocessing.get_context("{method}").Pool(2) as pool:
    return pool.map(double, [1, 2, 3])
"""
    assert run(tmp_path, body, head="from .helper import double\n").value == [2, 4, 6]


def test_subprocess_relative_import_and_extension(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    plugin(
        tmp_path,
        inner__deep="VALUE = 7\n",
        plugin__near="from . import far\nX = far.Y\n",
        far="Y = 3\n",
    )
    done = run(
        tmp_path,
        """
import subprocess, sys
from .near import X
from inner.deep import VALUE
import numpy
code = "import synapse_sdk.plugins, sys; print(sys.argv, sys.executable)"
text = subprocess.run([sys.executable, "-c", code, "a"], capture_output=True, text=True).stdout
return {"x": X, "v": VALUE, "text": text, "n": numpy.float32(1.5) + numpy.arange(2)}
""",
    )
    assert done.value["x"] == 3 and done.value["v"] == 7
    assert done.value["text"] == f"['-c', 'a'] {sys.executable}\n"
    assert done.value["n"] == [1.5, 2.5]


@pytest.mark.parametrize(
    ("body", "kind", "name", "code"),
    [
        ("raise ValueError('bad')", "execution", "ExecutionError", 1),
        ("raise MemoryError()", "memory", "MemoryError", 1),
        ("bytearray(1 << 60)", "memory", "MemoryError", 1),
        ("raise KeyboardInterrupt", "keyboard-interrupt", "KeyboardInterrupt", 130),
        ("raise SystemExit(7)", "system-exit", "SystemExit", 7),
        ("raise SystemExit", "system-exit", "SystemExit", 0),
        ("raise SystemExit('text')", "system-exit", "SystemExit", 1),
        ("raise errors.PluginError('m', {'a': 1})", "plugin-error", "PluginError", 1),
        ("raise errors.ValidationError('m')", "validation", "ValidationError", 1),
        ("raise errors.ActionNotFoundError('m')", "action-not-found", "ActionNotFoundError", 1),
        ("raise errors.ExecutionError('m')", "execution", "ExecutionError", 1),
        ("raise errors.PluginUploadError('m')", "plugin-upload", "PluginUploadError", 1),
        ("raise errors.ArchiveError('m')", "archive", "ArchiveError", 1),
        ("raise errors.BuildError('m')", "build", "BuildError", 1),
        (
            "raise errors.ChecksumMismatchError('m')",
            "checksum-mismatch",
            "ChecksumMismatchError",
            1,
        ),
        ("raise errors.PluginRunError('m')", "plugin-run", "PluginRunError", 1),
        ("raise errors.ModelLoadError('m')", "model-load", "ModelLoadError", 1),
        ("raise errors.GitHubArchiveError('m')", "github-archive", "GitHubArchiveError", 1),
        ("raise Own('m')", "build", "Own", 1),
        ("import asyncio; raise asyncio.CancelledError", "execution", "ExecutionError", 1),
        ("def f(): f()\nf()", "execution", "ExecutionError", 1),
    ],
)
def test_kinds_of_errors(tmp_path: Path, body: str, kind: str, name: str, code: int) -> None:
    head = "from synapse_sdk.plugins import errors\nclass Own(errors.BuildError): pass\n"
    done = run(tmp_path, body, head)
    assert (done.error["kind"], done.error["class"], done.code) == (kind, name, code)


def test_memory_that_really_runs_out(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import resource
resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))
kept = []
size = 16 << 20
while True:
    try:
        kept.append(bytearray(size))
    except MemoryError:
        if size < 64:
            raise
        size //= 2
""",
    )
    assert done.error["kind"] == "memory" and done.code == 1


def test_an_exception_is_told_with_the_plugins_frames(tmp_path: Path) -> None:
    error = run(tmp_path, "raise ValueError('bad')").error
    assert error["message"] == "Action execution failed: bad"
    assert error["details"] == {"type": "ValueError"}
    lines = error["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f'File "{tmp_path}/plugin/train.py", line' in lines[1]
    assert lines[-1] == "ValueError: bad"
    assert "_worker" not in error["traceback"]


def test_details_and_exit_codes_of_exits(tmp_path: Path) -> None:
    assert run(tmp_path, "raise SystemExit(7)").error["details"] == {"code": 7}
    done = run(tmp_path, "import sys; sys.exit('the end')")
    assert done.error["message"] == "the end" and done.error["details"] == {"code": 1}
    assert done.worker.stderr == "the end\n"


def test_params_are_refused_field_by_field(tmp_path: Path) -> None:
    error = run(tmp_path, "pass", params={"epochs": 0}).error
    assert error["kind"] == "validation" and error["class"] == "ValidationError"
    assert error["errors"] == [
        {
            "loc": ["epochs"],
            "message": "Input should be greater than or equal to 1",
            "type": "greater_than_equal",
            "input": 0,
        }
    ]
    assert error["message"].startswith("Invalid parameters for 'train': epochs: Input should")
    assert error["traceback"] is None
    assert run(tmp_path, "pass", params=[1]).error["kind"] == "validation"


def test_check_looks_at_params_and_runs_nothing(tmp_path: Path) -> None:
    body = "open('ran', 'w').close()"
    assert run(tmp_path, body, command="check").value is None
    done = run(tmp_path, body, command="check", params={"epochs": "x"})
    assert done.error["errors"][0]["loc"] == ["epochs"]
    assert not (tmp_path / "ran").exists()


def test_a_models_own_error_inside_the_action_is_no_bad_param(tmp_path: Path) -> None:
    error = run(tmp_path, "P(epochs=0)").error
    assert error["kind"] == "execution" and error["details"]["type"] == "ValidationError"


@pytest.mark.parametrize(
    ("text", "kind", "details", "line"),
    [
        ("import nowhere.at_all", "module-not-found", {"module": "nowhere"}, 1),
        (
            "import json\nfrom json import nothing",
            "import",
            {"module": "plugin.train:TrainAction"},
            2,
        ),
        ("x = 1 / 0", "import", {"module": "plugin.train:TrainAction"}, 1),
        ("from . import nothing", "import", {"module": "plugin.train:TrainAction"}, 1),
        ("def f(:\n  pass", "import", {"module": "plugin.train:TrainAction"}, 1),
        ("import json\njson.loads('{')", "import", {"module": "plugin.train:TrainAction"}, 2),
    ],
)
def test_imports_that_fail(
    tmp_path: Path, text: str, kind: str, details: dict[str, str], line: int
) -> None:
    done = Run(plugin(tmp_path, train=text))
    assert done.code == 1
    assert done.error["kind"] == kind and done.error["details"] == details
    trace = done.error["traceback"]
    assert f'File "{tmp_path}/plugin/train.py", line {line}' in trace
    assert trace.count("  File ") == 1


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        ("plugin.trian:TrainAction", "there is no module plugin.trian"),
        ("nothing.train:TrainAction", "there is no module nothing"),
        ("plugin.train:TrainActoin", "plugin.train has no TrainActoin; did you mean TrainAction?"),
        ("plugin.train:P", "is no action"),
        ("plugin.train:", "is neither module.path:ClassName nor"),
    ],
)
def test_entrypoints_that_name_nothing(tmp_path: Path, entrypoint: str, message: str) -> None:
    done = Run(plugin(tmp_path, train=klass("pass")), entrypoint)
    assert done.error["kind"] == "entrypoint" and message in done.error["message"]


@pytest.mark.parametrize(
    "entrypoint", ["plugin.train:work", "plugin.train.work", "plugin.train:bare"]
)
def test_functions_and_the_dot_form(tmp_path: Path, entrypoint: str) -> None:
    text = HEAD + (
        "@action(params=P)\ndef work(params, ctx):\n    return [params.epochs, ctx.job_id]\n"
        "def bare(params, ctx):\n    return [params['epochs'], ctx.job_id]\n"
    )
    assert Run(plugin(tmp_path, train=text), entrypoint, params={"epochs": 4}).value == [4, "job-1"]


def test_results_that_json_cannot_hold_and_those_not_as_declared(tmp_path: Path) -> None:
    text = HEAD + (
        "import pathlib\nclass R(BaseModel):\n    path: pathlib.Path\n"
        "class TrainAction(BaseAction[P]):\n    result_model = R\n"
        "    def execute(self):\n        if self.params.epochs == 1: return R(path='/a')\n"
        "        return {'path': 1, 'x': float('nan')}\n"
    )
    plugin(tmp_path, train=text)
    good = Run(tmp_path)
    assert good.value == {"path": "/a"} and good.last["model"] == "R"
    bad = Run(tmp_path, params={"epochs": 2})
    assert bad.value == {"path": 1, "x": None}
    first, second = bad.last["warnings"]
    assert first.startswith("Result validation warning for R:")
    assert second == "result: x is NaN, kept as null"


def test_a_result_that_is_too_large(tmp_path: Path) -> None:
    done = run(tmp_path, "self.ctx.log_message('x' * (65 << 20))\nreturn 'x' * (65 << 20)")
    assert done.error["kind"] == "too-large" and done.code == 1
    assert "left out" in done.worker.of("log")[0]["data"]["content"]


def test_os_exit_says_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "import os; print('out'); os._exit(9)")
    assert done.last is None and done.code == 9


def test_interrupt_reaches_the_action(tmp_path: Path) -> None:
    plugin(tmp_path, train=klass("self.ctx.log_message('ready')\nimport time\ntime.sleep(60)"))
    worker = Worker(tmp_path)
    worker.send(**request(tmp_path))
    worker.until("log")
    worker.interrupt()
    assert worker.finish() == 130
    assert worker.messages[-1]["kind"] == "keyboard-interrupt"
    assert worker.stderr == ""


def test_an_action_may_mind_an_interrupt_itself(tmp_path: Path) -> None:
    body = """
import time
try:
    self.ctx.log_message("ready")
    time.sleep(60)
except KeyboardInterrupt:
    return "saved"
"""
    plugin(tmp_path, train=klass(body))
    worker = Worker(tmp_path)
    worker.send(**request(tmp_path))
    worker.until("log")
    worker.interrupt()
    assert worker.finish() == 0
    assert worker.messages[-1]["value"] == "saved"


def test_forked_children_log_without_tearing_messages(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import multiprocessing, os
def chatter(n):
    for i in range(200):
        self.ctx.log_message(f"{n}:{i}:" + "x" * (i * 97))
Process = multiprocessing.get_context("fork").Process
processes = [Process(target=chatter, args=(n,)) for n in range(4)]
[p.start() for p in processes]
chatter(9)
[p.join() for p in processes]
""",
    )
    assert done.code == 0
    seen: dict[str, list[int]] = {}
    for message in done.worker.of("log"):
        n, i, _ = message["data"]["content"].split(":")
        seen.setdefault(n, []).append(int(i))
    assert sorted(seen) == ["0", "1", "2", "3", "9"]
    assert all(order == list(range(200)) for order in seen.values())


def test_a_fork_that_returns_through_the_action_says_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "import os\nreturn {'child': os.fork() == 0}")
    assert done.value == {"child": False}


def test_much_output_and_many_messages_keep_their_order(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import sys
line = "x" * 1023 + "\\n"
for i in range(100_000):
    sys.stdout.write(line)
for i in range(20_000):
    self.ctx.log_message(str(i))
    self.set_progress(i + 1, 20_000, "train")
""",
    )
    assert done.code == 0
    assert len(done.worker.stdout) == 1024 * 100_000
    assert [int(m["data"]["content"]) for m in done.worker.of("log")] == list(range(20_000))
    progress = [message["current"] for message in done.worker.of("progress")]
    assert progress[0] == 1 and progress[-1] == 20_000 and progress == sorted(progress)
    seconds = done.worker.messages[-1].get("time", 0) or done.worker.of("log")[-1]["time"]
    elapsed = seconds - done.worker.of("log")[0]["time"]
    assert len(progress) <= 20 * elapsed + 8


def test_the_failed_progress_is_always_told(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
for i in range(1000):
    self.set_progress(i, 2000, "train")
self.logger.set_progress_failed("train")
raise RuntimeError("x")
""",
    )
    last = done.worker.of("progress")[-1]
    assert last["failed"] is True and last["current"] == 999


def test_progress_held_back_is_told_at_the_end(tmp_path: Path) -> None:
    done = run(tmp_path, "for i in range(1000):\n    self.set_progress(i, 2000, 'train')")
    assert done.worker.of("progress")[-1]["current"] == 999


def test_threads_that_fail_or_stay_do_no_harm(tmp_path: Path) -> None:
    body = """
import threading, time, atexit
def late():
    time.sleep(0.3)
    print("late")
atexit.register(lambda: print("atexit"))
threading.Thread(target=lambda: 1 / 0).start()
threading.Thread(target=late).start()
return 1
"""
    done = run(tmp_path, body)
    assert done.value == 1 and done.code == 0
    assert done.worker.stdout == "late\natexit\n"
    assert "ZeroDivisionError" in done.worker.stderr


def test_a_result_file_holds_the_result(tmp_path: Path) -> None:
    done = run(tmp_path, "return {'a': 1}", result_file=str(tmp_path / "result.json"))
    assert done.value == {"a": 1}
    assert (tmp_path / "result.json").read_text() == '{"a": 1}'


def test_requests_that_are_none(tmp_path: Path) -> None:
    for message in ({"command": "run", "protocol": 2}, {"command": "x", "protocol": 1}, {}):
        worker = Worker(tmp_path)
        worker.send(**message)
        assert worker.finish() == 1
        assert worker.messages[-1]["kind"] == "protocol"


def test_twenty_plugins_of_the_same_module_names_at_once(tmp_path: Path) -> None:
    workers = []
    for n in range(20):
        root = plugin(
            tmp_path / str(n), train=klass("from .near import N\nreturn N"), near=f"N = {n}\n"
        )
        worker = Worker(root)
        worker.send(**request(root))
        workers.append(worker)
    values = []
    for worker in workers:
        assert worker.finish() == 0
        values.append(worker.messages[-1]["value"])
    assert values == list(range(20))


def test_a_trivial_run_imports_little(tmp_path: Path) -> None:
    done = run(tmp_path, "import sys\nreturn sorted(sys.modules)")
    plain = os.popen(
        f"{sys.executable} -c 'from pydantic import BaseModel, Field\nimport sys\n"
        "class A(BaseModel): a: int\nprint(*sys.modules)'"
    ).read()
    added = set(done.value) - set(plain.split())
    heavy = {
        "asyncio",
        "logging",
        "urllib3",
        "yaml",
        "multiprocessing",
        "subprocess",
        "http",
        "ssl",
    }
    assert not added & heavy
    foreign = {name for name in added if not name.startswith(("synapse", "plugin"))}
    assert len(foreign) < 20, sorted(foreign)


def test_bytecode_of_the_second_of_a_save_is_not_taken(tmp_path: Path) -> None:
    def once(value: int) -> object:
        folder = plugin(tmp_path, train=klass(f"return {value}"))
        # Two saves of the same size within one second, as a watch sees them.
        os.utime(folder / "plugin/train.py", (1_600_000_000, 1_600_000_000 + value / 10))
        return Run(folder, env={"PYTHONDONTWRITEBYTECODE": ""}).value

    assert once(1) == 1
    (kept,) = (tmp_path / "plugin/__pycache__").glob("train.*.pyc")
    os.utime(kept, (1_600_000_000, 1_600_000_000.15))
    assert once(2) == 2
    # What was written later than that second is taken as it is.
    inode = kept.stat().st_ino
    assert once(2) == 2
    assert kept.stat().st_ino == inode
