"""Boxes, and which of them are the same. Put your own rules in their place."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field


class Box(BaseModel):
    """A labelled box in pixels; `x` and `y` are its upper left corner."""

    label: str = Field(..., min_length=1)
    x: float
    y: float
    width: float = Field(..., gt=0)
    height: float = Field(..., gt=0)

    @property
    def area(self) -> float:
        """Pixels that it covers."""
        return self.width * self.height


def overlap(one: Box, other: Box) -> float:
    """Return the area that both cover as a share of what either covers, 0 to 1."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    both = max(width, 0) * max(height, 0)
    return both / (one.area + other.area - both)


def merge(boxes: Sequence[Box], threshold: float) -> list[Box]:
    """Return the boxes without those that repeat an earlier one of the same label."""
    kept: list[Box] = []
    for box in boxes:
        same = (own for own in kept if own.label == box.label)
        if all(overlap(own, box) < threshold for own in same):
            kept.append(box)
    return kept
