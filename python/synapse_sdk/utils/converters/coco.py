"""Owns the COCO layout: one JSON per split, beside its images.

Read: every JSON with images, annotations and categories, as `annotations/instances_<split>.json`,
`<split>/_annotations.coco.json`, or alone; images by their `file_name` below the split's folder,
`images/<split>`, `images`, or the dataset's. Written: the first of these, with `images/<split>`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from synapse_sdk.utils.converters.place import place
from synapse_sdk.utils.converters.samples import (
    ConversionError,
    Sample,
    Samples,
    image_size,
    library,
    split_name,
)


def read(folder: Path) -> Samples:
    """Read a COCO dataset; masks, polygons and keypoints are left out, and a note counts them."""
    classes: list[str] = []
    samples: list[Sample] = []
    shapes = crowds = 0
    for path, content in _files(folder):
        split = _split(path, folder)
        ordered = sorted(content["categories"], key=lambda row: int(row["id"]))
        classes += [str(row["name"]) for row in ordered if str(row["name"]) not in classes]
        for row in content["annotations"]:
            shapes += bool(row.get("segmentation") or row.get("keypoints"))
            crowds += bool(row.get("iscrowd"))
        samples += _samples(path, content, split, folder)
    if not samples:
        raise ConversionError(f"{folder} holds no COCO annotations (a JSON that names images)")
    notes = []
    if shapes:
        notes.append(f"{shapes} objects have masks, polygons or keypoints; only boxes are kept")
    if crowds:
        notes.append(f"{crowds} objects are crowds; that mark is not kept")
    return Samples(classes, samples, notes)


def _files(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in sorted(folder.rglob("*.json")):
        try:
            content = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ConversionError(f"{path}: not JSON: {error}") from None
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
            found.append((path, content))
    return found


def _split(path: Path, folder: Path) -> str | None:
    stem = re.sub(r"^(instances|annotations|person_keypoints)[_-]", "", path.stem)
    stem = re.sub(r"\d{4}$", "", stem)
    if stem in ("annotations", "instances", "labels", "coco", "_annotations.coco"):
        parent = path.parent
        return split_name(parent.name) if parent not in (folder, folder / "annotations") else None
    return split_name(stem)


def _samples(path: Path, content: dict[str, Any], split: str | None, folder: Path) -> list[Sample]:
    globox = library("globox")
    names = {row["id"]: str(row["name"]) for row in content["categories"]}
    by_id: dict[Any, Sample] = {}
    try:
        for row in content["images"]:
            name = str(row["file_name"])
            image = _image(name, path, split, folder)
            size = (row.get("width"), row.get("height"))
            known = (int(size[0]), int(size[1])) if all(size) else image_size(image)
            sample = Sample(image, _below(name, split), split, known)
            if by_id.setdefault(row["id"], sample) is not sample:
                raise ConversionError(f"{path}: two images have the id {row['id']}")
        for row in content["annotations"]:
            box = globox.BoundingBox.create(
                label=names[row["category_id"]],
                coords=tuple(float(value) for value in row["bbox"]),
                confidence=float(row["score"]) if row.get("score") is not None else None,
                box_format=globox.BoxFormat.LTWH,
            )
            by_id[row["image_id"]].boxes.append(box)
    except ConversionError:
        raise
    except KeyError as error:
        raise ConversionError(f"{path}: {error.args[0]!r} is missing") from None
    except Exception as error:
        raise ConversionError(f"{path}: not COCO annotations: {error}") from None
    return list(by_id.values())


def _image(name: str, path: Path, split: str | None, folder: Path) -> Path:
    if name.startswith("/") or ".." in Path(name).parts:
        raise ConversionError(f"{path}: the image {name!r} is outside of the dataset")
    places = [path.parent, folder / "images", folder]
    if split is not None:
        original = {path.parent.name, split}
        places = [
            *(folder / "images" / word for word in sorted(original)),
            *(folder / word for word in sorted(original)),
            *(found for found in folder.glob("*/") if split_name(found.name) == split),
            *(found for found in folder.glob("images/*/") if split_name(found.name) == split),
            *(folder / "images" / found for found in _dated(folder, split)),
            *places,
        ]
    for place_ in places:
        if (place_ / name).is_file():
            return place_ / name
    raise ConversionError(f"{path}: the image {name!r} is not there")


def _dated(folder: Path, split: str) -> list[str]:
    """Return folders such as val2017, whose year the split's name lacks."""
    return [found.name for found in sorted(folder.glob(f"images/{split}[0-9][0-9][0-9][0-9]"))]


def _below(name: str, split: str | None) -> str:
    """Return an image's name below its split's folder."""
    parts = Path(name).as_posix().removeprefix("images/").split("/")
    if split is not None and len(parts) > 1 and split_name(parts[0]) == split:
        parts = parts[1:]
    return "/".join(parts)


def write(samples: Samples, folder: Path) -> Path:
    """Write a COCO dataset into `folder`; returns the JSON of its first split."""
    globox = library("globox")
    categories = {name: number for number, name in enumerate(samples.classes, 1)}
    written: list[Path] = []
    for split in samples.splits():
        annotations = globox.AnnotationSet()
        numbers: dict[str, int] = {}
        for sample in (sample for sample in samples.images if sample.split == split):
            place(sample.image, folder / "images" / (split or "") / sample.name)
            numbers[sample.name] = len(numbers) + 1
            annotations.add(globox.Annotation(sample.name, sample.size, sample.boxes))
        content = annotations.to_coco(label_to_id=categories, imageid_to_id=numbers)
        for row in content["annotations"]:
            row["id"] += 1  # COCO's own tools take 0 for "no match"
            row["bbox"] = list(row["bbox"])
        name = f"instances_{split}.json" if split else "instances.json"
        path = folder / "annotations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), "utf-8")
        written.append(path)
    return written[0]
