"""Owns the loggers for a person at a terminal."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from synapse_sdk.loggers.base import BaseLogger, ProgressRecord
from synapse_sdk.plugins.models.logger import LogLevel

__all__ = ["ConsoleLogger", "TqdmLogger"]

_COLOURS = {
    LogLevel.DEBUG: "2",
    LogLevel.INFO: "36",
    LogLevel.SUCCESS: "32",
    LogLevel.WARNING: "33",
    LogLevel.DANGER: "31",
    LogLevel.ERROR: "31",
    LogLevel.CRITICAL: "1;31",
}


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # no stream, or a closed one
        return False


def _has_colour(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return _is_terminal(stream)


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


class ConsoleLogger(BaseLogger):
    """Prints events to stdout and progress to stderr.

    Lines are `[STEP: train] [LEVEL: INFO] event {data}`, without the step when there is none and
    without the event when it is the step's name; points of a metric series are
    `[LEVEL: INFO] [metric] category=train, epoch=0, {'loss': 1.0}`. Progress is a bar on a
    terminal where tqdm is installed, else a line for each whole percent. Colour only on a
    terminal, and never where NO_COLOR is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bars: dict[str | None, Any] = {}
        self._shown: dict[str | None, tuple[int, float, bool]] = {}

    def _emit_log(
        self,
        level: LogLevel,
        event: str,
        data: dict[str, Any],
        file: str | None,
        step: str | None,
    ) -> None:
        if event == "metric" and {"category", "key", "value"} <= data.keys():
            rest = data.get("metrics", {})
            text = f"[metric] category={data['category']}, {data['key']}={data['value']}, {rest}"
        else:
            text = f"{data}" if event == step else f"{event} {data}"
        if file is not None:
            text = f"{text} (file: {file})"
        self._line(level, text, step)

    def _emit_metrics(self, step: str, values: dict[str, Any]) -> None:
        self._line(LogLevel.INFO, f"[metric] {values}", step)

    def _emit_progress(self, record: ProgressRecord) -> None:
        tqdm = _tqdm() if _is_terminal(sys.stderr) else None
        if tqdm is None:
            self._text_progress(record)
        else:
            self._bar_progress(tqdm, record)

    def _emit_finish(self) -> None:
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()

    def _line(self, level: LogLevel, text: str, step: str | None) -> None:
        label = f"[LEVEL: {level.value.upper()}]"
        if _has_colour(sys.stdout):
            label = f"\x1b[{_COLOURS[level]}m{label}\x1b[0m"
        line = f"{label} {text}" if step is None else f"[STEP: {step}] {label} {text}"
        if self._bars:
            # Printed by tqdm, so that the bars below move down instead of being torn.
            next(iter(self._bars.values())).write(line, file=sys.stdout)
        else:
            print(line, flush=True)

    def _text_progress(self, record: ProgressRecord) -> None:
        # One line for each whole percent: a loop of a million steps must not print a million.
        state = (int(record.percent), record.total, record.failed)
        if self._shown.get(record.step) == state:
            return
        self._shown[record.step] = state
        prefix = "" if record.step is None else f"[STEP: {record.step}] "
        left = "" if not record.eta else f", {record.eta:.0f} s left"
        end = " failed" if record.failed else ""
        print(
            f"{prefix}progress {record.current}/{record.total} ({record.percent}%{left}){end}",
            file=sys.stderr,
            flush=True,
        )

    def _bar_progress(self, tqdm: Any, record: ProgressRecord) -> None:
        bar = self._bars.get(record.step)
        if bar is not None and bar.total != record.total:
            bar.close()
            bar = None
        if bar is None:
            bar = tqdm(total=record.total, desc=record.step, file=sys.stderr, leave=True)
            self._bars[record.step] = bar
        bar.n = record.current
        if record.failed:
            bar.set_postfix_str("failed")
        bar.refresh()
        if record.failed or record.current == record.total:
            bar.close()
            del self._bars[record.step]


class TqdmLogger(ConsoleLogger):
    """A ConsoleLogger that always shows progress as tqdm bars on stderr.

    Raises:
        ImportError: tqdm is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        if _tqdm() is None:
            raise ImportError("TqdmLogger needs tqdm: pip install tqdm", name="tqdm")

    def _emit_progress(self, record: ProgressRecord) -> None:
        self._bar_progress(_tqdm(), record)
