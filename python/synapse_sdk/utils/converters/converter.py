"""Owns choosing a converter and running it: into a new folder, whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from synapse_sdk.utils.converters import coco, pascal_voc, yolo
from synapse_sdk.utils.converters.samples import ConversionError, Samples

_READ: dict[str, Callable[[Path], Samples]] = {
    "yolo": yolo.read,
    "coco": coco.read,
    "pascal_voc": pascal_voc.read,
}
_WRITE: dict[str, Callable[[Samples, Path], Path]] = {
    "yolo": yolo.write,
    "coco": coco.write,
    "pascal_voc": pascal_voc.write,
}
#: Formats that can be converted, each to each other.
FORMATS = tuple(_READ)
#: The platform's own formats: passed on as they are.
PLATFORM = ("dm_v1", "dm_v2")
#: Split of the images that belong to none, in a dataset that has splits.
UNASSIGNED = "unassigned"
_ALIASES = {"pascal": "pascal_voc", "voc": "pascal_voc", "dm": "dm_v2"}


@dataclass(frozen=True)
class Converted:
    """A converted dataset.

    Attributes:
        path: Its folder.
        format: Its format.
        config_path: What a reader is given: YOLO's dataset.yaml, COCO's JSON, VOC's folder.
        count: Images.
        classes: Class names in their order.
        notes: What could not be kept, one sentence each.
    """

    path: Path
    format: str
    config_path: Path | None
    count: int
    classes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def normal_format(name: str) -> str:
    """Return the usual name of a format: `pascal` and `voc` are `pascal_voc`."""
    word = name.strip().lower().replace("-", "_")
    return _ALIASES.get(word, word)


class DatasetConverter:
    """Converts datasets from one format to another.

    Args:
        source: Format that is read.
        target: Format that is written.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source = normal_format(source)
        self.target = normal_format(target)

    def convert(self, path: str | Path, output: str | Path) -> Converted:
        """Convert the dataset in the folder `path` into the new folder `output`.

        It is written beside `output` and renamed; images are hard links where possible.

        Raises:
            FileNotFoundError: There is no folder `path`.
            FileExistsError: `output` is there already.
            ConversionError: The dataset cannot be read as the source format.
            ImportError: The extra `dataset` is not installed.
        """
        source, target = Path(path), Path(output)
        if not source.is_dir():
            raise FileNotFoundError(f"Dataset path does not exist: {source}")
        if target.exists():
            raise FileExistsError(f"{target} is there already")
        samples = _READ[self.source](source)
        if len(samples.splits()) > 1:
            for sample in samples.images:
                sample.split = sample.split or UNASSIGNED
        target.parent.mkdir(parents=True, exist_ok=True)
        working = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
        working.mkdir()
        try:
            made = _WRITE[self.target](samples, working)
            working.rename(target)
        except FileExistsError as error:
            raise ConversionError(str(error)) from None
        finally:
            shutil.rmtree(working, ignore_errors=True)
        return Converted(
            path=target,
            format=self.target,
            config_path=target / made.relative_to(working),
            count=len(samples.images),
            classes=samples.classes,
            notes=samples.notes,
        )


def get_converter(source: str, target: str) -> DatasetConverter:
    """Return the converter from one format to another.

    Args:
        source: yolo, coco, pascal_voc (also pascal, voc).
        target: The same.

    Raises:
        ValueError: Either is not one of these, or both are the same.
    """
    for name in (source, target):
        word = normal_format(name)
        if word in PLATFORM:
            raise ValueError(
                f"{word} cannot be converted yet; it is downloaded and passed on as it is"
            )
        if word not in FORMATS:
            raise ValueError(f"unknown dataset format {name!r}; known: {', '.join(FORMATS)}")
    if normal_format(source) == normal_format(target):
        raise ValueError(f"the dataset is in the format {normal_format(target)} already")
    return DatasetConverter(source, target)
