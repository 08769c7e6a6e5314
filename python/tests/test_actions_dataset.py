"""Datasets: converting between the formats and back, and the action around it."""

from __future__ import annotations

import json
import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from synapse_sdk.plugins.actions.dataset import DatasetAction, DatasetParams, DatasetResult
from synapse_sdk.plugins.actions.train import BaseTrainAction, BaseTrainParams
from synapse_sdk.plugins.errors import PluginError
from synapse_sdk.utils.converters import Converted, get_converter, normal_format
from tests.action_run import backend_fixture, bare_ctx, client_fixture, ctx_fixture, png  # noqa: F401

globox = pytest.importorskip("globox")
pytest.importorskip("yaml")

YOLO: dict[str, bytes] = {
    "dataset.yaml": "train: images/train\nval: images/val\nnames: {0: cat, 1: 큰 dog}\n".encode(),
    "images/train/a.png": png(100, 50),
    "images/train/deep/b.png": png(40, 40),
    "images/val/c.png": png(64, 32),
    "labels/train/a.txt": b"1 0.5 0.5 0.2 0.4\n\n0 0.25 0.5 0.5 1.0\n",
    "labels/train/deep/b.txt": b"0 0.5 0.5 0.25 0.25\n",
}


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def coco_of(name: str) -> bytes:
    """Return COCO annotations of one image without objects."""
    image = {"id": 1, "file_name": name}
    return json.dumps({"images": [image], "annotations": [], "categories": []}).encode()


def boxes(folder: Path) -> dict[str, list[tuple[str, list[float]]]]:
    """Return the boxes of a YOLO dataset by image, with class names."""
    import yaml

    names = yaml.safe_load((folder / "dataset.yaml").read_text("utf-8"))["names"]
    found = {}
    for image in sorted((folder / "images").rglob("*.png")):
        name = image.relative_to(folder / "images").as_posix()
        label = folder / "labels" / Path(name).with_suffix(".txt")
        rows = []
        for line in label.read_text().splitlines() if label.exists() else []:
            if line.strip():
                number, *values = line.split()
                rows.append((names[int(number)], [round(float(value), 6) for value in values]))
        found[name] = sorted(rows)
    return found


EXPECTED = {
    "train/a.png": [("cat", [0.25, 0.5, 0.5, 1.0]), ("큰 dog", [0.5, 0.5, 0.2, 0.4])],
    "train/deep/b.png": [("cat", [0.5, 0.5, 0.25, 0.25])],
    "val/c.png": [],
}


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    return lay(tmp_path / "yolo", YOLO)


@pytest.mark.parametrize("middle", ["coco", "pascal_voc"])
def test_there_and_back(yolo, tmp_path, middle):
    there = get_converter("yolo", middle).convert(yolo, tmp_path / "there")
    back = get_converter(middle, "yolo").convert(there.path, tmp_path / "back")
    assert there.classes == back.classes == ["cat", "큰 dog"]
    assert there.count == back.count == 3 and there.notes == back.notes == []
    names = {
        name.replace("deep/", "deep_") if middle == "pascal_voc" else name for name in EXPECTED
    }
    found = boxes(back.path)
    assert set(found) == names
    for name, rows in EXPECTED.items():
        short = name.replace("deep/", "deep_") if middle == "pascal_voc" else name
        assert found[short] == rows
    assert back.config_path == tmp_path / "back/dataset.yaml"


def test_coco_and_voc_to_each_other(yolo, tmp_path):
    coco = get_converter("yolo", "coco").convert(yolo, tmp_path / "coco")
    voc = get_converter("coco", "voc").convert(coco.path, tmp_path / "voc")
    again = get_converter("pascal", "coco").convert(voc.path, tmp_path / "again")
    first = json.loads((coco.path / "annotations/instances_train.json").read_text("utf-8"))
    second = json.loads((again.path / "annotations/instances_train.json").read_text("utf-8"))
    for content in (first, second):
        assert [row["name"] for row in content["categories"]] == ["cat", "큰 dog"]
        assert [row["id"] for row in content["categories"]] == [1, 2]
        assert min(row["id"] for row in content["annotations"]) == 1
        assert sorted(row["bbox"] for row in content["annotations"]) == [
            [0.0, 0.0, 50.0, 50.0],
            [15.0, 15.0, 10.0, 10.0],
            [40.0, 15.0, 20.0, 20.0],
        ]


def test_voc_as_its_readers_want_it(yolo, tmp_path):
    voc = get_converter("yolo", "pascal_voc").convert(yolo, tmp_path / "voc").path
    root = ElementTree.parse(voc / "Annotations/a.xml").getroot()
    assert root.findtext("filename") == "a.png"
    assert [root.findtext(f"size/{tag}") for tag in ("width", "height", "depth")] == [
        "100",
        "50",
        "3",
    ]
    corner = root.find("object/bndbox")
    assert corner is not None and [node.text for node in corner] == ["40", "15", "60", "35"]
    assert root.findtext("object/difficult") == "0"
    assert (voc / "ImageSets/Main/train.txt").read_text() == "a\ndeep_b\n"
    assert (voc / "JPEGImages/a.png").read_bytes() == png(100, 50)


