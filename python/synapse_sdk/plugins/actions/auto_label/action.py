"""Owns `BaseAutoLabelAction`: turning a tool's input into a model's, and its output back."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from synapse_sdk.plugins.action import BaseAction
from synapse_sdk.plugins.actions.backend import param
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.errors import ExecutionError

P = TypeVar("P", bound=BaseModel)


class AutoLabelParams(BaseModel):
    """Params of automatic labelling; what else is sent is the tool's input."""

    model_config = ConfigDict(extra="allow")

    plugin: str | int = Field(description="Plugin whose model infers")
    version: str = Field(description="Version of that plugin")
    model_id: int | None = Field(default=None, description="Id of the model")


class AutoLabelProgressCategories:
    """Steps of automatic labelling, as `self.progress.X`."""

    INPUT_TRANSFORM = "input_transform"
    INFERENCE = "inference"
    OUTPUT_TRANSFORM = "output_transform"


class BaseAutoLabelAction(BaseAction[P], Generic[P]):
    """Base of automatic labelling actions: override `handle_input` and `handle_output`."""

    category = PluginCategory.SMART_TOOL
    progress: ClassVar[type[AutoLabelProgressCategories]] = AutoLabelProgressCategories

    @abstractmethod
    def handle_input(self, input_data: dict[str, Any]) -> dict[str, Any] | None:
        """Return the model's input; None passes the tool's on as it is."""

    @abstractmethod
    def handle_output(self, output_data: dict[str, Any]) -> dict[str, Any] | None:
        """Return the tool's output; None passes the model's on as it is."""

    def run_inference(self, model_input: dict[str, Any]) -> dict[str, Any]:
        """Ask the plugin that the params name, through the agent, for its inference.

        Raises:
            ExecutionError: The run has no agent.
        """
        agent: Any = getattr(self.ctx, "agent_client", None)
        if agent is None:
            raise ExecutionError(
                "No agent client in context: automatic labelling infers through an agent. "
                "Run it where there is one, or override run_inference()"
            )
        answer = agent.run_plugin(
            param(self.params, "plugin"),
            "inference",
            {**model_input, "model": param(self.params, "model_id")},
            version=param(self.params, "version"),
        )
        return dict(answer)

    def execute(self) -> dict[str, Any]:
        """Transform the input, infer, transform the output."""
        given = dict(self.params) if isinstance(self.params, dict) else self.params.model_dump()
        self.set_progress(1, 3, self.progress.INPUT_TRANSFORM)
        changed = self.handle_input(given)
        self.set_progress(2, 3, self.progress.INFERENCE)
        output = self.run_inference(given if changed is None else changed)
        self.set_progress(3, 3, self.progress.OUTPUT_TRANSFORM)
        final = self.handle_output(output)
        return output if final is None else final
