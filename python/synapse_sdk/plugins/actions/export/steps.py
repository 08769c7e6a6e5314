"""Owns the steps of the default export."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from synapse_sdk.plugins.actions.backend import param
from synapse_sdk.plugins.actions.export.context import ExportContext
from synapse_sdk.plugins.actions.export.context import ExportProgressCategories as Progress
from synapse_sdk.plugins.actions.export.exporter import ITEM_ERRORS
from synapse_sdk.plugins.actions.export.log_messages import ExportLogMessageCode as Code
from synapse_sdk.plugins.errors import ExecutionError
from synapse_sdk.plugins.steps import BaseStep, StepResult

if TYPE_CHECKING:
    from synapse_sdk.plugins.actions.export.action import DefaultExportAction


class InitializeStep(BaseStep[ExportContext]):
    """Finds the folder to write to."""

    name = Progress.INITIALIZE
    progress_weight = 0.02
    progress_proportion = 2

    def execute(self, context: ExportContext) -> StepResult:
        """Resolve storage and path; the export's folder must be new or empty."""
        storage_id = param(context.params, "storage")
        root = Path()
        if storage_id is not None:
            context.storage = dict(context.client.get_storage(storage_id))
            root = storage_folder(context.storage)
        folder = root / (param(context.params, "path") or "") / param(context.params, "name")
        if folder.exists() and any(folder.iterdir()):
            return StepResult(success=False, error=f"{folder} holds another export")
        context.output_path = folder
        return StepResult(data={"output_path": str(folder)}, rollback_data={"path": str(folder)})

    def rollback(self, context: ExportContext, result: StepResult) -> None:
        """Take away what a failed export has written, so that it can be started again."""
        path = result.rollback_data.get("path")
        if path:
            shutil.rmtree(path, ignore_errors=True)


class FetchResultsStep(BaseStep[ExportContext]):
    """Asks the backend for what is to be exported."""

    name = Progress.FETCH_RESULTS
    progress_weight = 0.05
    progress_proportion = 5

    def __init__(self, action: DefaultExportAction) -> None:
        self.action = action

    def execute(self, context: ExportContext) -> StepResult:
        """Get the results that the filter names."""
        found = self.action.get_filtered_results(dict(param(context.params, "filter") or {}))
        context.results, context.total_count = found
        context.log_message(Code.EXPORT_FOUND, count=context.total_count)
        return StepResult(data={"count": context.total_count})


class PrepareExportStep(BaseStep[ExportContext]):
    """Makes the exporter."""

    name = Progress.PREPARE_EXPORT
    progress_weight = 0.03
    progress_proportion = 3

    def __init__(self, action: DefaultExportAction) -> None:
        self.action = action

    def execute(self, context: ExportContext) -> StepResult:
        """Make the exporter of the action's class."""
        if context.output_path is None:
            return StepResult(success=False, error="the export has no folder")
        params = dict(context.params)
        params["count"] = context.total_count
        context.exporter = self.action.exporter_class(
            context.runtime_ctx, context.results, context.output_path, **params
        )
        return StepResult()


class ConvertDataStep(BaseStep[ExportContext]):
    """Converts every item."""

    name = Progress.CONVERT_DATA
    progress_weight = 0.32
    progress_proportion = 32

    def execute(self, context: ExportContext) -> StepResult:
        """Convert the items; one that fails is counted."""
        exporter = context.exporter
        if exporter is None:
            return StepResult(success=False, error="there is no exporter")
        for number, item in enumerate(exporter.export_items, 1):
            try:
                context.converted.append((item, exporter.convert(item)))
            except ITEM_ERRORS as error:
                exporter.failed(item, error)
            context.set_progress(min(number, context.total_count), max(context.total_count, 1))
        return StepResult(data={"converted": len(context.converted)})


class SaveFilesStep(BaseStep[ExportContext]):
    """Writes what was converted, and the original files."""

    name = Progress.SAVE_FILES
    progress_weight = 0.38
    progress_proportion = 38

    def execute(self, context: ExportContext) -> StepResult:
        """Save the items; one that fails is counted."""
        exporter = context.exporter
        if exporter is None:
            return StepResult(success=False, error="there is no exporter")
        folders = exporter.setup_output_directories(
            exporter.path_root, bool(param(context.params, "save_original_file", True))
        )
        for number, (item, data) in enumerate(context.converted, 1):
            try:
                exporter.process_file_saving(item, data, folders)
                context.exported_count += 1
            except ITEM_ERRORS as error:
                exporter.failed(item, error)
            context.set_progress(number, len(context.converted))
        context.failed_count = len(exporter.errors)
        return StepResult(data={"saved": context.exported_count})


class FinalizeStep(BaseStep[ExportContext]):
    """Writes what belongs to the export as a whole, and says how it went."""

    name = Progress.FINALIZE
    progress_weight = 0.10
    progress_proportion = 10

    def execute(self, context: ExportContext) -> StepResult:
        """Finish; an export of which nothing was saved has failed."""
        exporter = context.exporter
        if exporter is None:
            return StepResult(success=False, error="there is no exporter")
        exporter.finish()
        if context.failed_count and not context.exported_count:
            first = exporter.errors[0]["error"]
            return StepResult(success=False, error=f"no item could be exported: {first}")
        code = Code.EXPORT_PARTIAL if context.failed_count else Code.EXPORT_COMPLETE
        values: dict[str, Any] = {"count": context.exported_count, "path": exporter.path_root}
        if context.failed_count:
            values["failed"] = context.failed_count
        context.log_message(code, **values)
        return StepResult(data={"output_path": str(exporter.path_root)})


def storage_folder(storage: dict[str, Any]) -> Path:
    """Return the folder of a storage that is one on this machine.

    Raises:
        ExecutionError: It is another kind, which this release does not write to.
    """
    url = str(storage.get("url") or storage.get("base_path") or storage.get("path") or "")
    path = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else Path(url)
    if url and path.is_absolute() and path.is_dir():
        return path
    raise ExecutionError(
        f"the storage {storage.get('id')} is no folder of this machine; local runs write to "
        "folders only: leave `storage` out and name a `path`"
    )