def test_other_layouts_of_yolo(tmp_path):
    flat = {
        "classes.txt": b"cat\ndog\n",
        "images/a.png": png(10, 10),
        "labels/a.txt": b"1 0.5 0.5 0.2 0.2 0.9\n",
    }
    done = get_converter("yolo", "coco").convert(lay(tmp_path / "flat", flat), tmp_path / "c")
    content = json.loads((done.path / "annotations/instances.json").read_text())
    assert content["annotations"][0]["score"] == 0.9
    assert content["annotations"][0]["category_id"] == 2
    parts = {
        "data.yaml": b"train: ../train/images\nval: ../valid/images\nnames: ['cat']\n",
        "train/images/a.png": png(10, 10),
        "train/labels/a.txt": b"0 0.5 0.5 0.2 0.2\n",
        "valid/images/a.png": png(20, 10),
    }
    done = get_converter("yolo", "pascal_voc").convert(
        lay(tmp_path / "parts", parts), tmp_path / "v"
    )
    assert done.count == 2
    assert (done.path / "ImageSets/Main/val.txt").read_text() == "val_a\n"


def test_what_cannot_be_kept_is_said(tmp_path):
    files = {
        "data.yaml": b"names: [cat]\n",
        "images/a.png": png(10, 10),
        "labels/a.txt": b"0 0.1 0.1 0.5 0.1 0.5 0.4\n",
    }
    done = get_converter("yolo", "coco").convert(lay(tmp_path / "y", files), tmp_path / "c")
    assert done.notes == ["1 polygons became the boxes around them"]
    content = json.loads((done.path / "annotations/instances.json").read_text())
    assert content["annotations"][0]["bbox"] == pytest.approx([1, 1, 4, 3])
    content["annotations"][0]["segmentation"] = [[1, 1, 5, 1, 5, 4]]
    (done.path / "annotations/instances.json").write_text(json.dumps(content))
    again = get_converter("coco", "yolo").convert(done.path, tmp_path / "y2")
    assert again.notes == ["1 objects have masks, polygons or keypoints; only boxes are kept"]


@pytest.mark.parametrize(
    ("form", "files", "words"),
    [
        ("yolo", {"images/a.png": png(9, 9), "labels/a.txt": b"0 x 1 1 1\n"}, "a.txt:1"),
        ("yolo", {"images/a.png": b"no image"}, "a.png: its size"),
        ("yolo", {"readme.txt": b""}, "no images"),
        ("yolo", {"data.yaml": b"names: [\n", "images/a.png": png(9, 9)}, "data.yaml"),
        ("coco", {"annotations/a.json": b"{"}, "a.json: not JSON"),
        ("coco", {"x.txt": b""}, "no COCO annotations"),
        (
            "coco",
            {"a.json": coco_of("../x")},
            "outside of the dataset",
        ),
        (
            "coco",
            {"a.json": coco_of("x.png")},
            "'x.png' is not there",
        ),
        ("pascal_voc", {"JPEGImages/a.png": png(9, 9)}, "no Pascal VOC"),
        (
            "pascal_voc",
            {"JPEGImages/a.png": png(9, 9), "Annotations/a.xml": b"<annotation>"},
            "a.xml: not a Pascal",
        ),
        (
            "pascal_voc",
            {"JPEGImages/a.png": png(9, 9), "Annotations/b.xml": b"<annotation/>"},
            "1 annotations have no image",
        ),
    ],
)
def test_broken_datasets_name_the_file_and_leave_nothing(tmp_path, form, files, words):
    target = "yolo" if form != "yolo" else "coco"
    lay(tmp_path / "in", files)
    with pytest.raises(ValueError) as caught:
        get_converter(form, target).convert(tmp_path / "in", tmp_path / "out")
    assert words in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_formats_that_are_not_converted():
    assert normal_format("Pascal-VOC") == normal_format("pascal") == "pascal_voc"
    with pytest.raises(ValueError, match="dm_v2 cannot be converted yet"):
        get_converter("dm_v2", "yolo")
    with pytest.raises(ValueError, match="known: yolo, coco, pascal_voc"):
        get_converter("yolo", "kitti")
    with pytest.raises(ValueError, match="already"):
        get_converter("voc", "pascal")


def test_without_the_extra_it_says_what_to_install(yolo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "globox", None)
    monkeypatch.setitem(sys.modules, "globox.image_utils", None)
    with pytest.raises(ImportError, match=r"synapse-sdk\[dataset\]"):
        get_converter("yolo", "coco").convert(yolo, tmp_path / "out")


# The action.


def convert(run: Any, **params: Any) -> DatasetResult:
    result = DatasetAction.dispatch({"operation": "convert", **params}, run)
    assert isinstance(result, DatasetResult)
    return result


