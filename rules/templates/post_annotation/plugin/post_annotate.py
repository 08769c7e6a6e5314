"""The action: annotations in, cleaner ones out."""

from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter
from synapse_sdk.plugins import BaseAction
from synapse_sdk.plugins.enums import PluginCategory

from .boxes import Box, merge

BOXES = TypeAdapter(list[Box])


class PostAnnotateParams(BaseModel):
    """Which annotations, where to, and how alike is the same."""

    path: Path = Field(..., description="JSON file of boxes")
    output: Path = Field(..., description="JSON file to write")
    threshold: float = Field(
        default=0.8, gt=0, le=1, description="Boxes that overlap by this share are the same"
    )


class PostAnnotateResult(BaseModel):
    """What was done."""

    output_path: str
    kept: int
    merged: int


class PostAnnotateAction(BaseAction[PostAnnotateParams]):
    """Merge boxes that are drawn twice."""

    action_name = "post_annotate"
    category = PluginCategory.POST_ANNOTATION
    result_model = PostAnnotateResult

    def execute(self) -> PostAnnotateResult:
        """Read, merge, write."""
        boxes = BOXES.validate_json(self.params.path.read_bytes())
        kept = merge(boxes, self.params.threshold)
        self.params.output.parent.mkdir(parents=True, exist_ok=True)
        self.params.output.write_bytes(BOXES.dump_json(kept, indent=2) + b"\n")
        merged = len(boxes) - len(kept)
        self.ctx.log_message(f"{merged} of {len(boxes)} boxes were drawn twice", "success")
        self.set_progress(1, 1, "post_annotate")
        return PostAnnotateResult(
            output_path=str(self.params.output), kept=len(kept), merged=merged
        )
