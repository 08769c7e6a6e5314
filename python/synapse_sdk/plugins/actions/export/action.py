"""Owns `BaseExportAction`, and the default export, which drives an exporter in steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.backend import BackendHelpers, param
from synapse_sdk.plugins.actions.export.context import ExportContext, ExportProgressCategories
from synapse_sdk.plugins.actions.export.exporter import BaseExporter
from synapse_sdk.plugins.actions.export.log_messages import ExportLogMessageCode
from synapse_sdk.plugins.actions.export.params import ExportParams, ExportTarget
from synapse_sdk.plugins.actions.export.steps import (
    ConvertDataStep,
    FetchResultsStep,
    FinalizeStep,
    InitializeStep,
    PrepareExportStep,
    SaveFilesStep,
)
from synapse_sdk.plugins.actions.missing import backend_call
from synapse_sdk.plugins.actions.steps_flow import run_steps
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.errors import ExecutionError
from synapse_sdk.plugins.log_messages import LogMessageCode
from synapse_sdk.plugins.steps import StepRegistry

P = TypeVar("P", bound=BaseModel)


class BaseExportAction(BackendHelpers, BaseAction[P], Generic[P]):
    """Base of export actions: override `execute`, or `setup_steps` for a run in steps."""

    category = PluginCategory.EXPORT
    progress: ClassVar[type[ExportProgressCategories]] = ExportProgressCategories

    def run(self) -> Any:
        """Run the registered steps, else `execute`.

        With steps the result is the orchestrator's, with exported_count, failed_count,
        total_count and output_path.
        """
        registry: StepRegistry[ExportContext] = StepRegistry()
        self.setup_steps(registry)
        return self._run_steps(registry) if registry else self.execute()

    def _run_steps(self, registry: StepRegistry[ExportContext]) -> dict[str, Any]:
        context = self.create_context()
        result = run_steps(registry, context)
        result.update(
            exported_count=context.exported_count,
            failed_count=context.failed_count,
            total_count=context.total_count,
            output_path=str(context.output_path) if context.output_path else None,
        )
        return result

    def setup_steps(self, registry: StepRegistry[ExportContext]) -> None:
        """Register steps; none by default."""

    def create_context(self) -> ExportContext:
        """Return the state that the steps share."""
        return ExportContext(runtime_ctx=self.ctx, params=self.params)

    @classmethod
    def get_log_message_code_class(cls) -> type[LogMessageCode]:
        """Return the messages of exports."""
        return ExportLogMessageCode

    def get_filtered_results(self, filters: dict[str, Any]) -> tuple[Iterable[Any], int]:
        """Return what is to be exported, and how many. To be overridden.

        Args:
            filters: Which results.

        Returns:
            The items, as dicts, and their number.

        Raises:
            NotImplementedError: Unless overridden.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get_filtered_results(filters)")

    def get_storage(self, storage_id: int) -> dict[str, Any]:
        """Return what the backend says of a storage."""
        return dict(self.client.get_storage(storage_id))

    def get_project(self, project_id: int) -> dict[str, Any]:
        """Return what the backend says of a project.

        Raises:
            ExecutionError: The client of this run knows no projects.
        """
        call = backend_call(self.client, "get_project", "override get_project()")
        return dict(call(project_id))

    def get_project_configuration(self, project_id: int) -> dict[str, Any]:
        """Return the configuration of a project (ExecutionError as for `get_project`)."""
        return dict(self.get_project(project_id).get("configuration") or {})


class DefaultExportAction(BaseExportAction[ExportParams]):
    """The default export, usable as it is or with an own `exporter_class`.

    Ground truths of a dataset version (`filter: {"ground_truth_dataset_versions": ID}`) come
    from the backend; for assignments and tasks override `get_filtered_results`.
    """

    action_name = "export"
    exporter_class: ClassVar[type[BaseExporter]] = BaseExporter

    def execute(self) -> Any:
        """Export, as `run` does."""
        registry: StepRegistry[ExportContext] = StepRegistry()
        self.setup_steps(registry)
        return self._run_steps(registry)

    def setup_steps(self, registry: StepRegistry[ExportContext]) -> None:
        """Register the six steps."""
        registry.register(InitializeStep())
        registry.register(FetchResultsStep(self))
        registry.register(PrepareExportStep(self))
        registry.register(ConvertDataStep())
        registry.register(SaveFilesStep())
        registry.register(FinalizeStep())

    def get_filtered_results(self, filters: dict[str, Any]) -> tuple[Iterable[Any], int]:
        """Return the ground truths of the dataset version that the filter names.

        Raises:
            ExecutionError: Another target, or no dataset version.
        """
        target = param(self.params, "target")
        if target != ExportTarget.GROUND_TRUTH:
            raise ExecutionError(
                f"the backend API of this release gives no {target} results; override "
                "get_filtered_results(), or export the target ground_truth"
            )
        wanted = dict(filters)
        version = wanted.pop("ground_truth_dataset_versions", wanted.pop("dataset", None))
        if version is None:
            raise ExecutionError(
                'the filter names no dataset: {"ground_truth_dataset_versions": ID}'
            )
        client = self.client
        client.get_dataset_version(version)
        items = list(client.iter_ground_truths(version, **wanted))
        return items, len(items)


#: The name that older plugins use.
ExportAction = DefaultExportAction