def test_converting_beside_the_source_and_once(yolo, tmp_path):
    run = bare_ctx()
    wanted = {"path": str(yolo), "source_format": "yolo", "target_format": "coco"}
    first = convert(run, **wanted)
    assert first.path == tmp_path / "yolo_coco" and first.count == 3
    assert first.source_path == yolo and first.is_categorized
    assert first.data_path == first.config_path == first.path / "annotations/instances_train.json"
    (first.path / "seen").touch()
    assert convert(run, **wanted) == first
    assert (first.path / "seen").exists()
    os.utime(yolo / "labels/train/a.txt", (1, 1))
    assert convert(run, **wanted) == first
    assert not (first.path / "seen").exists()


def test_an_own_output_folder_and_what_is_in_the_way(yolo, tmp_path):
    wanted = {"path": yolo, "source_format": "yolo", "target_format": "pascal_voc"}
    assert convert(bare_ctx(), **wanted, output_dir=tmp_path / "out").path == tmp_path / "out"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(PluginError, match="holds other files"):
        convert(bare_ctx(), **wanted, output_dir=tmp_path / "mine")
    (yolo / ".complete").write_text("{}")
    for own in (yolo, tmp_path):
        with pytest.raises(PluginError, match="holds the dataset itself"):
            convert(bare_ctx(), **wanted, output_dir=own)
    assert (tmp_path / "mine/thesis.txt").exists()


def test_two_that_convert_the_same_meet(yolo, tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from synapse_sdk.plugins.actions.dataset import conversion

    made: list[str] = []
    original = conversion.get_converter

    def counted(source: str, target: str) -> Any:
        made.append(target)
        return original(source, target)

    monkeypatch.setattr(conversion, "get_converter", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: conversion.convert_dataset(yolo, "yolo", "coco"), range(4)))
    assert made == ["coco"]
    assert all(one == found[0] for one in found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["yolo", "yolo_coco"]


def test_what_convert_refuses(tmp_path):
    with pytest.raises(ValueError, match="path is required for convert operation"):
        convert(bare_ctx())
    with pytest.raises(FileNotFoundError, match=r"Dataset path does not exist: .*none"):
        convert(bare_ctx(), path=str(tmp_path / "none"))
    (tmp_path / "dm").mkdir()
    with pytest.raises(PluginError, match="dm_v2 cannot be converted yet"):
        convert(bare_ctx(), path=str(tmp_path / "dm"))


def test_the_platforms_format_is_passed_on_as_it_is(tmp_path):
    lay(tmp_path / "dm", {"a.json": b"{}"})
    done = convert(bare_ctx(), path=tmp_path / "dm", target_format="dm_v2")
    assert (done.path, done.format, done.count) == (tmp_path / "dm", "dm_v2", 1)


def test_downloading(backend, ctx, tmp_path):
    rows = {name: (None, content) for name, content in YOLO.items()}
    backend.add_dataset(7, rows)
    done = DatasetAction.dispatch({"dataset": 7}, ctx)
    assert (done.format, done.count) == ("yolo", 6)
    assert done.data_path == done.path / "dataset.yaml"
    assert ctx.logger.progress[-1] == ("download", 6, 6)
    own = DatasetAction.dispatch({"dataset": 7, "output_dir": str(tmp_path / "own")}, ctx)
    assert own.path == tmp_path / "own"
    (own.path / "labels/train/a.txt").write_text("")  # a copy, not the cache's bytes
    assert (done.path / "labels/train/a.txt").read_bytes() == YOLO["labels/train/a.txt"]
    with pytest.raises(ValueError, match="dataset is required"):
        DatasetAction.dispatch({}, ctx)
    assert DatasetParams().target_format == "yolo"


def test_training_converts_its_dataset(backend, ctx, yolo, tmp_path):
    coco = get_converter("yolo", "coco").convert(yolo, tmp_path / "coco").path
    files = {p.relative_to(coco).as_posix(): p.read_bytes() for p in coco.rglob("*") if p.is_file()}
    rows = {name: ("train", content) for name, content in files.items()}
    backend.add_dataset(7, rows, format="coco")
    seen: list[Path] = []

    class Train(BaseTrainAction[BaseTrainParams]):
        target_format = "yolo"

        def execute(self, data_path, checkpoint):
            seen.append(data_path)

    result = Train.dispatch({"dataset": 7}, ctx)
    assert result["steps_executed"] == 3
    assert seen[0].name == "dataset.yaml" and boxes(seen[0].parent) == EXPECTED
    backend.add_dataset(8, rows, format="dm_v2")
    with pytest.raises(RuntimeError, match="Step 'convert' failed: dm_v2 cannot be converted yet"):
        Train.dispatch({"dataset": 8}, ctx)


def test_the_result_of_a_conversion_is_plain(yolo, tmp_path):
    done = get_converter("yolo", "coco").convert(yolo, tmp_path / "c")
    assert isinstance(done, Converted) and done.format == "coco"
    with pytest.raises(FileExistsError):
        get_converter("yolo", "coco").convert(yolo, tmp_path / "c")
