"""Owns the rules of logging: what is accepted, how progress is reckoned, how metrics are merged."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from synapse_sdk.plugins.models.logger import LogLevel

__all__ = ["DEFAULT_STEP", "BaseLogger", "ProgressRecord"]

DEFAULT_STEP = "__default__"
"""The key of progress that belongs to no step."""


@dataclass
class ProgressRecord:
    """How far a step is.

    Attributes:
        step: its name; None for progress that belongs to no step.
        current, total: in units of the action's choice.
        percent: 0 to 100, two decimals.
        elapsed: seconds since the step's progress began.
        eta: seconds still to go at the rate so far; None while there is no rate.
        failed: the step has failed.
        order: the step's place among the steps, None when it has none.
    """

    step: str | None
    current: float
    total: float
    percent: float
    elapsed: float
    eta: float | None
    failed: bool = False
    order: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict."""
        return asdict(self)


class BaseLogger:
    """Base of all loggers. Subclasses override the `_emit_*` methods; the base emits nothing.

    Methods may be called from several threads; the `_emit_*` methods are called one at a time.
    """

    _clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._step: str | None = None
        self._orders: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._progress: dict[str, ProgressRecord] = {}
        self._metrics: dict[str, dict[str, Any]] = {}
        self._finished = False
        _loggers.add(self)

    def log(
        self,
        level: LogLevel,
        event: str,
        data: Mapping[str, Any],
        file: str | None = None,
        step: str | None = None,
    ) -> None:
        """Logs an event with its data.

        Args:
            step: the step that it belongs to; the current one by default.

        Raises:
            TypeError: `level` is no LogLevel or `data` no mapping.
            RuntimeError: the logger is finished.
        """
        if not isinstance(level, LogLevel):
            raise TypeError(f"level must be a LogLevel, got {type(level).__name__}")
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a mapping, got {type(data).__name__}")
        with self._lock:
            self._check_open()
            self._emit_log(level, event, dict(data), file, self._step if step is None else step)

    def debug(self, msg: object) -> None:
        """Logs text as event `debug`."""
        self.log(LogLevel.DEBUG, "debug", {"content": str(msg)})

    def info(self, msg: object) -> None:
        """Logs text as event `message`."""
        self.log(LogLevel.INFO, "message", {"content": str(msg)})

    def warning(self, msg: object) -> None:
        """Logs text as event `message`."""
        self.log(LogLevel.WARNING, "message", {"content": str(msg)})

    def error(self, msg: object) -> None:
        """Logs text as event `message`."""
        self.log(LogLevel.ERROR, "message", {"content": str(msg)})

    def critical(self, msg: object) -> None:
        """Logs text as event `message`."""
        self.log(LogLevel.CRITICAL, "message", {"content": str(msg)})

    def set_step(self, step: str | None, order: int | None = None) -> None:
        """Makes a step the current one; None means none."""
        with self._lock:
            self._step = step
            if step is not None and order is not None:
                self._orders[step] = order

    def get_step(self) -> str | None:
        """The current step."""
        return self._step

    def set_progress(self, current: float, total: float, step: str | None = None) -> None:
        """Says how far a step is.

        Args:
            step: the current one by default.

        Raises:
            ValueError: `total` is not above 0, or `current` is not between 0 and `total`.
            RuntimeError: the logger is finished.
        """
        if not total > 0:
            raise ValueError(f"total must be > 0, got {total}")
        if not 0 <= current <= total:
            raise ValueError(f"current must be between 0 and {total}, got {current}")
        with self._lock:
            self._check_open()
            key = self._key(step)
            now = self._clock()
            if current == 0 or key not in self._started:
                self._started[key] = now
            elapsed = now - self._started[key]
            eta = elapsed / current * (total - current) if current > 0 and elapsed > 0 else None
            record = self._record(
                key, current, total, elapsed, 0.0 if current == total else eta, failed=False
            )
            self._progress[key] = record
            self._emit_progress(record)

    def set_progress_failed(self, step: str | None = None) -> None:
        """Says that a step has failed where it was."""
        with self._lock:
            self._check_open()
            key = self._key(step)
            last = self._progress.get(key)
            current, total = (0, 1) if last is None else (last.current, last.total)
            elapsed = self._clock() - self._started.get(key, self._clock())
            record = self._record(key, current, total, elapsed, None, failed=True)
            self._progress[key] = record
            self._emit_progress(record)

    def set_metrics(self, value: Mapping[str, Any], step: str | None = None) -> None:
        """Records metrics of a step; those recorded before are kept or replaced by name.

        Args:
            step: the current one by default.

        Raises:
            TypeError: `value` is no mapping.
            ValueError: no step is given, and none is current.
            RuntimeError: the logger is finished.
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"metrics must be a mapping, got {type(value).__name__}")
        with self._lock:
            self._check_open()
            name = self._step if step is None else step
            if not name:
                raise ValueError("metrics need a step: pass step=..., or set the current one")
            values = dict(value)
            self._metrics.setdefault(name, {}).update(values)
            self._emit_metrics(name, values)

    def get_progress(self, step: str | None = None) -> ProgressRecord | None:
        """How far a step is; of the current one by default. None when it never said."""
        with self._lock:
            return self._progress.get(self._key(step))

    def get_metrics(self, step: str | None = None) -> dict[str, Any]:
        """A copy of a step's metrics, of the current one by default; `{}` when it has none."""
        with self._lock:
            name = self._step if step is None else step
            return dict(self._metrics.get(name or "", {}))

    def get_progress_record(self) -> dict[str, dict[str, Any]]:
        """All progress: step (or `__default__`) to the fields of its ProgressRecord."""
        with self._lock:
            return {key: record.to_dict() for key, record in self._progress.items()}

    def get_metrics_record(self) -> dict[str, dict[str, Any]]:
        """All metrics: step to its values."""
        with self._lock:
            return {step: dict(values) for step, values in self._metrics.items()}

    def finish(self) -> None:
        """Ends logging. What is logged later is refused; a second call does nothing."""
        with self._lock:
            if not self._finished:
                self._finished = True
                self._emit_finish()

    def _emit_log(
        self,
        level: LogLevel,
        event: str,
        data: dict[str, Any],
        file: str | None,
        step: str | None,
    ) -> None:
        """Takes one event."""

    def _emit_progress(self, record: ProgressRecord) -> None:
        """Takes one step's progress."""

    def _emit_metrics(self, step: str, values: dict[str, Any]) -> None:
        """Takes the newly recorded metrics of a step, not the merged ones."""

    def _emit_finish(self) -> None:
        """Called once, at the end."""

    def _check_open(self) -> None:
        if self._finished:
            raise RuntimeError("Cannot log to a finished logger")

    def _key(self, step: str | None) -> str:
        return step or self._step or DEFAULT_STEP

    def _record(
        self,
        key: str,
        current: float,
        total: float,
        elapsed: float,
        eta: float | None,
        *,
        failed: bool,
    ) -> ProgressRecord:
        return ProgressRecord(
            step=None if key == DEFAULT_STEP else key,
            current=current,
            total=total,
            percent=round(current / total * 100, 2),
            elapsed=round(elapsed, 2),
            eta=None if eta is None else round(eta, 2),
            failed=failed,
            order=self._orders.get(key),
        )

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
        _loggers.add(self)


_loggers: weakref.WeakSet[BaseLogger] = weakref.WeakSet()


def _renew_locks() -> None:
    # A lock that another thread held at the fork would stay locked in the child for ever.
    for logger in list(_loggers):
        logger._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
