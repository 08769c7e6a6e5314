"""Owns the errors that plugins, executors and the toolchain raise."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ActionNotFoundError",
    "ArchiveError",
    "BuildError",
    "ChecksumMismatchError",
    "ExecutionError",
    "GitHubArchiveError",
    "ModelLoadError",
    "PluginError",
    "PluginRunError",
    "PluginUploadError",
    "ValidationError",
]


class PluginError(Exception):
    """Base of all plugin errors.

    Attributes:
        message: what happened, one sentence.
        details: anything that helps, JSON-ready where it can be; None when there is nothing.
    """

    def __init__(self, message: str = "", details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, details={self.details!r})"


class ValidationError(PluginError):
    """Parameter validation failed. `details` has pydantic's list of errors where it has any."""


class ActionNotFoundError(PluginError):
    """Action not found in plugin. `details` is `{"available": [names]}`."""


class ExecutionError(PluginError):
    """Action execution failed. `__cause__` is what the action raised."""


class ModelLoadError(PluginError):
    """A model could not be fetched or loaded."""


class PluginUploadError(PluginError):
    """Plugin upload failed."""


class ArchiveError(PluginError):
    """Archive creation failed."""


class BuildError(PluginError):
    """Wheel build failed."""


class ChecksumMismatchError(PluginError):
    """Checksum verification failed."""


class PluginRunError(PluginError):
    """Plugin run failed."""


class GitHubArchiveError(PluginError):
    """Archiving the source on GitHub failed."""
