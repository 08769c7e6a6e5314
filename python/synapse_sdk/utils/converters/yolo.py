"""Owns the YOLO layout: images and labels side by side, and a description in YAML.

Read: `images/<split>/` with `labels/<split>/`, `<split>/images/` with `<split>/labels/`, and
`images/` with `labels/`; classes of dataset.yaml or data.yaml, else classes.txt. Written: the
first of these, with dataset.yaml.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from synapse_sdk.utils.converters.place import place
from synapse_sdk.utils.converters.samples import (
    IMAGES,
    ConversionError,
    Sample,
    Samples,
    image_size,
    images_below,
    library,
    order_classes,
    split_name,
)

DESCRIPTIONS = ("dataset.yaml", "data.yaml", "dataset.yml", "data.yml")


def read(folder: Path) -> Samples:
    """Read a YOLO dataset; polygons become the boxes around them, and a note says how many."""
    described = _description(folder)
    names = _classes(folder, described)
    samples: list[Sample] = []
    polygons = 0
    for split, images, labels in _folders(folder, described):
        for image in images_below(images):
            name = image.relative_to(images).as_posix()
            sample = Sample(image, name, split, image_size(image))
            label = labels / f"{sample.stem}.txt"
            if label.is_file():
                polygons += _boxes(label, sample, names)
            samples.append(sample)
    if not samples:
        raise ConversionError(f"{folder} holds no images in a YOLO layout (images/, labels/)")
    known = [names[number] for number in sorted(names)]
    notes = [f"{polygons} polygons became the boxes around them"] if polygons else []
    return Samples(order_classes(known, samples), samples, notes)


def _boxes(label: Path, sample: Sample, names: dict[int, str]) -> int:
    """Add the boxes of a label file to `sample`; returns how many were polygons."""
    globox = library("globox")
    polygons = 0
    for number, line in enumerate(label.read_text("utf-8").splitlines(), 1):
        values = line.split()
        if not values:
            continue
        try:
            if len(values) in (5, 6):
                box = globox.BoundingBox.from_yolo_v5(line, image_size=sample.size)
            else:
                box = globox.BoundingBox.from_yolo_seg(line, image_size=sample.size)
                polygons += 1
            index = int(values[0])
        except Exception as error:
            raise ConversionError(f"{label}:{number}: not a YOLO label: {error}") from None
        box.label = names.get(index, str(index))
        sample.boxes.append(box)
    return polygons


def _folders(folder: Path, described: dict[str, Any]) -> list[tuple[str | None, Path, Path]]:
    """Return split, images and labels of each part of the dataset."""
    found: list[tuple[str | None, Path, Path]] = []
    for split in ("train", "val", "test"):
        part = _described(folder, described, split)
        if part is not None and all(part != images for _, images, _ in found):
            found.append((split, part, _labels(part)))
    if found:
        return found
    images = folder / "images"
    if images.is_dir():
        parts = sorted(path for path in images.iterdir() if path.is_dir())
        loose = any(path.is_file() and path.suffix.lower() in IMAGES for path in images.iterdir())
        if parts and not loose:
            return [(split_name(part.name), part, _labels(part)) for part in parts]
        return [(None, images, _labels(images))]
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        if (part / "images").is_dir():
            found.append((split_name(part.name), part / "images", part / "labels"))
    return found


def _described(folder: Path, described: dict[str, Any], split: str) -> Path | None:
    """Return the images that the description names for a split, if they are in the dataset."""
    entry = described.get(split)
    if not isinstance(entry, str):
        return None
    base = str(described.get("path") or "")
    # Exports of some tools write ../train/images for train/images.
    for place_ in (folder / base / entry, folder / entry, folder / entry.removeprefix("../")):
        path = Path(os.path.normpath(place_))
        if path.is_dir() and path != folder and path.is_relative_to(os.path.normpath(folder)):
            # A flat dataset names one folder for all.
            return path if path.name != "images" or path.parent != folder else None
    return None


def _labels(images: Path) -> Path:
    """Return the labels of images: the same path, its last `images` being `labels`."""
    parts = list(images.parts)
    for index in range(len(parts) - 1, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            return Path(*parts)
    return images


def _description(folder: Path) -> dict[str, Any]:
    description = find_description(folder)
    if description is None:
        return {}
    try:
        content = library("yaml").safe_load(description.read_text("utf-8"))
    except ImportError:
        raise
    except Exception as error:
        raise ConversionError(f"{description}: {' '.join(str(error).split())}") from None
    return content if isinstance(content, dict) else {}


def _classes(folder: Path, described: dict[str, Any]) -> dict[int, str]:
    names = described.get("names")
    if isinstance(names, dict):
        return {int(number): str(name) for number, name in names.items()}
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    listed = folder / "classes.txt"
    if listed.is_file():
        lines = listed.read_text("utf-8").splitlines()
        return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    return {}


def find_description(folder: Path) -> Path | None:
    """Return the YAML that describes the YOLO dataset in `folder`, if there is one."""
    return next((folder / name for name in DESCRIPTIONS if (folder / name).is_file()), None)


def write(samples: Samples, folder: Path) -> Path:
    """Write a YOLO dataset into `folder`; returns its dataset.yaml.

    The description names no absolute path, so the folder can be moved.
    """
    numbers = {name: number for number, name in enumerate(samples.classes)}
    for sample in samples.images:
        part = Path(sample.split) if sample.split else Path()
        place(sample.image, folder / "images" / part / sample.name)
        label = folder / "labels" / part / f"{sample.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            box.to_yolo_v5(image_size=sample.size, label_to_id=numbers) for box in sample.boxes
        ]
        if label.exists():
            raise ConversionError(f"two images share the label file {label.name}")
        label.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    rows = []
    splits = samples.splits()
    for name in ("train", "val"):
        # Ultralytics refuses a description without both; a missing one repeats the other.
        rows.append((name, _part(name, splits)))
    rows += [(name, f"images/{name}") for name in splits if name not in ("train", "val", None)]
    text = "".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in rows)
    text = text.replace('"train":', "train:", 1).replace('"val":', "val:", 1)
    text += f"nc: {len(samples.classes)}\nnames:\n"
    text += "".join(
        f"  {number}: {json.dumps(name, ensure_ascii=False)}\n"
        for number, name in enumerate(samples.classes)
    )
    description = folder / "dataset.yaml"
    description.write_text(text, "utf-8")
    return description


def _part(name: str, splits: list[str | None]) -> str:
    if name in splits:
        return f"images/{name}"
    named = [split for split in splits if split]
    return f"images/{named[0]}" if named else "images"
