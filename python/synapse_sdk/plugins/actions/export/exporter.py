"""Owns `BaseExporter`: converting items one by one and saving what came of them.

It is not an action: `DefaultExportAction` drives one, and it runs without a backend as long as
its items name no files to download.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from synapse_sdk import exceptions as client_errors
from synapse_sdk.plugins.actions.backend import require_client
from synapse_sdk.plugins.actions.export.log_messages import ExportLogMessageCode as Code
from synapse_sdk.plugins.errors import ExecutionError, PluginError

if TYPE_CHECKING:
    from synapse_sdk.plugins.context import RuntimeContext


@dataclass
class Counts:
    """Counts of an export, as metrics."""

    stand_by: int = 0
    success: int = 0
    failed: int = 0


MetricsRecord = Counts


class ExportRun:
    """What an exporter says of its progress; `self.run` of an exporter."""

    #: Under its own name too, for `self.run.MetricsRecord(...)`.
    MetricsRecord: ClassVar[type[Counts]] = Counts

    def __init__(self, ctx: RuntimeContext) -> None:
        self.ctx = ctx

    def log_message(self, message: Any, level: Any = "info", **fmt: Any) -> None:
        """Tell the person who started the run."""
        self.ctx.log_message(message, level, **fmt)

    def log_dev_event(self, message: str, data: dict[str, Any] | None = None) -> None:
        """Tell the plugin's author."""
        self.ctx.log_dev_event(message, data)

    def log_export_event(self, code: Any, item: Any = None, **fmt: Any) -> None:
        """Tell of one item: `code` is a message or its code."""
        self.ctx.log_message(code, id=item, **fmt)

    def set_progress(self, current: int, total: int, category: str | None = None) -> None:
        """Say how far the export is."""
        self.ctx.set_progress(current, total, category)

    def log_metrics(self, record: Counts | Mapping[str, Any], category: str) -> None:
        """Record counts."""
        values = asdict(record) if isinstance(record, Counts) else dict(record)
        self.ctx.set_metrics(values, category)


