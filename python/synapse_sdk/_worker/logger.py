"""Owns the logger of a worker: everything an action logs becomes a message to the command."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from synapse_sdk._worker.channel import Channel, TooLargeError
from synapse_sdk.loggers import BaseLogger
from synapse_sdk.plugins.results import plain

# Seconds between two progress messages of one step, once a burst is used up.
_PACE = 0.05
_BURST = 5


class Pace:
    """How often one step's progress is sent: a burst, then at most 20 times a second."""

    def __init__(self, now: float) -> None:
        self.credit = float(_BURST)
        self.last = now
        self.held: dict[str, Any] | None = None

    def allows(self, now: float) -> bool:
        """Say whether a message may go at `now`, in seconds, and count it if so."""
        self.credit = min(_BURST, self.credit + (now - self.last) / _PACE)
        self.last = now
        if self.credit < 1:
            return False
        self.credit -= 1
        return True


class WorkerLogger(BaseLogger):
    """Sends logs, metrics and progress over the channel, in the order in which they come.

    Progress may be coalesced; a step's first, last and failed ones always go out.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._paces: dict[str | None, Pace] = {}

    def _emit_log(
        self,
        level: Any,
        event: str,
        data: Mapping[str, Any],
        file: str | None,
        step: str | None,
    ) -> None:
        values = plain(data, finite=True)
        if event == "metric":
            self._send("metric", **_metric(values))
        elif event == "visualization":
            self._send("visualization", **values)
        else:
            self._send(
                "log",
                level=str(plain(level)),
                event=event,
                data=values,
                step=step,
                file=plain(file),
            )

    def _emit_metrics(self, step: str | None, values: Mapping[str, Any]) -> None:
        self._send("metrics", step=step, values=plain(values, finite=True))

    def _emit_progress(self, record: Any) -> None:
        message = _progress(record)
        step = message["step"]
        now = time.monotonic()
        pace = self._paces.get(step)
        first = pace is None
        if pace is None:
            pace = self._paces[step] = Pace(now)
        allowed = pace.allows(now)
        last = message["failed"] or message["current"] == message["total"]
        if not (first or last or allowed):
            pace.held = message
            return
        pace.held = None
        self._channel.send("progress", time=time.time(), **message)

    def finish(self) -> None:
        """Send what is held back; no more can be logged."""
        self.flush()
        super().finish()

    def flush(self) -> None:
        """Send the progress that is held back."""
        with self._lock:
            self._release()

    def _release(self, now: float | None = None) -> None:
        for pace in self._paces.values():
            if pace.held is not None and (now is None or pace.allows(now)):
                held, pace.held = pace.held, None
                self._channel.send("progress", time=time.time(), **held)

    def _send(self, kind: str, /, **fields: Any) -> None:
        # What was reached before this was said is shown before it, if its pace allows.
        self._release(time.monotonic())
        try:
            self._channel.send(kind, time=time.time(), **fields)
        except TooLargeError as error:
            self._channel.send(
                "log",
                time=time.time(),
                level="warning",
                event="message",
                data={"content": f"A {kind} entry was left out: {error}"},
                step=fields.get("step"),
                file=None,
            )


def _metric(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "category": values.pop("category", None),
        "key": values.pop("key", None),
        "value": values.pop("value", None),
        "metrics": values.pop("metrics", values),
    }


def _progress(record: Any) -> dict[str, Any]:
    values = plain(record, finite=True)
    return {
        "step": values.get("step"),
        "current": values.get("current"),
        "total": values.get("total"),
        "percent": values.get("percent"),
        "elapsed": values.get("elapsed"),
        "eta": values.get("eta"),
        "failed": bool(values.get("failed")),
    }
