"""Owns messages with a code: their texts per language and their level."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from synapse_sdk._compat import StrEnum
from synapse_sdk.plugins.models.logger import LogLevel

__all__ = [
    "CommonLogMessageCode",
    "DatasetLogMessageCode",
    "ExportLogMessageCode",
    "InferenceLogMessageCode",
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
        member = str.__new__(cls, value)
        member._value_ = value
        member.level = LogLevel(level)
        return member


def register_log_messages(messages: Mapping[Any, Any]) -> None:
    """Adds the texts of codes.

    Args:
        messages: code (a LogMessageCode or its value) to a template, which is English, or to
            `{language: template}`. A value that is neither is left out with a warning.
    """
    from synapse_sdk.i18n import DEFAULT_LANGUAGE, get_translator

    translator = get_translator()
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
                translator.register(language, {str(code): template})
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


class TrainLogMessageCode(LogMessageCode):
    """Codes of training."""

    TRAIN_DATASET_DOWNLOADING = ("TRAIN_DATASET_DOWNLOADING", LogLevel.INFO)
    TRAIN_DATASET_READY = ("TRAIN_DATASET_READY", LogLevel.SUCCESS)
    TRAIN_CHECKPOINT_LOADED = ("TRAIN_CHECKPOINT_LOADED", LogLevel.INFO)
    TRAIN_STARTING = ("TRAIN_STARTING", LogLevel.INFO)
    TRAIN_COMPLETED = ("TRAIN_COMPLETED", LogLevel.SUCCESS)
    TRAIN_MODEL_UPLOADING = ("TRAIN_MODEL_UPLOADING", LogLevel.INFO)
    TRAIN_MODEL_UPLOADED = ("TRAIN_MODEL_UPLOADED", LogLevel.SUCCESS)
    TRAIN_MODEL_NONE = ("TRAIN_MODEL_NONE", LogLevel.WARNING)
    TRAIN_TRIALS_STARTING = ("TRAIN_TRIALS_STARTING", LogLevel.INFO)
    TRAIN_TRIALS_COMPLETED = ("TRAIN_TRIALS_COMPLETED", LogLevel.SUCCESS)


class InferenceLogMessageCode(LogMessageCode):
    """Codes of inference."""

    INFERENCE_MODEL_LOADING = ("INFERENCE_MODEL_LOADING", LogLevel.INFO)
    INFERENCE_MODEL_LOADED = ("INFERENCE_MODEL_LOADED", LogLevel.SUCCESS)
    INFERENCE_COMPLETED = ("INFERENCE_COMPLETED", LogLevel.SUCCESS)


class ExportLogMessageCode(LogMessageCode):
    """Codes of exporting."""

    EXPORT_STARTING = ("EXPORT_STARTING", LogLevel.INFO)
    EXPORT_NO_RESULTS = ("EXPORT_NO_RESULTS", LogLevel.WARNING)
    EXPORT_CONVERTING = ("EXPORT_CONVERTING", LogLevel.INFO)
    EXPORT_SAVING_FILES = ("EXPORT_SAVING_FILES", LogLevel.INFO)
    EXPORT_ITEM_FAILED = ("EXPORT_ITEM_FAILED", LogLevel.DANGER)
    EXPORT_COMPLETED = ("EXPORT_COMPLETED", LogLevel.SUCCESS)
    EXPORT_COMPLETED_WITH_FAILURES = ("EXPORT_COMPLETED_WITH_FAILURES", LogLevel.WARNING)


class UploadLogMessageCode(LogMessageCode):
    """Codes of uploading."""

    UPLOAD_STARTING = ("UPLOAD_STARTING", LogLevel.INFO)
    UPLOAD_FILES_ORGANIZED = ("UPLOAD_FILES_ORGANIZED", LogLevel.INFO)
    UPLOAD_NO_FILES = ("UPLOAD_NO_FILES", LogLevel.WARNING)
    UPLOAD_FILE_REFUSED = ("UPLOAD_FILE_REFUSED", LogLevel.WARNING)
    UPLOAD_FILES_UPLOADING = ("UPLOAD_FILES_UPLOADING", LogLevel.INFO)
    UPLOAD_FILE_FAILED = ("UPLOAD_FILE_FAILED", LogLevel.DANGER)
    UPLOAD_DATA_UNITS_CREATING = ("UPLOAD_DATA_UNITS_CREATING", LogLevel.INFO)
    UPLOAD_COMPLETED = ("UPLOAD_COMPLETED", LogLevel.SUCCESS)
    UPLOAD_COMPLETED_WITH_FAILURES = ("UPLOAD_COMPLETED_WITH_FAILURES", LogLevel.WARNING)


class ToTaskLogMessageCode(LogMessageCode):
    """Codes of writing annotations into tasks."""

    TO_TASK_STARTING = ("TO_TASK_STARTING", LogLevel.INFO)
    TO_TASK_NO_TASKS = ("TO_TASK_NO_TASKS", LogLevel.WARNING)
    TO_TASK_TASK_FAILED = ("TO_TASK_TASK_FAILED", LogLevel.DANGER)
    TO_TASK_COMPLETED = ("TO_TASK_COMPLETED", LogLevel.SUCCESS)
    TO_TASK_COMPLETED_WITH_FAILURES = ("TO_TASK_COMPLETED_WITH_FAILURES", LogLevel.WARNING)


class DatasetLogMessageCode(LogMessageCode):
    """Codes of downloading and converting datasets."""

    DATASET_DOWNLOADING = ("DATASET_DOWNLOADING", LogLevel.INFO)
    DATASET_DOWNLOADED = ("DATASET_DOWNLOADED", LogLevel.SUCCESS)
    DATASET_CACHED = ("DATASET_CACHED", LogLevel.INFO)
    DATASET_CONVERTING = ("DATASET_CONVERTING", LogLevel.INFO)
    DATASET_CONVERTED = ("DATASET_CONVERTED", LogLevel.SUCCESS)
