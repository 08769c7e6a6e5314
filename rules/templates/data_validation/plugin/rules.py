"""The rules. Each takes an annotation and the allowed labels, and yields what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from pydantic import BaseModel, Field


class Annotation(BaseModel):
    """A box on an image; all numbers are pixels."""

    label: str
    x: float
    y: float
    width: float
    height: float
    image_width: int = Field(..., gt=0)
    image_height: int = Field(..., gt=0)


def has_known_label(item: Annotation, labels: Collection[str]) -> Iterator[str]:
    """The label is one of those that are allowed; all are where none are named."""
    if labels and item.label not in labels:
        yield f"the label {item.label!r} is none of {', '.join(sorted(labels))}"


def has_area(item: Annotation, labels: Collection[str]) -> Iterator[str]:
    """Width and height are more than nothing."""
    if item.width <= 0 or item.height <= 0:
        yield f"the box is {item.width:g} by {item.height:g} pixels"


def is_inside(item: Annotation, labels: Collection[str]) -> Iterator[str]:
    """The box lies on the image."""
    right, bottom = item.x + item.width, item.y + item.height
    if item.x < 0 or item.y < 0 or right > item.image_width or bottom > item.image_height:
        yield "the box reaches out of the image"


Rule = Callable[[Annotation, Collection[str]], Iterator[str]]

#: Rules by the name that findings and the param `rules` call them.
RULES: dict[str, Rule] = {"label": has_known_label, "area": has_area, "inside": is_inside}
