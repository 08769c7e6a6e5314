"""Owns what the steps of one export share, and their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.actions.backend import require_client
from synapse_sdk.plugins.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_sdk.clients.backend import BackendClient
    from synapse_sdk.plugins.actions.export.exporter import BaseExporter


class ExportProgressCategories:
    """Steps of an export, as `self.progress.X`."""

    INITIALIZE = "initialize"
    FETCH_RESULTS = "fetch_results"
    PREPARE_EXPORT = "prepare_export"
    CONVERT_DATA = "convert_data"
    SAVE_FILES = "save_files"
    FINALIZE = "finalize"
    #: Older name of the conversion.
    DATASET_CONVERSION = "dataset_conversion"


@dataclass
class ExportContext(BaseStepContext):
    """State of one export, handed from step to step.

    Attributes:
        params: The action's params.
        results: What is to be exported; consumed once.
        total_count: How many there are.
        storage: What the backend says of the storage.
        output_path: Folder that the export is written to.
        exporter: Converts and saves the items.
        exported_count: Items saved.
        failed_count: Items that failed.
    """

    params: Any = None
    results: Any = None
    total_count: int = 0
    storage: dict[str, Any] | None = None
    output_path: Path | None = None
    exporter: BaseExporter | None = None
    converted: list[tuple[dict[str, Any], Any]] = field(default_factory=list)
    exported_count: int = 0
    failed_count: int = 0

    @property
    def client(self) -> BackendClient:
        """The backend's client (NoClientError where there is none)."""
        return require_client(self.runtime_ctx)
