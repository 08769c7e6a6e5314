"""Owns the steps of the default upload."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from synapse_sdk import exceptions as errors
from synapse_sdk.plugins.actions.backend import param
from synapse_sdk.plugins.actions.missing import backend_call
from synapse_sdk.plugins.actions.upload.context import UploadContext
from synapse_sdk.plugins.actions.upload.context import UploadProgressCategories as Progress
from synapse_sdk.plugins.actions.upload.log_messages import UploadLogMessageCode as Code
from synapse_sdk.plugins.errors import ExecutionError
from synapse_sdk.plugins.steps import BaseStep, StepResult

MB = 1024 * 1024
NO_UNITS = "unregister the step generate_data_units, or replace it"


class InitializeStep(BaseStep[UploadContext]):
    """Finds storage, project and the folder of the files."""

    name = Progress.INITIALIZE
    progress_weight = 0.05
    progress_proportion = 1

    def execute(self, context: UploadContext) -> StepResult:
        """Ask the backend for what the params name."""
        params = context.params
        context.storage = dict(context.client.get_storage(param(params, "storage")))
        if param(params, "project") is not None:
            call = backend_call(context.client, "get_project", "leave `project` out")
            context.project = dict(call(param(params, "project")))
        if param(params, "use_single_path", True):
            folder = Path(param(params, "path"))
            if not folder.is_dir():
                return StepResult(success=False, error=f"there is no folder {folder}")
            context.pathlib_cwd = folder
        return StepResult()


class ProcessMetadataStep(BaseStep[UploadContext]):
    """Reads the spreadsheet of metadata: one row per file, its name in the first column."""

    name = Progress.PROCESS_METADATA
    progress_weight = 0.10
    progress_proportion = 2

    def can_skip(self, context: UploadContext) -> bool:
        """Skip without a spreadsheet."""
        return not param(context.params, "excel_metadata_path")

    def execute(self, context: UploadContext) -> StepResult:
        """Read the sheet's first table."""
        path = Path(param(context.params, "excel_metadata_path"))
        if not path.is_absolute() and context.pathlib_cwd is not None:
            path = context.pathlib_cwd / path
        try:
            openpyxl: Any = import_module("openpyxl")
        except ImportError as error:
            raise ExecutionError("reading a spreadsheet needs openpyxl: pip install it") from error
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            rows = list(book.active.iter_rows(values_only=True))
        finally:
            book.close()
        heads = [str(cell or "") for cell in rows[0]] if rows else []
        for row in rows[1:]:
            if row and row[0]:
                values = zip(heads[1:], row[1:], strict=False)
                context.excel_metadata[str(row[0])] = {
                    head: value for head, value in values if head and value is not None
                }
        return StepResult(data={"rows": len(context.excel_metadata)})


class AnalyzeCollectionStep(BaseStep[UploadContext]):
    """Asks the backend for the data collection: which files make one data unit."""

    name = Progress.ANALYZE_COLLECTION
    progress_weight = 0.05
    progress_proportion = 1

    def execute(self, context: UploadContext) -> StepResult:
        """Get the collection."""
        call = backend_call(
            context.client,
            "get_data_collection",
            "replace the step analyze_collection by one that sets context.data_collection",
        )
        context.data_collection = dict(call(param(context.params, "data_collection")))
        if not context.specifications():
            return StepResult(success=False, error="the data collection specifies no files")
        return StepResult(data={"specifications": len(context.specifications())})


class OrganizeFilesStep(BaseStep[UploadContext]):
    """Groups the files into data units: files of the same name, one per specification.

    With a single path, files of a specification lie in its folder of that name; where there is
    only one specification, they may lie in the path itself.
    """

    name = Progress.ORGANIZE_FILES
    progress_weight = 0.15
    progress_proportion = 2

    def execute(self, context: UploadContext) -> StepResult:
        """Find the files and group them."""
        units: dict[str, dict[str, Path]] = {}
        specifications = context.specifications()
        for specification in specifications:
            name = str(specification["name"])
            found = self._folder(context, specification, len(specifications) == 1)
            if found is None:
                continue
            folder, recursive = found
            for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
                if path.is_file() and not path.name.startswith("."):
                    stem = path.relative_to(folder).with_suffix("").as_posix()
                    if units.setdefault(stem, {}).setdefault(name, path) != path:
                        lose(context, path, f"another file of {name} has its name")
        for stem, files in sorted(units.items()):
            rows = (context.excel_metadata.get(path.name) for path in files.values())
            meta = next((row for row in rows if row), context.excel_metadata.get(stem, {}))
            context.organized_files.append({"name": stem, "files": files, "meta": dict(meta)})
        if not context.organized_files:
            return StepResult(success=False, error="there are no files to upload")
        context.log_message(Code.UPLOAD_FOUND, count=len(context.organized_files))
        return StepResult(data={"units": len(context.organized_files)})

    def _folder(
        self, context: UploadContext, specification: dict[str, Any], only: bool
    ) -> tuple[Path, bool] | None:
        """Return where a specification's files are, and whether its folders count too.

        None for files that nobody need give, and that have no folder.
        """
        name = str(specification["name"])
        if context.pathlib_cwd is not None:
            folder = context.pathlib_cwd / name
            recursive = bool(param(context.params, "is_recursive", True))
            if only and not folder.is_dir():
                folder = context.pathlib_cwd
        else:
            asset = (param(context.params, "assets") or {}).get(name)
            if asset is None:
                if not specification.get("is_required", True):
                    return None
                raise ExecutionError(f"assets name no folder for the files of {name}")
            folder, recursive = Path(param(asset, "path")), bool(param(asset, "is_recursive", True))
        if folder.is_dir():
            return folder, recursive
        if context.pathlib_cwd is not None and not specification.get("is_required", True):
            return None
        raise ExecutionError(f"there is no folder {folder} for the files of {name}")


