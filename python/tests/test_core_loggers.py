"""The rules of logging, and what each logger makes of it."""

from __future__ import annotations

import base64
import io
import os
import pickle
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synapse_sdk import loggers
from synapse_sdk.loggers import (
    BackendLogger,
    BaseLogger,
    ConsoleLogger,
    JobLogger,
    NoOpLogger,
    TqdmLogger,
)
from synapse_sdk.loggers import backend as backend_module
from synapse_sdk.plugins.models.logger import LogLevel


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(logger: Any) -> Clock:
    made = Clock()
    logger._clock = made
    return made


def test_every_name_is_there() -> None:
    for name in loggers.__all__:
        assert getattr(loggers, name) is not None
    assert set(loggers.__all__) <= set(dir(loggers))
    with pytest.raises(AttributeError):
        _ = loggers.Nonsense  # type: ignore[attr-defined]


def test_log_checks_its_arguments(logger: Any) -> None:
    with pytest.raises(TypeError, match="level must be a LogLevel, got str"):
        logger.log("info", "event", {})
    with pytest.raises(TypeError, match="data must be a mapping, got str"):
        logger.log(LogLevel.INFO, "event", "text")
    assert logger.events == []


def test_log_keeps_a_copy(logger: Any) -> None:
    data = {"a": 1}
    logger.log(LogLevel.INFO, "event", data, "file", "step")
    data["a"] = 2
    assert logger.events == [(LogLevel.INFO, "event", {"a": 1}, "file", "step")]


@pytest.mark.parametrize(
    ("method", "level", "event"),
    [
        ("debug", LogLevel.DEBUG, "debug"),
        ("info", LogLevel.INFO, "message"),
        ("warning", LogLevel.WARNING, "message"),
        ("error", LogLevel.ERROR, "message"),
        ("critical", LogLevel.CRITICAL, "message"),
    ],
)
def test_text_methods(logger: Any, method: str, level: LogLevel, event: str) -> None:
    getattr(logger, method)("text")
    assert logger.last == (level, event, {"content": "text"})


def test_current_step(logger: Any) -> None:
    assert logger.get_step() is None
    logger.set_step("train", 2)
    assert logger.get_step() == "train"
    logger.info("a")
    logger.set_progress(1, 2)
    logger.set_metrics({"a": 1})
    assert logger.events[-1][4] == "train"
    assert (logger.progress[-1].step, logger.progress[-1].order) == ("train", 2)
    assert logger.metrics[-1][0] == "train"
    logger.set_step(None)
    logger.info("b")
    assert logger.events[-1][4] is None


