"""The tables of names: enums, semantic types, errors, result models."""

from __future__ import annotations

import pickle
from enum import Enum
from typing import Any

import pytest
from pydantic import ValidationError as PydanticError

from synapse_sdk.plugins import enums, errors, schemas, types
from synapse_sdk.plugins.models.logger import LogLevel

VALUES = {
    enums.PluginCategory: "neural_net export upload smart_tool post_annotation pre_annotation "
    "data_validation custom",
    enums.RunMethod: "job task serve restapi",
    enums.ExecutionMode: "local task job",
    enums.PackageManager: "pip uv",
    enums.MetricsCategory: "train validation test",
    enums.DataType: "image text video pcd audio data",
    enums.AnnotationCategory: "image video audio text pcd prompt time_series",
    enums.AnnotationType: "bbox polygon point line mask label",
    enums.AnnotationTool: "bounding_box polygon polyline keypoint segmentation relation "
    "classification annotationGroup named_entity 3d_bounding_box 3d_segmentation prompt answer "
    "time_range",
    enums.SmartToolType: "interactive automatic semi_automatic",
    LogLevel: "debug info success warning danger error critical",
}


@pytest.mark.parametrize(("enum", "values"), VALUES.items(), ids=lambda value: str(value)[:30])
def test_enum_values(enum: Any, values: str) -> None:
    assert [member.value for member in enum] == values.split()
    for member in enum:
        assert isinstance(member, str)
        assert isinstance(member, Enum)
        assert str(member) == f"{member}" == "%s" % member == member.value  # noqa: UP031
        assert enum(member.value) is member
        assert f"{member:>20}" == f"{member.value:>20}"


def test_default_methods() -> None:
    assert {action: str(method) for action, method in enums.ACTION_DEFAULT_METHODS.items()} == {
        "upload": "job",
        "export": "job",
        "download": "job",
        "convert": "job",
        "train": "job",
        "test": "job",
        "deployment": "job",
        "to_task": "job",
        "inference": "serve",
        "auto_label": "task",
    }


def test_local_is_no_method() -> None:
    with pytest.raises(ValueError, match="local"):
        enums.RunMethod("local")


def test_log_levels_are_found_by_name() -> None:
    assert LogLevel("INFO") is LogLevel.INFO
    assert LogLevel(" Danger ") is LogLevel.DANGER
    with pytest.raises(ValueError) as caught:
        LogLevel("loud")
    assert str(caught.value) == (
        "unknown log level 'loud': the levels are "
        "debug, info, success, warning, danger, error, critical"
    )
    with pytest.raises(ValueError, match="unknown log level 3"):
        LogLevel(3)


TYPES = [
    ("DataType", "data", None, None),
    ("Dataset", "dataset", None, "DataType"),
    ("DMDataset", "dm_dataset", "dm", "Dataset"),
    ("DMv1Dataset", "dm_v1_dataset", "dm_v1", "DMDataset"),
    ("DMv2Dataset", "dm_v2_dataset", "dm_v2", "DMDataset"),
    ("YOLODataset", "yolo_dataset", "yolo", "Dataset"),
    ("COCODataset", "coco_dataset", "coco", "Dataset"),
    ("PascalVOCDataset", "pascal_voc_dataset", "pascal", "Dataset"),
    ("Model", "model", None, "DataType"),
    ("ModelWeights", "model_weights", "weights", "Model"),
    ("ONNXModel", "onnx_model", "onnx", "Model"),
    ("TensorRTModel", "tensorrt_model", "tensorrt", "Model"),
    ("Result", "result", None, "DataType"),
    ("TestResults", "test_results", "metrics", "Result"),
    ("InferenceResults", "inference_results", "predictions", "Result"),
]


@pytest.mark.parametrize(("class_name", "name", "format", "parent"), TYPES)
def test_semantic_types(class_name: str, name: str, format: str | None, parent: str | None) -> None:
    cls = getattr(types, class_name)
    assert cls.name == name
    assert cls.format == format
    assert cls.description
    assert parent is None or cls.__bases__ == (getattr(types, parent),)


def test_no_semantic_type_is_left_out() -> None:
    assert sorted(types.__all__) == sorted(row[0] for row in TYPES)


def test_compatibility_goes_both_ways() -> None:
    assert types.YOLODataset.is_compatible_with(types.Dataset)
    assert types.Dataset.is_compatible_with(types.YOLODataset)
    assert types.YOLODataset.is_compatible_with(types.YOLODataset)
    assert not types.YOLODataset.is_compatible_with(types.COCODataset)
    assert not types.Model.is_compatible_with(types.Dataset)


def test_a_plugins_own_type() -> None:
    class Tiles(types.Dataset):
        name = "tiles"
        format = "tiles-v1"
        description = "Map tiles"

    assert Tiles.is_compatible_with(types.Dataset)
    assert not Tiles.is_compatible_with(types.Model)


ERRORS = [
    "ValidationError",
    "ActionNotFoundError",
    "ExecutionError",
    "ModelLoadError",
    "PluginUploadError",
    "ArchiveError",
    "BuildError",
    "ChecksumMismatchError",
    "PluginRunError",
    "GitHubArchiveError",
]


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    cls = getattr(errors, name)
    assert cls.__bases__ == (errors.PluginError,)
    error = cls("it failed", details={"a": 1})
    assert (error.message, error.details, str(error)) == ("it failed", {"a": 1}, "it failed")
    assert cls("it failed").details is None
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.details) == (cls, "it failed", {"a": 1})


def test_plugin_error_is_an_exception() -> None:
    assert errors.PluginError.__bases__ == (Exception,)
    assert sorted([*ERRORS, "PluginError"]) == errors.__all__


RESULTS = [
    ("WeightsResult", {"weights_path": "w"}, {"checkpoint_paths": [], "format": "pt"}),
    ("MetricsResult", {"metrics": {"a": 1.0}}, {"category": "train"}),
    (
        "TrainResult",
        {"weights_path": "w", "final_epoch": 3},
        {"best_epoch": None, "train_metrics": {}, "val_metrics": {}},
    ),
    ("InferenceResult", {}, {"predictions": [], "processed_count": 0, "output_path": None}),
    (
        "ExportResult",
        {"output_path": "o", "exported_count": 1, "format": "coco"},
        {"file_size_bytes": None},
    ),
    ("UploadResult", {"uploaded_count": 1}, {"remote_path": None, "status": "completed"}),
]


@pytest.mark.parametrize(("name", "required", "defaults"), RESULTS)
def test_result_models(name: str, required: dict[str, Any], defaults: dict[str, Any]) -> None:
    model = getattr(schemas, name)
    assert model(**required).model_dump() == {**required, **defaults}
    for field in required:
        with pytest.raises(PydanticError):
            model(**{key: value for key, value in required.items() if key != field})
