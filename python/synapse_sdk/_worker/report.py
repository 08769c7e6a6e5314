"""Owns the `error` message: which kind an exception is, and what is told of it."""

from __future__ import annotations

from typing import Any

# Of the guide's classes; the nearest in an exception's line of classes decides.
_KINDS = {
    "ValidationError": "validation",
    "ActionNotFoundError": "action-not-found",
    "ExecutionError": "execution",
    "PluginUploadError": "plugin-upload",
    "ArchiveError": "archive",
    "BuildError": "build",
    "ChecksumMismatchError": "checksum-mismatch",
    "EntrypointError": "entrypoint",
    "PluginRunError": "plugin-run",
    "ModelLoadError": "model-load",
    "GitHubArchiveError": "github-archive",
    "PluginError": "plugin-error",
}


def failure(
    kind: str,
    error: BaseException,
    *,
    message: str | None = None,
    details: Any = None,
    traceback: str | None = None,
    errors: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the fields of an `error` message. All must be plain JSON data."""
    return {
        "kind": kind,
        "class": type(error).__name__,
        "message": str(error) if message is None else message,
        "details": details,
        "traceback": traceback,
        "errors": errors,
    }


def of_import(error: BaseException, module: str, folder: str) -> dict[str, Any]:
    """Tell of a plugin that cannot be imported; the traceback keeps the plugin's frames only."""
    from synapse_sdk.plugins.executors.invocation import reason
    from synapse_sdk.plugins.executors.trace import trace

    text = trace(error, only=folder)
    if isinstance(error, ModuleNotFoundError):
        return failure(
            "module-not-found", error, details={"module": error.name or module}, traceback=text
        )
    if isinstance(error, MemoryError):
        return of_memory(error)
    return failure(
        "import", error, message=reason(error), details={"module": module}, traceback=text
    )


def of_memory(error: BaseException) -> dict[str, Any]:
    """Tell of memory that ran out."""
    from synapse_sdk.plugins.executors.trace import trace

    message = str(error) or "out of memory"
    return failure("memory", error, message=message, traceback=trace(error))


def of_plugin(error: Any) -> dict[str, Any]:
    """Tell of a PluginError, an ExecutionError made of another exception among them."""
    from synapse_sdk.plugins.executors.trace import trace
    from synapse_sdk.plugins.results import plain

    cause = error.__cause__
    if isinstance(cause, MemoryError):
        return of_memory(cause)
    kind = next(
        (
            _KINDS[step.__name__]
            for step in type(error).__mro__
            if step.__module__.startswith("synapse_sdk.plugins.") and step.__name__ in _KINDS
        ),
        "plugin-error",
    )
    details = plain(error.details, finite=True)
    message = plain(error.message, finite=True)
    made_here = isinstance(details, dict) and isinstance(details.get("traceback"), str)
    if made_here and kind == "execution":
        text = details.pop("traceback")
        return failure(kind, error, message=message, details=details, traceback=text)
    errors = None
    if kind == "validation":
        errors = field_errors(details)
        # Each field is named already; frames say nothing about params.
        text = None if errors else trace(error)
    elif kind == "entrypoint":
        text = None
    else:
        text = trace(error)
    return failure(kind, error, message=message, details=details, traceback=text, errors=errors)


def field_errors(details: Any) -> list[dict[str, Any]] | None:
    """Return a ValidationError's details as messages have them; None where they are others."""
    if not isinstance(details, list) or not all(
        isinstance(item, dict) and "loc" in item and "msg" in item for item in details
    ):
        return None
    return [
        {
            "loc": [str(part) if not isinstance(part, int) else part for part in item["loc"]],
            "message": item["msg"],
            "type": item.get("type"),
            "input": item.get("input"),
        }
        for item in details
    ]
