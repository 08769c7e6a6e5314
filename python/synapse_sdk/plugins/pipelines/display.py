"""Owns the showing of a pipeline's progress as text."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Iterable
from typing import TextIO

from synapse_sdk.plugins.pipelines.progress import ActionProgress, ActionStatus, PipelineProgress

__all__ = ["display_progress", "display_progress_async", "print_progress_summary"]

_MARKS = {
    ActionStatus.PENDING: " ",
    ActionStatus.RUNNING: ">",
    ActionStatus.COMPLETED: "+",
    ActionStatus.FAILED: "x",
    ActionStatus.CANCELLED: "-",
    ActionStatus.SKIPPED: "~",
}


def display_progress(
    updates: Iterable[PipelineProgress], *, file: TextIO | None = None
) -> PipelineProgress | None:
    """Prints a line for each change, until the updates end or the run does.

    Args:
        updates: such as `executor.stream_progress(run_id)`.
        file: stdout by default.

    Returns:
        The last update; None when there was none.
    """
    screen = _Screen(file)
    for update in updates:
        if screen.show(update):
            break
    return screen.last


async def display_progress_async(
    updates: AsyncIterable[PipelineProgress], *, file: TextIO | None = None
) -> PipelineProgress | None:
    """As `display_progress`, for an asynchronous stream."""
    screen = _Screen(file)
    async for update in updates:
        if screen.show(update):
            break
    return screen.last


def print_progress_summary(progress: PipelineProgress, *, file: TextIO | None = None) -> None:
    """Prints the run and one line per action."""
    out = sys.stdout if file is None else file
    count = f"{progress.completed_count}/{len(progress.actions)} actions"
    print(
        f"Pipeline {progress.run_id}: {progress.status} ({count}, {progress.overall_progress}%)",
        file=out,
    )
    for action in progress.actions:
        print(f"  {_line(action)}", file=out)
    if progress.error:
        print(f"  error: {progress.error}", file=out)


class _Screen:
    """Remembers what was shown last, so that only changes are printed."""

    def __init__(self, file: TextIO | None) -> None:
        self.file = file
        self.last: PipelineProgress | None = None
        self._lines: dict[str, str] = {}

    def show(self, update: PipelineProgress) -> bool:
        """Prints what has changed. True when the run is at its end."""
        out = sys.stdout if self.file is None else self.file
        for action in update.actions:
            line = _line(action)
            if action.status is not ActionStatus.PENDING and self._lines.get(action.name) != line:
                self._lines[action.name] = line
                print(line, file=out, flush=True)
        self.last = update
        if update.status.is_final:
            print_progress_summary(update, file=out)
            return True
        return False


def _line(action: ActionProgress) -> str:
    text = f"[{_MARKS[action.status]}] {action.name}: {action.status}"
    if action.status is ActionStatus.RUNNING:
        text = f"{text} {action.progress:.0f}%"
    note = action.error or action.message
    return f"{text} ({note})" if note else text