class BaseExporter:
    """Converts and saves items. Override the hooks; `export()` drives them.

    Args:
        ctx: The run.
        export_items: Dicts, as the backend gives them: `id`, `name`, `file`, and what is theirs.
        path_root: Folder to write to; made when needed.
        **params: Of the action: `name`, `save_original_file`, `count`, ...
    """

    #: Folder of what `convert_data` returned.
    label_output_dirname: ClassVar[str] = "labels"
    #: Folder of the original files.
    original_output_dirname: ClassVar[str] = "origin_files"
    #: Original files are downloaded here; False leaves them to the plugin.
    sdk_managed_original_files: ClassVar[bool] = True

    def __init__(
        self,
        ctx: RuntimeContext,
        export_items: Iterable[dict[str, Any]],
        path_root: str | Path,
        **params: Any,
    ) -> None:
        self.ctx = ctx
        self.run = ExportRun(ctx)
        self.export_items = export_items
        self.path_root = Path(path_root)
        self.params = params
        self.errors: list[dict[str, Any]] = []

    # Hooks.

    def before_convert(self, data: dict[str, Any]) -> dict[str, Any]:
        """Change an item before it is converted."""
        return data

    def convert_data(self, data: dict[str, Any]) -> Any:
        """Return what is saved of an item; by default the item."""
        return data

    def after_convert(self, data: Any) -> Any:
        """Change what was converted, before it is saved."""
        return data

    def setup_output_directories(self, path: Path, save_original: bool) -> dict[str, Path]:
        """Make the folders; returns them as `label` and `original`."""
        folders = {"label": path / self.label_output_dirname}
        if save_original:
            folders["original"] = path / self.original_output_dirname
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        return folders

    def get_original_file_name(self, files: Any) -> str:
        """Return the name of an item's original file.

        Raises:
            ExecutionError: The item names none.
        """
        for key in ("file_name_original", "file_name", "name"):
            if isinstance(files, Mapping) and files.get(key):
                return str(files[key])
        if isinstance(files, Mapping) and files.get("id") is not None:
            return str(files["id"])
        raise ExecutionError("the item names no file")

    def save_original_file(self, result: dict[str, Any], folder: Path) -> Path:
        """Download an item's original file into `folder`; returns where it lies.

        Raises:
            ExecutionError: The item has none, or its name leads out of the folder.
            NoClientError: The run has no backend.
        """
        url = result.get("file")
        if not url:
            raise ExecutionError("the item has no original file")
        target = _inside(folder, self.get_original_file_name(result))
        checksum = result.get("checksum")
        return require_client(self.ctx).download(
            str(url), target, checksum if isinstance(checksum, str) else None
        )

    def save_as_json(self, result: dict[str, Any], data: Any, folder: Path) -> Path:
        """Write what was converted of an item as JSON into `folder`; returns the file.

        Raises:
            ExecutionError: Another item has that name, or it leads out of the folder.
        """
        name = self.get_original_file_name(result)
        target = _inside(folder, f"{name}.json")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise ExecutionError(f"two items are called {name}")
        target.write_text(json.dumps(data, ensure_ascii=False, indent=2), "utf-8")
        return target

    def process_file_saving(
        self, result: dict[str, Any], data: Any, folders: dict[str, Path]
    ) -> None:
        """Save one item: what was converted, and its original file where that is wanted."""
        self.save_as_json(result, data, folders["label"])
        if "original" in folders and self.sdk_managed_original_files:
            self.save_original_file(result, folders["original"])

    def additional_file_saving(self, path: Path) -> None:
        """Save what belongs to the export as a whole."""

    # The drive.

    def convert(self, item: dict[str, Any]) -> Any:
        """Return one item converted, through the three hooks."""
        return self.after_convert(self.convert_data(self.before_convert(dict(item))))

    def failed(self, item: dict[str, Any], error: Exception) -> None:
        """Keep count of an item that failed, and say so."""
        name = item.get("id", item.get("name"))
        self.errors.append({"id": name, "error": str(error)})
        self.run.log_export_event(Code.EXPORT_ITEM_FAILED, name, reason=str(error))

    def finish(self) -> None:
        """Save what is common, and the list of what failed."""
        self.additional_file_saving(self.path_root)
        if self.errors:
            path = self.path_root / "error_file_list.json"
            path.write_text(json.dumps(self.errors, ensure_ascii=False, indent=2), "utf-8")

    def export(self) -> dict[str, Any]:
        """Convert and save every item; returns `export_path`, `exported_count`, `failed_count`.

        An item that fails is counted and listed in `error_file_list.json`.

        Raises:
            ExecutionError: Every item failed.
        """
        folders = self.setup_output_directories(
            self.path_root, bool(self.params.get("save_original_file", True))
        )
        total = self.params.get("count")
        done = 0
        number = 0
        for number, item in enumerate(self.export_items, 1):
            try:
                self.process_file_saving(item, self.convert(item), folders)
                done += 1
            except ITEM_ERRORS as error:
                self.failed(item, error)
            if isinstance(total, int) and total >= number:
                self.run.set_progress(number, total, "convert_data")
        self.finish()
        if number and not done:
            raise ExecutionError("no item could be exported", {"errors": self.errors[:20]})
        return {
            "export_path": str(self.path_root),
            "exported_count": done,
            "failed_count": len(self.errors),
        }


#: What is the failure of one item, not of the export.
ITEM_ERRORS = (
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    PluginError,
    client_errors.NotFoundError,
    client_errors.ValidationError,
)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of `name` in `folder`.

    Raises:
        ExecutionError: It would lie outside.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in name:
        raise ExecutionError(f"not a name for a file: {name!r}")
    return folder.joinpath(*pure.parts)
