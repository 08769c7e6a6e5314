"""Owns the loggers that send a job's events, progress and metrics to the backend."""

from __future__ import annotations

import base64
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synapse_sdk.loggers.base import BaseLogger, ProgressRecord
from synapse_sdk.plugins.models.logger import LogLevel

__all__ = ["BackendLogger", "JobLogger"]

MAX_PENDING = 10_000
"""Events kept while the backend cannot be reached; the oldest are dropped first."""


class BackendLogger(BaseLogger):
    """Sends every event at once.

    Args:
        backend: a client with `create_logs(entries)` and `update_job(job_id, fields)`; None sends
            nothing.
        job_id: the job that it is about; without one, progress and metrics stay here.

    A backend that cannot be reached never fails the action: there is one warning, events are
    kept and sent with the next that gets through, and a last time by `finish()`.
    """

    def __init__(self, backend: Any, job_id: str | int | None = None) -> None:
        super().__init__()
        self.backend = backend
        self.job_id = job_id
        self._pending: list[dict[str, Any]] = []
        self._fields: dict[str, Any] = {}
        self._dropped = 0
        self._warned = False

    def flush(self) -> None:
        """Sends what is pending."""
        with self._lock:
            if self.backend is None:
                self._pending.clear()
                self._fields.clear()
                return
            try:
                if self._pending:
                    self.backend.create_logs(self._pending)
                    self._pending = []
                if self._fields and self.job_id is not None:
                    self.backend.update_job(self.job_id, self._fields)
                self._fields = {}
            except Exception as error:
                self._missed(error)

    def progress_fields(self) -> dict[str, Any]:
        """What the job's `progress_record` becomes: `{"steps": {step: fields}}`."""
        return {"steps": self.get_progress_record()}

    def _emit_log(
        self,
        level: LogLevel,
        event: str,
        data: dict[str, Any],
        file: str | None,
        step: str | None,
    ) -> None:
        from synapse_sdk.plugins.results import plain

        entry: dict[str, Any] = {
            "event": event,
            "level": level.value,
            "data": plain(data, finite=True),
            "job": self.job_id,
            "time": time.time(),
        }
        if step is not None:
            entry["step"] = step
        if file is not None:
            entry["file"] = _encoded(file)
        self._pending.append(entry)
        self._changed()

    def _emit_progress(self, record: ProgressRecord) -> None:
        self._fields["progress_record"] = self.progress_fields()
        self._changed()

    def _emit_metrics(self, step: str, values: dict[str, Any]) -> None:
        from synapse_sdk.plugins.results import plain

        self._fields["metrics_record"] = plain(self.get_metrics_record(), finite=True)
        self._changed()

    def _emit_finish(self) -> None:
        self.flush()

    def _changed(self) -> None:
        self.flush()

    def _missed(self, error: Exception) -> None:
        excess = len(self._pending) - MAX_PENDING
        if excess > 0:
            del self._pending[:excess]
            self._dropped += excess
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the backend takes no logs now ({type(error).__name__}: {error}); "
                "they are kept and sent later",
                RuntimeWarning,
                stacklevel=2,
            )


class JobLogger(BackendLogger):
    """Sends events in batches and reckons the progress of the whole job.

    Args:
        client: as BackendLogger's `backend`.
        job_id: the job that it is about.
        step_proportions: step to its share of the job, in any unit; steps that are not named
            have no part in the job's progress.
        batch_size: events that are sent together at most.
        flush_interval: seconds that an event waits at most.
    """

    def __init__(
        self,
        client: Any,
        job_id: str | int | None,
        step_proportions: Mapping[str, float] | None = None,
        *,
        batch_size: int = 100,
        flush_interval: float = 1.0,
    ) -> None:
        super().__init__(client, job_id)
        self.step_proportions = dict(step_proportions or {})
        self.batch_size = batch_size
        self.flush_interval = flush_interval
        self._timer: threading.Timer | None = None

    def set_step_proportions(self, step_proportions: Mapping[str, float]) -> None:
        """Replaces the shares, such as by `StepRegistry.get_step_proportions()`."""
        with self._lock:
            self.step_proportions = dict(step_proportions)

    def get_total_progress(self) -> float | None:
        """Progress of the job, 0 to 100 with two decimals; None without proportions."""
        with self._lock:
            whole = sum(self.step_proportions.values())
            if whole <= 0:
                return None
            done = sum(
                share * self._progress[step].percent
                for step, share in self.step_proportions.items()
                if step in self._progress
            )
            return round(done / whole, 2)

    def progress_fields(self) -> dict[str, Any]:
        """`{"steps": {step: fields}}`, and `"percent"` of the job when it is known."""
        fields = super().progress_fields()
        percent = self.get_total_progress()
        return fields if percent is None else {"percent": percent, **fields}

    def flush(self) -> None:
        """Sends what is pending, now."""
        with self._lock:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            super().flush()

    def _changed(self) -> None:
        if len(self._pending) >= self.batch_size:
            self.flush()
        elif self._timer is None:
            self._timer = threading.Timer(self.flush_interval, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_timer": None}


def _encoded(file: str) -> str:
    """The content of a local file in base64; anything else is taken to be encoded already."""
    try:
        return base64.b64encode(Path(file).read_bytes()).decode("ascii")
    except (OSError, ValueError):
        return file
