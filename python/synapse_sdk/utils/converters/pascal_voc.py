"""Owns the Pascal VOC layout: one XML per image, lists of images per split.

Read: `Annotations/*.xml` with `JPEGImages/` and `ImageSets/Main/<split>.txt`; `<split>/` folders
that hold the same, or images and XML side by side. Written: the first of these.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from synapse_sdk.utils.converters.place import place
from synapse_sdk.utils.converters.samples import (
    ConversionError,
    Sample,
    Samples,
    image_size,
    images_below,
    library,
    order_classes,
    split_name,
)

_WHOLE = 1e-6


def read(folder: Path) -> Samples:
    """Read a Pascal VOC dataset; masks (SegmentationObject) are left out, and a note says so."""
    samples: list[Sample] = []
    for split, part in _parts(folder):
        samples += _samples(part, split)
    if not any(path.suffix == ".xml" for path in folder.rglob("*.xml")):
        raise ConversionError(f"{folder} holds no Pascal VOC annotations (Annotations/*.xml)")
    masks = any(folder.rglob("SegmentationObject/*"))
    notes = ["masks (SegmentationObject) are not kept, only boxes"] if masks else []
    listed = folder / "classes.txt"
    known = []
    if listed.is_file():
        lines = listed.read_text("utf-8").splitlines()
        known = [line.strip() for line in lines if line.strip()]
    return Samples(order_classes(known, samples), samples, notes)


def _parts(folder: Path) -> list[tuple[str | None, Path]]:
    if (folder / "Annotations").is_dir():
        return [(None, folder)]
    parts: list[tuple[str | None, Path]] = [
        (split_name(part.name), part)
        for part in sorted(folder.iterdir())
        if part.is_dir() and any(part.rglob("*.xml"))
    ]
    return parts or [(None, folder)]


def _samples(folder: Path, split: str | None) -> list[Sample]:
    images = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder
    notes = folder / "Annotations" if (folder / "Annotations").is_dir() else images
    listed = _listed(folder / "ImageSets" / "Main") if split is None else {}
    samples = []
    described = 0
    for image in images_below(images):
        name = image.relative_to(images).as_posix()
        sample = Sample(image, name, split, (1, 1))
        sample.split = split or listed.get(sample.stem)
        path = notes / f"{sample.stem}.xml"
        if path.is_file():
            described += 1
            _describe(path, sample)
        else:
            sample.size = image_size(image)
        samples.append(sample)
    lost = sum(1 for _ in notes.rglob("*.xml")) - described
    if lost:
        raise ConversionError(f"{notes}: {lost} annotations have no image of their name")
    return samples


def _describe(path: Path, sample: Sample) -> None:
    """Read an annotation into `sample`."""
    try:
        root = ElementTree.fromstring(path.read_bytes())
        box_class = library("globox").BoundingBox
        sample.boxes = [box_class.from_xml(node) for node in root.iter("object")]
        size = int(root.findtext("size/width") or 0), int(root.findtext("size/height") or 0)
    except ImportError:
        raise
    except Exception as error:
        raise ConversionError(f"{path}: not a Pascal VOC annotation: {error}") from None
    sample.size = size if min(size) > 0 else image_size(sample.image)


def _listed(folder: Path) -> dict[str, str]:
    """Return the split of each image that ImageSets lists; the smaller lists win over unions."""
    found: dict[str, str] = {}
    for name in ("trainval", "test", "val", "train"):
        path = folder / f"{name}.txt"
        if path.is_file():
            for line in path.read_text("utf-8").splitlines():
                if words := line.split():
                    found[words[0]] = "train" if name == "trainval" else name
    return found


def write(samples: Samples, folder: Path) -> Path:
    """Write a Pascal VOC dataset into `folder`; returns the folder, which is what readers take."""
    globox = library("globox")
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {}
    taken: set[str] = set()
    for sample in samples.images:
        stem = sample.stem.replace("/", "_")
        if stem in taken:
            stem = f"{sample.split or 'image'}_{stem}"
        while stem in taken:
            stem += "_"
        taken.add(stem)
        name = stem + Path(sample.name).suffix
        place(sample.image, folder / "JPEGImages" / name)
        root = globox.Annotation(name, sample.size, sample.boxes).to_xml()
        _complete(root)
        text = ElementTree.tostring(root, encoding="unicode")
        (folder / "Annotations" / f"{stem}.xml").write_text(text, "utf-8")
        if sample.split:
            lists.setdefault(sample.split, []).append(stem)
    for split, stems in lists.items():
        path = folder / "ImageSets" / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem}\n" for stem in stems), "utf-8")
    text = "".join(f"{name}\n" for name in samples.classes)
    (folder / "classes.txt").write_text(text, "utf-8")
    return folder


def _complete(root: ElementTree.Element) -> None:
    """Add what readers of VOC expect, and write whole coordinates as the integers they are."""
    size = root.find("size")
    if size is not None:
        ElementTree.SubElement(size, "depth").text = "3"
    for node in root.iter("object"):
        for tag, text in (("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
            ElementTree.SubElement(node, tag).text = text
        for corner in node.iterfind("bndbox/*"):
            value = float(corner.text or 0)
            if abs(value - round(value)) < _WHOLE:
                corner.text = str(round(value))
