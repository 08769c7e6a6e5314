"""Owns automatic labelling: `BaseAutoLabelAction` and its params."""

from __future__ import annotations

from synapse_sdk.plugins.actions.auto_label.action import (
    AutoLabelParams,
    AutoLabelProgressCategories,
    BaseAutoLabelAction,
)

__all__ = ["AutoLabelParams", "AutoLabelProgressCategories", "BaseAutoLabelAction"]
