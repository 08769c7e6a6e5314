"""Owns the fixtures that all tests of the package share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synapse_sdk.i18n import reset_translator
from synapse_sdk.loggers import BaseLogger, ProgressRecord
from synapse_sdk.plugins.context import PluginEnvironment, RuntimeContext
from synapse_sdk.plugins.models.logger import LogLevel


class RecordingLogger(BaseLogger):
    """Keeps everything that it is given, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[LogLevel, str, dict[str, Any], str | None, str | None]] = []
        self.progress: list[ProgressRecord] = []
        self.metrics: list[tuple[str, dict[str, Any]]] = []
        self.finishes = 0

    def _emit_log(
        self, level: LogLevel, event: str, data: dict[str, Any], file: str | None, step: str | None
    ) -> None:
        self.events.append((level, event, data, file, step))

    def _emit_progress(self, record: ProgressRecord) -> None:
        self.progress.append(record)

    def _emit_metrics(self, step: str, values: dict[str, Any]) -> None:
        self.metrics.append((step, values))

    def _emit_finish(self) -> None:
        self.finishes += 1

    @property
    def last(self) -> tuple[LogLevel, str, dict[str, Any]]:
        """Level, event and data of the last event."""
        return self.events[-1][:3]


@pytest.fixture
def logger() -> RecordingLogger:
    """A logger that keeps everything."""
    return RecordingLogger()


@pytest.fixture
def ctx(logger: RecordingLogger) -> RuntimeContext:
    """A run that logs to `logger`, without a backend."""
    return RuntimeContext(logger=logger, env=PluginEnvironment({}), job_id="job-1")


@pytest.fixture(autouse=True)
def plain_language(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test begins in English and without translations of another test."""
    monkeypatch.delenv("SYNAPSE_LANGUAGE", raising=False)
    reset_translator()
    yield
    reset_translator()
