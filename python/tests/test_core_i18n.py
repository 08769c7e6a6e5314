"""Translations, languages and message codes."""

from __future__ import annotations

import threading

import pytest

from synapse_sdk import i18n
from synapse_sdk.i18n import LocalizedMessage
from synapse_sdk.i18n.locales import en, ko
from synapse_sdk.plugins.log_messages import (
    CommonLogMessageCode,
    LogMessageCode,
    register_log_messages,
    resolve_log_message,
)
from synapse_sdk.plugins.models.logger import LogLevel


def test_localized_message() -> None:
    message = LocalizedMessage(en="Hi {who}", ko="{who} 안녕")
    assert message.get("ko") == "{who} 안녕"
    assert message.get("fr") == "Hi {who}"
    assert message.get("fr", "ko") == "{who} 안녕"
    assert message.get(None) == "Hi {who}"
    assert message.format("ko", who="A") == "A 안녕"
    assert message.format("fr", "ko", who="A") == "A 안녕"
    assert message.format("en", other=1) == "Hi {who}"
    assert message.format("en") == "Hi {who}"
    assert str(message) == "Hi {who}"
    assert message == LocalizedMessage(ko="{who} 안녕", en="Hi {who}")
    assert hash(message) == hash(LocalizedMessage(ko="{who} 안녕", en="Hi {who}"))
    assert message != "Hi {who}"
    assert message.languages == list(message) == ["en", "ko"]
    assert "Hi {who}" in repr(message)
    assert LocalizedMessage().get("en") == ""


def test_both_languages_have_the_same_keys() -> None:
    assert en.MESSAGES.keys() == ko.MESSAGES.keys()


def test_translate_and_its_fallbacks() -> None:
    i18n.register_translations("en", {"a": "A {x}", "only": "english"})
    i18n.register_translations("ko", {"a": "가 {x}"})
    assert i18n.translate("a", "ko", x=1) == "가 1"
    assert i18n.translate("a", "ko-KR", x=1) == "가 1"
    assert i18n.translate("a", x=1) == "A 1"
    assert i18n.translate("only", "ko") == "english"
    assert i18n.translate("nothing", "ko", x=1) == "nothing"
    assert i18n.translate("a", y=1) == "A {x}"
    assert {"en", "ko"} <= set(i18n.get_translator().languages)


def test_language_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert i18n.get_language() == "en"
    monkeypatch.setenv("SYNAPSE_LANGUAGE", "ko")
    assert i18n.get_language() == "ko"
    assert i18n.translate("PLUGIN_RUN_COMPLETE") == ko.MESSAGES["PLUGIN_RUN_COMPLETE"]
    i18n.set_language("en")
    assert i18n.translate("PLUGIN_RUN_COMPLETE") == "Plugin run is complete."
    i18n.set_language(None)
    assert i18n.get_language() == "ko"


def test_one_translator_until_it_is_reset() -> None:
    found: list[i18n.Translator] = []
    threads = [
        threading.Thread(target=lambda: found.append(i18n.get_translator())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in found}) == 1
    i18n.register_translations("en", {"mine": "x"})
    i18n.set_language("ko")
    i18n.reset_translator()
    assert i18n.get_translator() is not found[0]
    assert i18n.translate("mine") == "mine"
    assert i18n.get_language() == "en"


class Code(LogMessageCode):
    A = ("CORE_I18N_A", LogLevel.DANGER)
    B = ("CORE_I18N_B", "success")
    C = "CORE_I18N_C"


def test_codes() -> None:
    assert [code.level for code in Code] == [LogLevel.DANGER, LogLevel.SUCCESS, LogLevel.INFO]
    assert str(Code.A) == Code.A.value == "CORE_I18N_A"
    assert Code("CORE_I18N_C") is Code.C
    with pytest.raises(ValueError, match="unknown log level"):

        class Wrong(LogMessageCode):
            A = ("X", "loud")


def test_registered_texts_outlive_a_reset() -> None:
    register_log_messages({Code.A: "A {n}", "CORE_I18N_B": {"en": "B", "ko": "나"}})
    i18n.reset_translator()
    assert resolve_log_message(Code.A, n=1) == ("A 1", LogLevel.DANGER)
    assert resolve_log_message(Code.B, "ko") == ("나", LogLevel.SUCCESS)
    assert resolve_log_message("CORE_I18N_B") == ("B", LogLevel.INFO)
    assert resolve_log_message(Code.C, "ko") == ("CORE_I18N_C", LogLevel.INFO)


def test_bad_texts_are_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="CORE_BAD is left out") as caught:
        register_log_messages({"CORE_BAD": 3, "CORE_GOOD": "good"})
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="CORE_HALF in 'ko' is left out"):
        register_log_messages({"CORE_HALF": {"en": "half", "ko": None}})
    assert i18n.translate("CORE_BAD") == "CORE_BAD"
    assert i18n.translate("CORE_GOOD") == "good"
    assert i18n.translate("CORE_HALF", "ko") == "half"


def test_the_code_of_every_run() -> None:
    text, level = resolve_log_message(CommonLogMessageCode.PLUGIN_RUN_COMPLETE)
    assert text == "Plugin run is complete."
    assert level is LogLevel.SUCCESS
