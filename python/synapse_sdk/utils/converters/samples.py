"""Owns the form that all dataset formats are read into: images, splits, boxes, classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

#: Images that globox can tell the size of.
IMAGES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff"})
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


class ConversionError(ValueError):
    """A dataset cannot be read as the format it is said to have, or cannot be written."""


def library(name: str) -> Any:
    """Import a module of the extra `dataset`.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"converting datasets needs {name}: pip install 'synapse-sdk[dataset]'", name=name
        ) from error


@dataclass
class Sample:
    """One image.

    Attributes:
        image: Its file.
        name: Path below its split's images, POSIX.
        split: train, val, test, another name, or None in a dataset without splits.
        size: Width and height in pixels.
        boxes: globox boxes, in pixels; labels are class names.
    """

    image: Path
    name: str
    split: str | None
    size: tuple[int, int]
    boxes: list[Any] = field(default_factory=list)

    @property
    def stem(self) -> str:
        """`name` without its extension."""
        return self.name[: -len(Path(self.name).suffix)] if Path(self.name).suffix else self.name


@dataclass
class Samples:
    """A dataset.

    Attributes:
        classes: Class names; their order is that of YOLO's numbers.
        images: The images.
        notes: What reading could not keep, one sentence each.
    """

    classes: list[str]
    images: list[Sample]
    notes: list[str] = field(default_factory=list)

    def splits(self) -> list[str | None]:
        """Return the splits in a fixed order: train, val, test, others, none."""
        found = {sample.split for sample in self.images}
        order = {"train": 0, "val": 1, "test": 2}
        return sorted(found, key=lambda name: (name is None, order.get(name or "", 3), name or ""))


def images_below(folder: Path) -> list[Path]:
    """Return the image files below `folder`, sorted; hidden ones are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGES and not path.name.startswith(".") and path.is_file()
    )


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image.

    Raises:
        ConversionError: The file is no image that can be read.
    """
    image_utils = library("globox.image_utils")
    try:
        width, height = image_utils.get_image_size(path)
    except Exception as error:
        raise ConversionError(f"{path}: its size cannot be read: {error}") from None
    return int(width), int(height)


def split_name(word: str) -> str:
    """Return the usual name of a split."""
    return SPLITS.get(word.lower(), word)


def order_classes(known: list[str], samples: list[Sample]) -> list[str]:
    """Return `known` followed by the labels that occur beyond it, sorted."""
    found = {str(box.label) for sample in samples for box in sample.boxes}
    return [*known, *sorted(found - set(known))]
