"""RuntimeContext: messages in all their forms, and the events that reach the logger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from synapse_sdk.i18n import LocalizedMessage, set_language
from synapse_sdk.loggers import NoOpLogger
from synapse_sdk.plugins.context import PluginEnvironment, RuntimeContext
from synapse_sdk.plugins.log_messages import LogMessageCode, register_log_messages
from synapse_sdk.plugins.models.logger import LogLevel


class Code(LogMessageCode):
    SAVED = ("CORE_TEST_SAVED", LogLevel.SUCCESS)
    NAMED = ("CORE_TEST_NAMED", "warning")
    PLAIN = "CORE_TEST_PLAIN"


@pytest.fixture(autouse=True)
def texts() -> None:
    register_log_messages(
        {Code.SAVED: {"en": "Saved {count}.", "ko": "{count}개 저장"}, Code.NAMED: "Named."}
    )


def test_fields_and_their_defaults() -> None:
    logger, env = NoOpLogger(), PluginEnvironment()
    ctx = RuntimeContext(logger=logger, env=env)
    assert (ctx.job_id, ctx.client, ctx.v2_client, ctx.agent_client) == (None, None, None, None)
    assert (ctx.checkpoint, ctx.language) == (None, None)
    ctx = RuntimeContext(logger, env, "j", "c1", "c2", "agent", {"id": 1}, "ko")
    assert (ctx.client_v1, ctx.client_v2, ctx.agent_client) == ("c1", "c2", "agent")
    assert (ctx.job_id, ctx.checkpoint, ctx.language) == ("j", {"id": 1}, "ko")


@pytest.mark.parametrize("level", [*LogLevel, *(level.value for level in LogLevel), "INFO"])
def test_message_levels(ctx: RuntimeContext, logger: Any, level: Any) -> None:
    ctx.log_message("Starting training...", level)
    assert logger.last == (LogLevel(level), "message", {"content": "Starting training..."})
    assert isinstance(logger.last[0], LogLevel)


def test_an_unknown_level_is_a_value_error_that_names_the_levels(
    ctx: RuntimeContext, logger: Any
) -> None:
    with pytest.raises(ValueError, match=r"'loud'.*debug, info, success, warning, danger"):
        ctx.log_message("x", "loud")
    assert logger.events == []


def test_text_is_formatted_only_with_values(ctx: RuntimeContext, logger: Any) -> None:
    for message, values, expected in [
        ("a {b}", {}, "a {b}"),
        ("a {b}", {"b": 1}, "a 1"),
        ("a {b}", {"c": 1}, "a {b}"),
        ("100% {", {"c": 1}, "100% {"),
        ("{0}", {"c": 1}, "{0}"),
        ("{c.none}", {"c": 1}, "{c.none}"),
    ]:
        ctx.log_message(message, **values)
        assert logger.last[2] == {"content": expected}


def test_the_default_level_is_info(ctx: RuntimeContext, logger: Any) -> None:
    ctx.log_message("x")
    assert logger.last[0] is LogLevel.INFO


@pytest.mark.parametrize(
    ("argument", "of_ctx", "variable", "expected"),
    [
        (None, None, None, "Saved 2."),
        (None, None, "ko", "2개 저장"),
        (None, "ko", "en", "2개 저장"),
        ("en", "ko", "ko", "Saved 2."),
        ("fr", None, None, "Saved 2."),
        ("ko-KR", None, None, "2개 저장"),
        (None, "ko_KR.UTF-8", None, "2개 저장"),
    ],
)
@pytest.mark.parametrize("form", ["dict", "localized", "code"])
def test_language(
    ctx: RuntimeContext,
    logger: Any,
    monkeypatch: pytest.MonkeyPatch,
    argument: str | None,
    of_ctx: str | None,
    variable: str | None,
    expected: str,
    form: str,
) -> None:
    texts = {"en": "Saved {count}.", "ko": "{count}개 저장"}
    message: Any = {"dict": texts, "localized": LocalizedMessage(**texts), "code": Code.SAVED}[form]
    if variable is not None:
        monkeypatch.setenv("SYNAPSE_LANGUAGE", variable)
    ctx.language = of_ctx
    ctx.log_message(message, language=argument, count=2)
    assert logger.last[2]["content"] == expected
    assert ("key" in logger.last[2]) == (form == "code")


def test_a_set_language_counts_before_the_variable(
    ctx: RuntimeContext, logger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNAPSE_LANGUAGE", "en")
    set_language("ko")
    ctx.log_message({"en": "yes", "ko": "네"})
    assert logger.last[2] == {"content": "네"}


@pytest.mark.parametrize("form", ["dict", "code"])
def test_the_runs_own_variable_counts_before_the_process(
    ctx: RuntimeContext, logger: Any, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    message: Any = {"en": "Saved", "ko": "2개 저장"} if form == "dict" else Code.SAVED
    monkeypatch.setenv("SYNAPSE_LANGUAGE", "en")
    ctx.env = PluginEnvironment({"SYNAPSE_LANGUAGE": "ko"})
    ctx.log_message(message, count=2)
    assert logger.last[2]["content"] == "2개 저장"
    ctx.language = "en"
    ctx.log_message(message, count=2)
    assert logger.last[2]["content"].startswith("Saved")
    ctx.language = None
    set_language("en")
    ctx.log_message(message, count=2)
    assert logger.last[2]["content"].startswith("Saved")


def test_values_of_a_template_may_have_any_name(ctx: RuntimeContext, logger: Any) -> None:
    values: dict[str, Any] = {"code": 1, "key": 2, "lang": 3, "default": "ko"}
    register_log_messages({Code.NAMED: "{code} {key} {lang} {default}"})
    ctx.log_message(Code.NAMED, **values)
    assert logger.last[2]["content"] == "1 2 3 ko"
    ctx.log_message({"en": "{code} {key} {lang} {default}", "ko": "틀림"}, **values)
    assert logger.last[2]["content"] == "1 2 3 ko"
    ctx.log_message({"self": "a", "en": "b"})
    assert logger.last[2]["content"] == "b"


def test_a_code_brings_its_level_and_key(ctx: RuntimeContext, logger: Any) -> None:
    ctx.log_message(Code.SAVED, "danger", count=1)
    assert logger.last == (
        LogLevel.SUCCESS,
        "message",
        {"content": "Saved 1.", "key": "CORE_TEST_SAVED"},
    )
    ctx.log_message(Code.SAVED)
    assert logger.last[2]["content"] == "Saved {count}."
    ctx.log_message(Code.NAMED)
    assert logger.last[0] is LogLevel.WARNING
    ctx.log_message(Code.PLAIN)
    assert logger.last == (
        LogLevel.INFO,
        "message",
        {"content": "CORE_TEST_PLAIN", "key": "CORE_TEST_PLAIN"},
    )


def test_dict_without_the_language(ctx: RuntimeContext, logger: Any) -> None:
    ctx.log_message({"fr": "oui"})
    assert logger.last[2] == {"content": "oui"}
    ctx.log_message({})
    assert logger.last[2] == {"content": ""}


def test_messages_of_a_step(ctx: RuntimeContext, logger: Any) -> None:
    logger.set_step("train")
    ctx.log_message("a")
    ctx.log_message("b", step="other")
    assert [event[4] for event in logger.events] == ["train", "other"]


def test_context_is_the_older_level(ctx: RuntimeContext, logger: Any) -> None:
    with pytest.warns(DeprecationWarning) as caught:
        ctx.log_message("x", context="success")
    assert caught[0].filename == __file__
    assert logger.last[0] is LogLevel.SUCCESS


def test_something_else_is_written_as_text(ctx: RuntimeContext, logger: Any) -> None:
    ctx.log_message(404)  # type: ignore[arg-type]
    assert logger.last[2] == {"content": "404"}


def test_log(ctx: RuntimeContext, logger: Any) -> None:
    ctx.log("event", {"a": 1})
    ctx.log("event", {"a": 1}, "file.txt", LogLevel.DEBUG)
    ctx.log("event", {"a": 1}, level="warning", step="s")
    assert logger.events == [
        (LogLevel.INFO, "event", {"a": 1}, None, None),
        (LogLevel.DEBUG, "event", {"a": 1}, "file.txt", None),
        (LogLevel.WARNING, "event", {"a": 1}, None, "s"),
    ]
    with pytest.raises(TypeError, match="mapping"):
        ctx.log("event", "text")  # type: ignore[arg-type]


def test_progress_and_metrics(ctx: RuntimeContext, logger: Any) -> None:
    ctx.set_progress(1, 4)
    ctx.set_progress(1, 4, "train")
    ctx.set_progress(1, 4, category="older")
    assert [(one.step, one.percent) for one in logger.progress] == [
        (None, 25.0),
        ("train", 25.0),
        ("older", 25.0),
    ]
    ctx.set_metrics({"a": 1}, "train")
    ctx.set_metrics({"a": 1}, step="train")
    ctx.set_metrics({"a": 1}, category="older")
    assert [step for step, _ in logger.metrics] == ["train", "train", "older"]
    with pytest.raises(ValueError, match="step"):
        ctx.set_metrics({"a": 1})


TABLE: Mapping[str, Any] = {"trials": {"1": {}}, "best_trial": "1"}


def test_other_events(ctx: RuntimeContext, logger: Any) -> None:
    ctx.log_metric("train", "epoch", 0, loss=1.0)
    assert logger.last == (
        LogLevel.INFO,
        "metric",
        {"category": "train", "key": "epoch", "value": 0, "metrics": {"loss": 1.0}},
    )
    ctx.log_visualization("validation", "boxes", 1, "a.png", score=0.5)
    assert logger.last[1:] == (
        "visualization",
        {
            "category": "validation",
            "group": "boxes",
            "index": 1,
            "image": "a.png",
            "meta": {"score": 0.5},
        },
    )
    ctx.log_trials(TABLE)
    assert logger.last[1:] == ("trials", TABLE)
    ctx.log_trials(
        trials={"a": {"lr": 0.1}}, base=["epoch"], hyperparameters=["lr"], metrics=["loss"]
    )
    assert logger.last[1:] == (
        "trials",
        {
            "trials": {"a": {"lr": 0.1}},
            "base": ["epoch"],
            "hyperparameters": ["lr"],
            "metrics": ["loss"],
            "best_trial": "",
        },
    )
    ctx.log_dev_event("here", {"a": 1})
    assert logger.last == (LogLevel.DEBUG, "dev_event", {"content": "here", "data": {"a": 1}})
    ctx.log_dev_event("here")
    assert logger.last[2] == {"content": "here"}


@pytest.mark.parametrize(
    ("language", "text"),
    [(None, "Plugin run is complete."), ("ko", "플러그인 실행이 완료되었습니다.")],
)
def test_end_log(ctx: RuntimeContext, logger: Any, language: str | None, text: str) -> None:
    ctx.language = language
    ctx.end_log()
    assert logger.last[1:] == ("message", {"content": text, "key": "PLUGIN_RUN_COMPLETE"})
