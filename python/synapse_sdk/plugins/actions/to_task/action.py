"""Owns `ToTaskAction`: its hooks, and the steps that call them for every task."""

from __future__ import annotations

from typing import Any, ClassVar

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.backend import BackendHelpers
from synapse_sdk.plugins.actions.export.exporter import ITEM_ERRORS
from synapse_sdk.plugins.actions.missing import backend_call
from synapse_sdk.plugins.actions.steps_flow import run_steps
from synapse_sdk.plugins.actions.to_task.context import ToTaskContext
from synapse_sdk.plugins.actions.to_task.context import ToTaskProgressCategories as Progress
from synapse_sdk.plugins.actions.to_task.log_messages import ToTaskLogMessageCode as Code
from synapse_sdk.plugins.actions.to_task.params import ToTaskMethod, ToTaskParams, ToTaskResult
from synapse_sdk.plugins.errors import ExecutionError
from synapse_sdk.plugins.log_messages import LogMessageCode
from synapse_sdk.plugins.steps import BaseStep, StepRegistry, StepResult


class ToTaskAction(BackendHelpers, BaseAction[ToTaskParams]):
    """Annotates the tasks of a project.

    Override `convert_data_from_file` for the method file, `convert_data_from_inference` (and
    `setup_inference_params`) for the method inference.
    """

    action_name = "to_task"
    result_model = ToTaskResult
    progress: ClassVar[type[Progress]] = Progress

    def execute(self) -> ToTaskResult:
        """Annotate the tasks in five steps.

        Raises:
            RuntimeError: A step failed.
        """
        registry: StepRegistry[ToTaskContext] = StepRegistry()
        self.setup_steps(registry)
        context = ToTaskContext(runtime_ctx=self.ctx, params=self.params)
        run_steps(registry, context)
        total, failed = len(context.tasks), len(context.failures)
        return ToTaskResult(
            status="FAILED" if total and not context.success_count else "SUCCEEDED",
            message=f"{context.success_count} of {total} tasks annotated",
            total_tasks=total,
            success_count=context.success_count,
            failed_count=failed,
            failures=context.failures,
        )

    def setup_steps(self, registry: StepRegistry[ToTaskContext]) -> None:
        """Register the five steps."""
        registry.register(InitializeStep())
        registry.register(PrepareStep(self))
        registry.register(FetchTasksStep())
        registry.register(AnnotateTaskDataStep(self))
        registry.register(FinalizeStep())

    @classmethod
    def get_log_message_code_class(cls) -> type[LogMessageCode]:
        """Return the messages of annotating tasks."""
        return Code

    def convert_data_from_file(
        self,
        primary_file_url: str,
        primary_file_name: str,
        data_file_url: str,
        data_file_name: str,
        task_data: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return a task's annotations, read of its data file. To be overridden.

        Args:
            primary_file_url: Address of what is annotated.
            primary_file_name: Its name.
            data_file_url: Address of the annotations.
            data_file_name: Their name.
            task_data: The task, as the backend gives it.

        Raises:
            NotImplementedError: Unless overridden.
        """
        raise NotImplementedError(f"{type(self).__name__} has no convert_data_from_file")

    def convert_data_from_inference(
        self, inference_data: Any, task_data: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a task's annotations, made of what was inferred. To be overridden.

        Args:
            inference_data: What the plugin that infers answered.
            task_data: The task, as the backend gives it.

        Raises:
            NotImplementedError: Unless overridden.
        """
        raise NotImplementedError(f"{type(self).__name__} has no convert_data_from_inference")

    def setup_inference_params(self, **given: Any) -> dict[str, Any]:
        """Return what inference is asked with, beside the task's data."""
        return {**self.params.pre_processor_params, **given}


class InitializeStep(BaseStep[ToTaskContext]):
    """Asks the backend for the project."""

    name = Progress.INITIALIZE
    progress_weight = 0.05
    progress_proportion = 2

    def execute(self, context: ToTaskContext) -> StepResult:
        """Get the project."""
        call = backend_call(context.client, "get_project", "replace the step initialize")
        context.project = dict(call(context.params.project))
        return StepResult()


class PrepareStep(BaseStep[ToTaskContext]):
    """Makes ready what the method needs."""

    name = Progress.PREPARE
    progress_weight = 0.05
    progress_proportion = 3

    def __init__(self, action: ToTaskAction) -> None:
        self.action = action

    def execute(self, context: ToTaskContext) -> StepResult:
        """Find the plugin release that infers, for the method inference."""
        if context.params.method is not ToTaskMethod.INFERENCE:
            return StepResult()
        release = context.client.get_plugin_release(context.params.pre_processor)
        context.inference = {
            "plugin": release["plugin"],
            "version": release.get("version"),
            "params": self.action.setup_inference_params(model=context.params.model),
        }
        return StepResult()


class FetchTasksStep(BaseStep[ToTaskContext]):
    """Asks the backend for the tasks."""

    name = Progress.FETCH_TASKS
    progress_weight = 0.10
    progress_proportion = 5

    def execute(self, context: ToTaskContext) -> StepResult:
        """Get the tasks that the filters name."""
        call = backend_call(context.client, "list_tasks", "replace the step fetch_tasks")
        filters = {"project": context.params.project, **context.params.task_filters}
        context.tasks = [dict(task) for task in call(**filters)]
        context.log_message(Code.TO_TASK_FOUND, count=len(context.tasks))
        return StepResult(data={"count": len(context.tasks)})


class AnnotateTaskDataStep(BaseStep[ToTaskContext]):
    """Converts and sends the annotations of every task."""

    name = Progress.ANNOTATE_TASK_DATA
    progress_weight = 0.70
    progress_proportion = 85

    def __init__(self, action: ToTaskAction) -> None:
        self.action = action

    def execute(self, context: ToTaskContext) -> StepResult:
        """Annotate the tasks; one that fails is counted."""
        send = backend_call(
            context.client, "annotate_task_data", "replace the step annotate_task_data"
        )
        for number, task in enumerate(context.tasks, 1):
            try:
                send(task["id"], self._convert(context, task))
                context.success_count += 1
            except ITEM_ERRORS as error:
                context.failures.append({"task": task.get("id"), "error": str(error)})
                context.log_message(Code.TO_TASK_FAILED, task=task.get("id"), reason=str(error))
            context.set_progress(number, len(context.tasks))
        if context.tasks and not context.success_count:
            first = context.failures[0]["error"]
            return StepResult(success=False, error=f"no task could be annotated: {first}")
        return StepResult(data={"count": context.success_count})

    def _convert(self, context: ToTaskContext, task: dict[str, Any]) -> dict[str, Any]:
        if context.params.method is ToTaskMethod.FILE:
            primary, data = task_files(task, str(context.params.target_specification_name))
            return self.action.convert_data_from_file(
                str(primary["url"]), str(primary["name"]), str(data["url"]), str(data["name"]), task
            )
        asked = context.inference
        answer = context.client.run_plugin(
            asked["plugin"],
            "inference",
            {**asked["params"], "task": task},
            agent=context.params.agent,
            version=asked["version"],
        )
        return self.action.convert_data_from_inference(answer, task)


class FinalizeStep(BaseStep[ToTaskContext]):
    """Says how it went."""

    name = Progress.FINALIZE
    progress_weight = 0.10
    progress_proportion = 5

    def execute(self, context: ToTaskContext) -> StepResult:
        """Report the counts."""
        context.log_message(
            Code.TO_TASK_COMPLETE, count=context.success_count, total=len(context.tasks)
        )
        return StepResult()


def task_files(task: dict[str, Any], specification: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a task's primary file and its file of that specification: `url` and `name` each.

    Raises:
        ExecutionError: The task has no such file.
    """
    files = (task.get("data_unit") or task).get("files") or {}
    data = files.get(specification)
    primary = next((row for row in files.values() if row.get("is_primary")), None)
    primary = primary or next((row for name, row in files.items() if name != specification), data)
    if not data or not data.get("url") or not primary:
        raise ExecutionError(f"the task has no file of {specification}")
    named = [
        {**row, "name": row.get("name") or row.get("file_name_original") or ""}
        for row in (primary, data)
    ]
    return named[0], named[1]
