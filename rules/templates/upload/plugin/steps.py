"""The steps of an upload. Their weights add up to 1, their proportions to 100."""

from pathlib import Path
from typing import Any

from synapse_sdk.exceptions import ClientError
from synapse_sdk.plugins import BaseStep, StepResult, UploadContext

MB = 1024 * 1024


def lose(context: UploadContext, path: Path, reason: str) -> None:
    """Count a file as lost, and say why."""
    context.lost_files.append({"file": str(path), "reason": reason})
    context.log_message(f"{path.name} is not uploaded: {reason}", "warning")


class FindStep(BaseStep[UploadContext]):
    """Finds the files, in the order of their names."""

    name = "find"
    progress_weight = 0.1
    progress_proportion = 10

    def execute(self, context: UploadContext) -> StepResult:
        """Look for files with the wanted extensions."""
        params = context.params
        if not params.path.is_dir():
            return StepResult(success=False, error=f"there is no folder {params.path}")
        found = params.path.rglob("*") if params.is_recursive else params.path.glob("*")
        for path in sorted(found):
            wanted = not params.extensions or path.suffix.lower() in params.extensions
            if path.is_file() and wanted:
                context.organized_files.append({"path": path})
        if not context.organized_files:
            return StepResult(success=False, error="there are no files to upload")
        context.set_progress(1, 1)
        return StepResult(data={"files": len(context.organized_files)})


class CheckStep(BaseStep[UploadContext]):
    """Takes out what may not be uploaded."""

    name = "check"
    progress_weight = 0.1
    progress_proportion = 10

    def execute(self, context: UploadContext) -> StepResult:
        """Check the size of every file."""
        limit = context.params.max_file_size_mb
        kept = []
        for entry in context.organized_files:
            size = entry["path"].stat().st_size
            if size == 0:
                lose(context, entry["path"], "it is empty")
            elif size > limit * MB:
                lose(context, entry["path"], f"it is larger than {limit} MB")
            else:
                kept.append(entry)
        context.organized_files = kept
        context.set_progress(1, 1)
        if not kept:
            return StepResult(success=False, error="no file may be uploaded")
        return StepResult(data={"files": len(kept)})


class SendStep(BaseStep[UploadContext]):
    """Sends the files in chunks, one after the other."""

    name = "send"
    progress_weight = 0.8
    progress_proportion = 80

    def execute(self, context: UploadContext) -> StepResult:
        """Send every file; one that fails is lost, the others go on."""
        total = len(context.organized_files)
        for number, entry in enumerate(context.organized_files, 1):
            path = entry["path"]
            try:
                sent = self.send(context, path)
            except (OSError, ClientError) as error:
                lose(context, path, str(error))
            else:
                context.uploaded_files.append({"path": str(path), **sent})
            context.set_progress(number, total)
        if not context.uploaded_files:
            return StepResult(success=False, error="no file could be uploaded")
        return StepResult(data={"files": len(context.uploaded_files)})

    def send(self, context: UploadContext, path: Path) -> dict[str, Any]:
        """Send one file; return what the backend says of it: id, checksum, size."""
        return dict(context.client.create_chunked_upload(path))
