"""Owns messages with a code: their texts per language and their level."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from synapse_sdk._compat import StrEnum
from synapse_sdk._lazy import attach
from synapse_sdk.plugins.models.logger import LogLevel

if TYPE_CHECKING:
    from synapse_sdk.plugins.actions.dataset.log_messages import DatasetLogMessageCode
    from synapse_sdk.plugins.actions.export.log_messages import ExportLogMessageCode
    from synapse_sdk.plugins.actions.to_task.log_messages import ToTaskLogMessageCode
    from synapse_sdk.plugins.actions.train.log_messages import TrainLogMessageCode
    from synapse_sdk.plugins.actions.upload.log_messages import UploadLogMessageCode

__all__ = [
    "CommonLogMessageCode",
    "DatasetLogMessageCode",
    "ExportLogMessageCode",
    "LogMessageCode",
    "ToTaskLogMessageCode",
    "TrainLogMessageCode",
    "UploadLogMessageCode",
    "register_log_messages",
    "resolve_log_message",
]


class LogMessageCode(StrEnum):
    """Base of message codes. Members are `NAME = ("VALUE", LogLevel.X)` or `NAME = "VALUE"`.

    The value is the key of the templates; the level is INFO by default and may be its name.
    """

    level: LogLevel

    def __new__(cls, value: str, level: LogLevel | str = LogLevel.INFO) -> LogMessageCode:
        """Makes a member of its value and level."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.level = LogLevel(level)
        return member


def register_log_messages(messages: Mapping[Any, Any]) -> None:
    """Adds the texts of codes, for as long as the process lives.

    Args:
        messages: code (a LogMessageCode or its value) to a template, which is English, or to
            `{language: template}`. A value that is neither is left out with a warning.
    """
    from synapse_sdk.i18n import DEFAULT_LANGUAGE
    from synapse_sdk.i18n.translator import register_permanently

    for code, texts in messages.items():
        by_language = {DEFAULT_LANGUAGE: texts} if isinstance(texts, str) else texts
        if not isinstance(by_language, Mapping):
            warnings.warn(
                f"log message {code!s} is left out: its text is neither a string "
                f"nor a dict of languages but {type(texts).__name__}",
                stacklevel=2,
            )
            continue
        for language, template in by_language.items():
            if isinstance(language, str) and isinstance(template, str):
                register_permanently(language, {str(code): template})
            else:
                warnings.warn(
                    f"log message {code!s} in {language!r} is left out: it is no string",
                    stacklevel=2,
                )


def resolve_log_message(
    code: LogMessageCode | str, language: str | None = None, **values: Any
) -> tuple[str, LogLevel]:
    """The text of a code and its level.

    The text is that of the language, else English, else the code itself; one with a missing
    value is returned unfilled. A code that is a plain string has level INFO.
    """
    from synapse_sdk.i18n import get_translator

    level = getattr(code, "level", LogLevel.INFO)
    return get_translator().translate(str(code), language, **values), level


class CommonLogMessageCode(LogMessageCode):
    """Codes of every run."""

    PLUGIN_RUN_COMPLETE = ("PLUGIN_RUN_COMPLETE", LogLevel.SUCCESS)


if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        __all__,
        {
            f"{name}LogMessageCode": f"synapse_sdk.plugins.actions.{home}.log_messages"
            for name, home in {
                "Dataset": "dataset",
                "Export": "export",
                "ToTask": "to_task",
                "Train": "train",
                "Upload": "upload",
            }.items()
        },
    )