class ValidateFilesStep(BaseStep[UploadContext]):
    """Takes out what may not be uploaded: wrong extensions, files too large, units not whole."""

    name = Progress.VALIDATE_FILES
    progress_weight = 0.10
    progress_proportion = 1

    def execute(self, context: UploadContext) -> StepResult:
        """Check every file; at least one data unit must be left."""
        limit = int(param(context.params, "max_file_size_mb", 50))
        kept = []
        for unit in context.organized_files:
            reason = self._reason(context, unit["files"], limit)
            if reason is None:
                kept.append(unit)
            else:
                for path in unit["files"].values():
                    lose(context, path, reason)
        context.organized_files = kept
        if not kept:
            return StepResult(success=False, error="no file may be uploaded")
        return StepResult(data={"units": len(kept)})

    def _reason(self, context: UploadContext, files: dict[str, Path], limit: int) -> str | None:
        for specification in context.specifications():
            name = str(specification["name"])
            path = files.get(name)
            if path is None:
                if specification.get("is_required", True):
                    return f"there is no file of {name} to it"
                continue
            allowed = (context.allowed_extensions or {}).get(str(specification.get("file_type")))
            if allowed is not None and path.suffix.lower() not in {e.lower() for e in allowed}:
                return f"{path.suffix or 'no extension'} is none of {', '.join(allowed)}"
            if path.stat().st_size > limit * MB:
                return f"it is larger than {limit} MB"
        return None


class UploadFilesStep(BaseStep[UploadContext]):
    """Uploads the files in chunks."""

    name = Progress.UPLOAD_FILES
    progress_weight = 0.30
    progress_proportion = 34
    #: Data units are made of the files afterwards; the action says so.
    data_units_follow = True

    def execute(self, context: UploadContext) -> StepResult:
        """Upload; a unit one of whose files the server refuses is lost, and counted."""
        if self.data_units_follow:
            # Known before bytes are sent for nothing.
            backend_call(context.client, "create_data_units", NO_UNITS)
        total = len(context.organized_files)
        for number, unit in enumerate(context.organized_files, 1):
            sent: dict[str, Any] = {}
            for name, path in unit["files"].items():
                try:
                    sent[name] = context.client.create_chunked_upload(path)
                except (OSError, errors.ValidationError) as error:
                    lose(context, path, str(error))
                    break
            else:
                context.uploaded_files.append(
                    {"name": unit["name"], "files": sent, "meta": unit["meta"]}
                )
            context.set_progress(number, total)
        if not context.uploaded_files:
            return StepResult(success=False, error="no file could be uploaded")
        return StepResult(data={"units": len(context.uploaded_files)})


class GenerateDataUnitsStep(BaseStep[UploadContext]):
    """Has the backend make data units of the uploaded files, in batches."""

    name = Progress.GENERATE_DATA_UNITS
    progress_weight = 0.20
    progress_proportion = 58

    def execute(self, context: UploadContext) -> StepResult:
        """Make the data units."""
        call = backend_call(context.client, "create_data_units", NO_UNITS)
        size = int(param(context.params, "creating_data_unit_batch_size", 200))
        collection = param(context.params, "data_collection")
        rows = [
            {
                "data_collection": collection,
                "files": {name: sent.get("id") for name, sent in unit["files"].items()},
                "meta": unit["meta"],
                "group": param(context.params, "group_name"),
            }
            for unit in context.uploaded_files
        ]
        for start in range(0, len(rows), size):
            made = call(rows[start : start + size])
            context.data_units += made if isinstance(made, list) else [made]
            context.set_progress(min(start + size, len(rows)), len(rows))
        return StepResult(data={"units": len(context.data_units)})


class CleanupStep(BaseStep[UploadContext]):
    """Says how the upload went."""

    name = Progress.CLEANUP
    progress_weight = 0.05
    progress_proportion = 1

    def execute(self, context: UploadContext) -> StepResult:
        """Report the counts."""
        files = sum(len(unit["files"]) for unit in context.uploaded_files)
        context.log_message(Code.UPLOAD_COMPLETE, files=files, units=len(context.data_units))
        return StepResult()


def lose(context: UploadContext, path: Path, reason: str) -> None:
    """Count a file as not uploaded, and say why."""
    context.lost_files.append({"file": str(path), "reason": reason})
    context.log_message(Code.UPLOAD_FILE_LOST, file=path.name, reason=reason)
