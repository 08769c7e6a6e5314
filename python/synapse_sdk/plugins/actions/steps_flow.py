"""Owns how a base action runs its registered steps."""

from __future__ import annotations

from typing import Any, TypeVar

from synapse_sdk.plugins.steps import BaseStepContext, Orchestrator, StepRegistry

C = TypeVar("C", bound=BaseStepContext)

NO_STEPS = "No steps registered. Override setup_steps() to register workflow steps."


def run_steps(registry: StepRegistry[C], context: C) -> dict[str, Any]:
    """Run the steps in order and return the orchestrator's counts.

    Raises:
        RuntimeError: There is no step, or one failed; what ran was rolled back.
    """
    if not registry:
        raise RuntimeError(NO_STEPS)
    return dict(Orchestrator(registry, context).execute())
