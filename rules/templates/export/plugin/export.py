"""The export of a dataset."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseExportAction
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.schemas import ExportResult

from .writers import WRITERS


class ExportParams(BaseModel):
    """What to export, where to, and how."""

    dataset: int = Field(..., description="Dataset ID to export")
    path: Path = Field(..., description="Folder to write into")
    format: Literal["csv", "jsonl"] = Field(default="csv", description="csv or jsonl")
    splits: list[str] = Field(default_factory=list, description="Splits to keep; empty for all")


class ExportAction(BaseExportAction[ExportParams]):
    """Write the list of a dataset's files."""

    category = PluginCategory.EXPORT
    result_model = ExportResult

    def get_filtered_results(self, filters: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """Return the dataset's items in the wanted splits, and how many they are."""
        items = self.client.iter_ground_truths(filters["dataset"])
        wanted = filters["splits"]
        kept = [item for item in items if not wanted or item.get("split") in wanted]
        return kept, len(kept)

    def execute(self) -> ExportResult:
        """Ask the backend, then write."""
        filters = {"dataset": self.params.dataset, "splits": self.params.splits}
        items, count = self.get_filtered_results(filters)
        if count == 0:
            self.ctx.log_message("The dataset has no such files", "warning")
        self.params.path.mkdir(parents=True, exist_ok=True)
        target = self.params.path / f"files.{self.params.format}"
        written = WRITERS[self.params.format](target, self._counted(items, count))
        return ExportResult(
            output_path=str(target),
            exported_count=written,
            format=self.params.format,
            file_size_bytes=target.stat().st_size,
        )

    def _counted(self, items: list[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
        """Yield the items, telling how far it is."""
        for number, item in enumerate(items, 1):
            yield item
            self.set_progress(number, total, "export")
