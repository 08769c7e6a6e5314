"""Owns `BaseUploadAction`, whose work is its steps, and the default upload."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.backend import BackendHelpers
from synapse_sdk.plugins.actions.steps_flow import run_steps
from synapse_sdk.plugins.actions.upload.context import UploadContext, UploadProgressCategories
from synapse_sdk.plugins.actions.upload.log_messages import UploadLogMessageCode
from synapse_sdk.plugins.actions.upload.params import UploadResult
from synapse_sdk.plugins.actions.upload.steps import (
    AnalyzeCollectionStep,
    CleanupStep,
    GenerateDataUnitsStep,
    InitializeStep,
    OrganizeFilesStep,
    ProcessMetadataStep,
    UploadFilesStep,
    ValidateFilesStep,
)
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.log_messages import LogMessageCode
from synapse_sdk.plugins.steps import StepRegistry

P = TypeVar("P", bound=BaseModel)


class BaseUploadAction(BackendHelpers, BaseAction[P], Generic[P]):
    """Base of upload actions: override `setup_steps`."""

    category = PluginCategory.UPLOAD
    result_model = UploadResult
    progress: ClassVar[type[UploadProgressCategories]] = UploadProgressCategories

    def execute(self) -> Any:
        """Upload, as `run` does."""
        return self.run()

    def run(self) -> Any:
        """Run the registered steps; the result counts what was uploaded and what was lost.

        Raises:
            RuntimeError: No step is registered, or one failed.
        """
        registry: StepRegistry[UploadContext] = StepRegistry()
        self.setup_steps(registry)
        steps = registry.get_steps()
        making = any(isinstance(step, GenerateDataUnitsStep) for step in steps)
        for step in steps:
            if isinstance(step, UploadFilesStep):
                step.data_units_follow = making
        context = self.create_context()
        counts = run_steps(registry, context)
        return UploadResult(
            **counts,
            # A plugin's own steps may note files without data units: each is one.
            uploaded_files=sum(len(unit.get("files", [unit])) for unit in context.uploaded_files),
            data_units=len(context.data_units),
            partial_failure=bool(context.lost_files),
            lost_files_count=len(context.lost_files),
            lost_files=context.lost_files,
        )

    def setup_steps(self, registry: StepRegistry[UploadContext]) -> None:
        """Register the steps. To be overridden."""

    def create_context(self) -> UploadContext:
        """Return the state that the steps share."""
        return UploadContext(
            runtime_ctx=self.ctx,
            params=self.params,
            allowed_extensions=self.get_allowed_extensions(),
        )

    def get_allowed_extensions(self) -> dict[str, list[str]] | None:
        """Return the extensions that may be uploaded, per file type; None allows all."""
        return None

    @classmethod
    def get_log_message_code_class(cls) -> type[LogMessageCode]:
        """Return the messages of uploads."""
        return UploadLogMessageCode


class DefaultUploadAction(BaseUploadAction[P], Generic[P]):
    """The default upload in eight steps.

    Override `setup_steps` to change them: call it of the base class first, then `insert_after`
    and `unregister`.
    """

    def setup_steps(self, registry: StepRegistry[UploadContext]) -> None:
        """Register the eight steps."""
        registry.register(InitializeStep())
        registry.register(ProcessMetadataStep())
        registry.register(AnalyzeCollectionStep())
        registry.register(OrganizeFilesStep())
        registry.register(ValidateFilesStep())
        registry.register(UploadFilesStep())
        registry.register(GenerateDataUnitsStep())
        registry.register(CleanupStep())