@pytest.mark.parametrize(
    ("current", "total", "text"),
    [
        (0, 0, "total must be > 0, got 0"),
        (0, -1, "total must be > 0, got -1"),
        (-1, 5, "current must be between 0 and 5, got -1"),
        (6, 5, "current must be between 0 and 5, got 6"),
    ],
)
def test_wrong_progress(logger: Any, current: int, total: int, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        logger.set_progress(current, total)
    assert str(caught.value) == text
    assert logger.progress == []


def test_progress_is_reckoned(logger: Any, clock: Clock) -> None:
    logger.set_progress(0, 3, "train")
    assert logger.progress[-1].to_dict() == {
        "step": "train",
        "current": 0,
        "total": 3,
        "percent": 0.0,
        "elapsed": 0.0,
        "eta": None,
        "failed": False,
        "order": None,
    }
    clock.now += 10
    logger.set_progress(1, 3, "train")
    assert (logger.progress[-1].percent, logger.progress[-1].eta) == (33.33, 20.0)
    clock.now += 10
    logger.set_progress(3, 3, "train")
    record = logger.progress[-1]
    assert (record.percent, record.elapsed, record.eta) == (100.0, 20.0, 0.0)
    logger.set_progress(0, 3, "train")
    clock.now += 1
    logger.set_progress(1, 3, "train")
    assert logger.progress[-1].elapsed == 1.0


def test_progress_without_a_beginning_has_no_rate(logger: Any, clock: Clock) -> None:
    logger.set_progress(1, 4)
    assert (logger.progress[-1].step, logger.progress[-1].eta) == (None, None)
    clock.now += 2
    logger.set_progress(2, 4)
    assert (logger.progress[-1].elapsed, logger.progress[-1].eta) == (2.0, 2.0)


def test_progress_by_step(logger: Any, clock: Clock) -> None:
    logger.set_progress(1, 2)
    logger.set_progress(1, 4, "a")
    assert logger.get_progress().percent == 50.0
    assert logger.get_progress("a").percent == 25.0
    assert logger.get_progress("none") is None
    assert set(logger.get_progress_record()) == {"__default__", "a"}
    assert logger.get_progress_record()["a"]["percent"] == 25.0
    logger.set_step("a")
    assert logger.get_progress().percent == 25.0


def test_failed_progress(logger: Any, clock: Clock) -> None:
    logger.set_progress(0, 4, "a")
    clock.now += 3
    logger.set_progress(1, 4, "a")
    logger.set_progress_failed("a")
    record = logger.progress[-1]
    assert (record.current, record.total, record.failed, record.eta) == (1, 4, True, None)
    assert record.elapsed == 3.0
    logger.set_progress_failed("never began")
    assert (logger.progress[-1].percent, logger.progress[-1].failed) == (0.0, True)
    logger.set_progress(2, 4, "a")
    assert not logger.get_progress("a").failed


def test_metrics_are_merged(logger: Any) -> None:
    with pytest.raises(TypeError, match="mapping"):
        logger.set_metrics([1], "a")
    with pytest.raises(ValueError, match="step"):
        logger.set_metrics({"a": 1})
    logger.set_metrics({"a": 1, "b": 1}, "train")
    logger.set_metrics({"b": 2}, "train")
    logger.set_metrics({"c": 3}, "test")
    assert logger.metrics == [
        ("train", {"a": 1, "b": 1}),
        ("train", {"b": 2}),
        ("test", {"c": 3}),
    ]
    assert logger.get_metrics("train") == {"a": 1, "b": 2}
    logger.get_metrics("train")["a"] = 9
    assert logger.get_metrics_record() == {"train": {"a": 1, "b": 2}, "test": {"c": 3}}
    assert logger.get_metrics("none") == {}
    assert logger.get_metrics() == {}


def test_a_finished_logger_refuses(logger: Any) -> None:
    logger.finish()
    logger.finish()
    assert logger.finishes == 1
    for call in (
        lambda: logger.info("x"),
        lambda: logger.log(LogLevel.INFO, "event", {}),
        lambda: logger.set_progress(1, 2),
        lambda: logger.set_progress_failed("a"),
        lambda: logger.set_metrics({"a": 1}, "a"),
    ):
        with pytest.raises(RuntimeError, match=r"^Cannot log to a finished logger$"):
            call()


def test_base_and_noop_show_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for one in (BaseLogger(), NoOpLogger()):
        one.info("x")
        one.set_progress(1, 2)
        one.set_metrics({"a": 1}, "a")
        one.finish()
        assert one.get_metrics("a") == {"a": 1}
    assert capfd.readouterr() == ("", "")


def test_threads_take_turns(logger: Any) -> None:
    def work() -> None:
        for _ in range(200):
            logger.info("x")
            logger.set_metrics({"a": 1}, "a")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(logger.events) == 800


def test_a_logger_can_be_sent_to_another_process() -> None:
    one = NoOpLogger()
    one.set_metrics({"a": 1}, "a")
    again = pickle.loads(pickle.dumps(one))
    again.info("x")
    assert again.get_metrics("a") == {"a": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_can_log_though_another_thread_held_the_lock() -> None:
    one = NoOpLogger()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with one._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        taken = one._lock.acquire(blocking=False)
        os._exit(0 if taken else 1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_console_lines(capsys: pytest.CaptureFixture[str]) -> None:
    console = ConsoleLogger()
    console.info("hi")
    console.log(LogLevel.WARNING, "event", {"a": 1}, step="train")
    console.log(LogLevel.INFO, "train", {"a": 1}, step="train")
    console.log(LogLevel.INFO, "event", {}, "file.txt")
    console.log(
        LogLevel.INFO,
        "metric",
        {"category": "train", "key": "epoch", "value": 0, "metrics": {"loss": 1.0}},
    )
    console.set_metrics({"loss": 1.0}, "train")
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "[LEVEL: INFO] message {'content': 'hi'}",
        "[STEP: train] [LEVEL: WARNING] event {'a': 1}",
        "[STEP: train] [LEVEL: INFO] {'a': 1}",
        "[LEVEL: INFO] event {} (file: file.txt)",
        "[LEVEL: INFO] [metric] category=train, epoch=0, {'loss': 1.0}",
        "[STEP: train] [LEVEL: INFO] [metric] {'loss': 1.0}",
    ]
    assert err == ""


def test_console_progress_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    console = ConsoleLogger()
    clock = Clock()
    console._clock = clock
    for done in range(1001):
        console.set_progress(done, 1000, "train")
    clock.now += 5
    console.set_progress(1, 2)
    console.set_progress_failed("train")
    console.set_progress(0, 3, "eta")
    clock.now += 10
    console.set_progress(1, 3, "eta")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "[STEP: train] progress 0/1000 (0.0%)"
    assert lines[100] == "[STEP: train] progress 1000/1000 (100.0%)"
    assert lines[101] == "progress 1/2 (50.0%)"
    assert lines[102] == "[STEP: train] progress 1000/1000 (100.0%) failed"
    assert lines[104] == "[STEP: eta] progress 1/3 (33.33%, 20 s left)"
    assert len(lines) == 105


@pytest.mark.parametrize(
    ("terminal", "variables", "colour"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, variables: dict[str, str], colour: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    ConsoleLogger().info("hi")
    plain = "[LEVEL: INFO] message {'content': 'hi'}\n"
    assert stream.getvalue() == (
        plain.replace("[LEVEL: INFO]", "\x1b[36m[LEVEL: INFO]\x1b[0m") if colour else plain
    )


class FakeBar:
    made: list[FakeBar]

    def __init__(self, total: float, desc: str | None, file: Any, leave: bool) -> None:
        self.total, self.desc, self.file = total, desc, file
        self.n: float = 0
        self.shown: list[float] = []
        self.closed = False
        self.postfix = ""
        FakeBar.made.append(self)

    def refresh(self) -> None:
        self.shown.append(self.n)

    def close(self) -> None:
        self.closed = True

    def set_postfix_str(self, text: str) -> None:
        self.postfix = text

    @staticmethod
    def write(line: str, file: Any) -> None:
        file.write(f"over the bars: {line}\n")


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[FakeBar]:
    FakeBar.made = []
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=FakeBar))
    return FakeBar.made


def test_console_bars_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, bars: list[FakeBar], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    console = ConsoleLogger()
    console.set_progress(0, 2, "train")
    console.set_progress(1, 2, "train")
    console.info("between")
    console.set_progress(2, 2, "train")
    console.info("after")
    [bar] = bars
    assert (bar.desc, bar.total, bar.file, bar.shown, bar.closed) == (
        "train",
        2,
        terminal,
        [0, 1, 2],
        True,
    )
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "over the bars: [LEVEL: INFO] message {'content': 'between'}"
    assert out[1] == "[LEVEL: INFO] message {'content': 'after'}"
    console.set_progress(1, 2)
    console.set_progress(1, 3)
    assert [one.closed for one in bars] == [True, True, False]
    console.set_progress_failed()
    assert (bars[-1].postfix, bars[-1].closed) == ("failed", True)
    console.set_progress(1, 9, "open")
    console.finish()
    assert all(one.closed for one in bars)
    assert terminal.getvalue() == ""


def test_tqdm_logger(monkeypatch: pytest.MonkeyPatch, bars: list[FakeBar]) -> None:
    TqdmLogger().set_progress(1, 2, "train")
    assert [bar.desc for bar in bars] == ["train"]
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        TqdmLogger()


class Backend:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.down = False

    def create_logs(self, entries: list[dict[str, Any]]) -> None:
        if self.down:
            raise ConnectionError("refused")
        self.calls.append(("logs", [dict(entry) for entry in entries]))

    def update_job(self, job_id: Any, fields: dict[str, Any]) -> None:
        if self.down:
            raise ConnectionError("refused")
        self.calls.append(("job", (job_id, fields)))


def test_backend_logger_sends_at_once(tmp_path: Path) -> None:
    backend = Backend()
    one = BackendLogger(backend, "job-1")
    attached = tmp_path / "a.bin"
    attached.write_bytes(b"abc")
    one.log(LogLevel.INFO, "event", {"path": Path("p"), "nan": float("nan")}, str(attached), "s")
    one.log(LogLevel.INFO, "event", {}, "data:already")
    one.set_progress(1, 2, "s")
    one.set_metrics({"a": 1}, "s")
    kind, [entry] = backend.calls[0]
    assert kind == "logs"
    assert isinstance(entry.pop("time"), float)
    assert entry == {
        "event": "event",
        "level": "info",
        "data": {"path": "p", "nan": None},
        "job": "job-1",
        "step": "s",
        "file": base64.b64encode(b"abc").decode(),
    }
    assert backend.calls[1][1][0]["file"] == "data:already"
    _, (job, fields) = backend.calls[2]
    assert job == "job-1"
    assert fields["progress_record"]["steps"]["s"]["percent"] == 50.0
    assert backend.calls[3] == ("job", ("job-1", {"metrics_record": {"s": {"a": 1}}}))


def test_without_a_backend_or_job() -> None:
    one = BackendLogger(None, None)
    one.info("x")
    one.set_progress(1, 2)
    one.finish()
    backend = Backend()
    jobless = BackendLogger(backend)
    jobless.set_progress(1, 2)
    jobless.info("x")
    assert [kind for kind, _ in backend.calls] == ["logs"]


def test_a_backend_that_is_down_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "MAX_PENDING", 3)
    backend = Backend()
    backend.down = True
    one = BackendLogger(backend, "j")
    with pytest.warns(RuntimeWarning, match="ConnectionError: refused") as caught:
        for number in range(5):
            one.info(number)
        one.set_progress(1, 2)
    assert len(caught) == 1
    backend.down = False
    one.finish()
    _, entries = backend.calls[0]
    assert [entry["data"]["content"] for entry in entries] == ["2", "3", "4"]
    assert backend.calls[1][0] == "job"


def test_job_logger_batches() -> None:
    backend = Backend()
    one = JobLogger(backend, "j", batch_size=3, flush_interval=3600)
    for number in range(7):
        one.info(number)
    assert [len(entries) for _, entries in backend.calls] == [3, 3]
    one.finish()
    assert [len(entries) for _, entries in backend.calls] == [3, 3, 1]


def test_job_logger_sends_what_waits_too_long() -> None:
    backend = Backend()
    sent = threading.Event()
    create_logs = backend.create_logs

    def tell(entries: list[dict[str, Any]]) -> None:
        create_logs(entries)
        sent.set()

    backend.create_logs = tell  # type: ignore[method-assign]
    one = JobLogger(backend, "j", flush_interval=0.01)
    one.info("x")
    assert sent.wait(30)
    one.finish()
    assert len(backend.calls) == 1


def test_job_logger_reckons_the_whole_job() -> None:
    backend = Backend()
    one = JobLogger(backend, "j", {"dataset": 20, "train": 75, "model_upload": 5})
    assert one.get_total_progress() == 0.0
    one.set_progress(1, 1, "dataset")
    one.set_progress(1, 3, "train")
    one.set_progress(1, 1, "unknown")
    assert one.get_total_progress() == 45.0
    one.flush()
    _, (_, fields) = backend.calls[-1]
    assert fields["progress_record"]["percent"] == 45.0
    assert set(fields["progress_record"]["steps"]) == {"dataset", "train", "unknown"}
    one.set_step_proportions({"train": 1})
    assert one.get_total_progress() == 33.33
    one.finish()
    assert JobLogger(None, "j").get_total_progress() is None
    assert pickle.loads(pickle.dumps(JobLogger(None, "j")))._timer is None
