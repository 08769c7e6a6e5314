"""Owns the logger that keeps progress and metrics and shows nothing."""

from __future__ import annotations

from synapse_sdk.loggers.base import BaseLogger

__all__ = ["NoOpLogger"]


class NoOpLogger(BaseLogger):
    """Checks what it is given as every logger does, keeps progress and metrics, shows nothing."""
