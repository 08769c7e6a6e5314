"""Owns the ordered list of an action's steps."""

from __future__ import annotations

from typing import Generic, TypeVar

from synapse_sdk.plugins.steps.base import BaseStep, BaseStepContext

__all__ = ["StepRegistry"]

C = TypeVar("C", bound=BaseStepContext)


class StepRegistry(Generic[C]):
    """The steps of an action, in the order in which they run."""

    def __init__(self) -> None:
        self._steps: list[BaseStep[C]] = []

    def register(self, step: BaseStep[C]) -> None:
        """Adds a step at the end."""
        self._steps.append(step)

    def unregister(self, name: str) -> None:
        """Takes out the step of that name; without one, nothing changes."""
        self._steps = [step for step in self._steps if step.name != name]

    def insert_after(self, name: str, step: BaseStep[C]) -> None:
        """Puts a step behind the one of that name. ValueError when there is none."""
        self._steps.insert(self._place(name) + 1, step)

    def insert_before(self, name: str, step: BaseStep[C]) -> None:
        """Puts a step in front of the one of that name. ValueError when there is none."""
        self._steps.insert(self._place(name), step)

    def get_steps(self) -> list[BaseStep[C]]:
        """The steps; a copy of the list."""
        return list(self._steps)

    @property
    def total_weight(self) -> float:
        """The sum of all weights."""
        return sum(step.progress_weight for step in self._steps)

    def get_step_proportions(self) -> dict[str, int]:
        """Step to its share of the job's progress, of those that have one."""
        return {
            step.name: step.progress_proportion
            for step in self._steps
            if step.progress_proportion > 0
        }

    def get_step_orders(self) -> dict[str, int]:
        """Step to its place, from 1."""
        return {step.name: order for order, step in enumerate(self._steps, 1)}

    def _place(self, name: str) -> int:
        for place, step in enumerate(self._steps):
            if step.name == name:
                return place
        raise ValueError(f"Step '{name}' not found")

    def __len__(self) -> int:
        return len(self._steps)

    def __bool__(self) -> bool:
        return bool(self._steps)
