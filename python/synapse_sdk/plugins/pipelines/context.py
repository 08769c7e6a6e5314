"""Owns the folders of one run of a pipeline."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["PipelineContext"]


def _run_id() -> str:
    return uuid.uuid4().hex[:12]


@dataclass
class PipelineContext:
    """The folders that the actions of a pipeline share.

    Attributes:
        pipeline_id: the pipeline; one name, without slashes.
        run_id: this run of it; 12 hex digits by default.
        base_path: where all pipelines have their folders.
        metadata: anything that the actions want to hand on.
        work_dir: `<base_path>/<pipeline_id>/<run_id>`; made at once.
    """

    pipeline_id: str
    run_id: str = field(default_factory=_run_id)
    base_path: str | Path = "/tmp/synapse_pipelines"
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.pipeline_id, self.run_id):
            _check_name(name)
        self.work_dir.mkdir(parents=True, exist_ok=True)

    @property
    def work_dir(self) -> Path:
        """The folder of this run."""
        return Path(self.base_path) / self.pipeline_id / self.run_id

    @property
    def datasets_dir(self) -> Path:
        """Folder for datasets; made when asked for."""
        return self._made("datasets")

    @property
    def models_dir(self) -> Path:
        """Folder for models; made when asked for."""
        return self._made("models")

    @property
    def artifacts_dir(self) -> Path:
        """Folder for other outputs; made when asked for."""
        return self._made("artifacts")

    @property
    def logs_dir(self) -> Path:
        """Folder for logs; made when asked for."""
        return self._made("logs")

    @property
    def checkpoints_dir(self) -> Path:
        """Folder for checkpoints; made when asked for."""
        return self._made("checkpoints")

    def get_action_dir(self, name: str) -> Path:
        """Folder of one action; made when asked for. ValueError for a name with slashes."""
        _check_name(name)
        return self._made("actions", name)

    def cleanup(self) -> None:
        """Removes the folder of this run with all that is in it."""
        shutil.rmtree(self.work_dir, ignore_errors=True)

    def _made(self, *parts: str) -> Path:
        path = self.work_dir.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path


def _check_name(name: str) -> None:
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name for a folder")
