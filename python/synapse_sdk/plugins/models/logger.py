"""Owns the levels of log events."""

from __future__ import annotations

from synapse_sdk._compat import StrEnum

__all__ = ["LogLevel"]


class LogLevel(StrEnum):
    """How a log event is shown. `LogLevel("INFO")` and `LogLevel("info")` are the same.

    Raises:
        ValueError: for a level that there is not; the text names those that there are.
    """

    DEBUG = "debug"
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    DANGER = "danger"
    ERROR = "error"
    CRITICAL = "critical"

    @classmethod
    def _missing_(cls, value: object) -> LogLevel:
        if isinstance(value, str):
            folded = value.strip().lower()
            for level in cls:
                if level.value == folded:
                    return level
        known = ", ".join(level.value for level in cls)
        raise ValueError(f"unknown log level {value!r}: the levels are {known}")
