"""Owns the semantic data types: what an action takes and what it gives.

`name` is what config.yaml has as `input_type` and `output_type`. Not to be confused with the
enum `synapse_sdk.plugins.enums.DataType`, the kind of media of a collection.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "COCODataset",
    "DMDataset",
    "DMv1Dataset",
    "DMv2Dataset",
    "DataType",
    "Dataset",
    "InferenceResults",
    "Model",
    "ModelWeights",
    "ONNXModel",
    "PascalVOCDataset",
    "Result",
    "TensorRTModel",
    "TestResults",
    "YOLODataset",
]


class DataType:
    """Base of semantic types. Subclasses set the three class attributes."""

    name: ClassVar[str] = "data"
    format: ClassVar[str | None] = None
    description: ClassVar[str] = "Any data"

    @classmethod
    def is_compatible_with(cls, other: type[DataType]) -> bool:
        """True when one of the two types is the other or derives from it."""
        return issubclass(cls, other) or issubclass(other, cls)


class Dataset(DataType):
    """A dataset of any format."""

    name = "dataset"
    description = "A dataset of any format"


class DMDataset(Dataset):
    """A dataset in the platform's own format."""

    name = "dm_dataset"
    format = "dm"
    description = "A dataset in the platform's own format"


class DMv1Dataset(DMDataset):
    """A dataset in version 1 of the platform's own format."""

    name = "dm_v1_dataset"
    format = "dm_v1"
    description = "A dataset in version 1 of the platform's own format"


class DMv2Dataset(DMDataset):
    """A dataset in version 2 of the platform's own format."""

    name = "dm_v2_dataset"
    format = "dm_v2"
    description = "A dataset in version 2 of the platform's own format"


class YOLODataset(Dataset):
    """Images and label files in YOLO's layout, described by a dataset.yaml."""

    name = "yolo_dataset"
    format = "yolo"
    description = "A dataset in YOLO's layout"


class COCODataset(Dataset):
    """Images and COCO annotation JSON."""

    name = "coco_dataset"
    format = "coco"
    description = "A dataset with COCO annotations"


class PascalVOCDataset(Dataset):
    """Images and Pascal VOC annotation XML."""

    name = "pascal_voc_dataset"
    format = "pascal"
    description = "A dataset with Pascal VOC annotations"


class Model(DataType):
    """A model of any format."""

    name = "model"
    description = "A model of any format"


class ModelWeights(Model):
    """Trained weights."""

    name = "model_weights"
    format = "weights"
    description = "Trained weights of a model"


class ONNXModel(Model):
    """A model in ONNX format."""

    name = "onnx_model"
    format = "onnx"
    description = "A model in ONNX format"


class TensorRTModel(Model):
    """A TensorRT engine."""

    name = "tensorrt_model"
    format = "tensorrt"
    description = "A TensorRT engine"


class Result(DataType):
    """The result of an action."""

    name = "result"
    description = "The result of an action"


class TestResults(Result):
    """Metrics of a test."""

    __test__: ClassVar[bool] = False  # pytest collects classes called Test*

    name = "test_results"
    format = "metrics"
    description = "Metrics of a test"


class InferenceResults(Result):
    """Predictions of a model."""

    name = "inference_results"
    format = "predictions"
    description = "Predictions of a model"
