"""The tool: a click in, a box out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, model_validator
from synapse_sdk.plugins.actions.auto_label import BaseAutoLabelAction
from synapse_sdk.plugins.enums import PluginCategory

from .region import grow


class ClickParams(BaseModel):
    """A picture, and where it was clicked on."""

    pixels: list[list[int]] = Field(..., min_length=1, description="Rows of brightness, 0 to 255")
    x: int = Field(..., ge=0, description="Column of the click, from 0")
    y: int = Field(..., ge=0, description="Row of the click, from 0")
    tolerance: int = Field(default=10, ge=0, le=255, description="Brightness may differ by this")

    @model_validator(mode="after")
    def _inside(self) -> ClickParams:
        if any(len(row) != len(self.pixels[0]) for row in self.pixels):
            raise ValueError("all rows must have the same length")
        if self.y >= len(self.pixels) or self.x >= len(self.pixels[0]):
            raise ValueError("the click is outside of the picture")
        return self


class AutoLabelAction(BaseAutoLabelAction[ClickParams]):
    """Draw a box around what was clicked on."""

    category = PluginCategory.SMART_TOOL

    def handle_input(self, input_data: dict[str, Any]) -> dict[str, Any]:
        """Turn what the tool sends into what the model wants."""
        return {**input_data, "start": (input_data["x"], input_data["y"])}

    def run_inference(self, model_input: dict[str, Any]) -> dict[str, Any]:
        """Infer here. Without this method the agent is asked for the model of the params."""
        x, y = model_input["start"]
        return {"region": grow(model_input["pixels"], x, y, model_input["tolerance"])}

    def handle_output(self, output_data: dict[str, Any]) -> dict[str, Any]:
        """Turn what the model answers into an annotation: a box in pixels."""
        columns = [x for x, _ in output_data["region"]]
        rows = [y for _, y in output_data["region"]]
        return {
            "type": "bbox",
            "x": min(columns),
            "y": min(rows),
            "width": max(columns) - min(columns) + 1,
            "height": max(rows) - min(rows) + 1,
        }
