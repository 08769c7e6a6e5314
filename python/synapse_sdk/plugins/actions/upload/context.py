"""Owns what the steps of one upload share, and their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.actions.backend import require_client
from synapse_sdk.plugins.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_sdk.clients.backend import BackendClient


class UploadProgressCategories:
    """Steps of an upload, as `self.progress.X`."""

    INITIALIZE = "initialize"
    PROCESS_METADATA = "process_metadata"
    ANALYZE_COLLECTION = "analyze_collection"
    ORGANIZE_FILES = "organize_files"
    VALIDATE_FILES = "validate_files"
    UPLOAD_FILES = "upload_files"
    GENERATE_DATA_UNITS = "generate_data_units"
    CLEANUP = "cleanup"
    #: Older name of the upload itself.
    UPLOAD_DATA_FILES = "upload_data_files"


@dataclass
class UploadContext(BaseStepContext):
    """State of one upload, handed from step to step.

    Attributes:
        params: The action's params.
        allowed_extensions: Extensions per file type; None allows all.
        storage, data_collection, project: What the backend says of them.
        pathlib_cwd: Folder of the files, with a single path.
        organized_files: One dict per data unit: `files` (specification -> Path), `meta`.
        uploaded_files: One dict per data unit that is uploaded: `files` (specification ->
            what the server says), `meta`.
        lost_files: One dict per file that is not: `file`, `reason`.
        data_units: What the backend made of them.
        excel_metadata: Metadata per file name.
    """

    params: Any = None
    allowed_extensions: dict[str, list[str]] | None = None
    storage: dict[str, Any] | None = None
    data_collection: dict[str, Any] | None = None
    project: dict[str, Any] | None = None
    pathlib_cwd: Path | None = None
    organized_files: list[dict[str, Any]] = field(default_factory=list)
    uploaded_files: list[dict[str, Any]] = field(default_factory=list)
    lost_files: list[dict[str, Any]] = field(default_factory=list)
    data_units: list[Any] = field(default_factory=list)
    excel_metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def client(self) -> BackendClient:
        """The backend's client (NoClientError where there is none)."""
        return require_client(self.runtime_ctx)

    def specifications(self) -> list[dict[str, Any]]:
        """Return the file specifications of the data collection: `name`, `file_type`, ..."""
        return list((self.data_collection or {}).get("file_specifications") or [])
