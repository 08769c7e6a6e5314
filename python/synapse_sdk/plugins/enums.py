"""Owns the fixed vocabularies of plugin configurations. All are string enums."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from synapse_sdk._compat import StrEnum

__all__ = [
    "ACTION_DEFAULT_METHODS",
    "AnnotationCategory",
    "AnnotationTool",
    "AnnotationType",
    "ContainerKind",
    "DataType",
    "ExecutionMode",
    "MetricsCategory",
    "PackageManager",
    "PluginCategory",
    "RunMethod",
    "SmartToolType",
]


class PluginCategory(StrEnum):
    """What a plugin is for."""

    NEURAL_NET = "neural_net"
    EXPORT = "export"
    UPLOAD = "upload"
    SMART_TOOL = "smart_tool"
    POST_ANNOTATION = "post_annotation"
    PRE_ANNOTATION = "pre_annotation"
    DATA_VALIDATION = "data_validation"
    CUSTOM = "custom"


class RunMethod(StrEnum):
    """How the platform runs an action: `method` in config.yaml."""

    JOB = "job"
    TASK = "task"
    SERVE = "serve"
    RESTAPI = "restapi"


class ExecutionMode(StrEnum):
    """Where `run_plugin` runs an action."""

    LOCAL = "local"
    TASK = "task"
    JOB = "job"


class PackageManager(StrEnum):
    """What installs a plugin's requirements."""

    PIP = "pip"
    UV = "uv"


class MetricsCategory(StrEnum):
    """Which part of the data metrics are about."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class DataType(StrEnum):
    """The kind of media of a data collection: `data_type` in config.yaml."""

    IMAGE = "image"
    TEXT = "text"
    VIDEO = "video"
    PCD = "pcd"
    AUDIO = "audio"
    DATA = "data"


class AnnotationCategory(StrEnum):
    """The kind of media that is annotated."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    PCD = "pcd"
    PROMPT = "prompt"
    TIME_SERIES = "time_series"


class AnnotationType(StrEnum):
    """The shape of an annotation."""

    BBOX = "bbox"
    POLYGON = "polygon"
    POINT = "point"
    LINE = "line"
    MASK = "mask"
    LABEL = "label"


class AnnotationTool(StrEnum):
    """The platform's annotation tools, spelled as the platform spells them."""

    BOUNDING_BOX = "bounding_box"
    POLYGON = "polygon"
    POLYLINE = "polyline"
    KEYPOINT = "keypoint"
    SEGMENTATION = "segmentation"
    RELATION = "relation"
    CLASSIFICATION = "classification"
    ANNOTATION_GROUP = "annotationGroup"
    NAMED_ENTITY = "named_entity"
    BOUNDING_BOX_3D = "3d_bounding_box"
    SEGMENTATION_3D = "3d_segmentation"
    PROMPT = "prompt"
    ANSWER = "answer"
    TIME_RANGE = "time_range"


class SmartToolType(StrEnum):
    """How a smart tool works with the annotator."""

    INTERACTIVE = "interactive"
    AUTOMATIC = "automatic"
    SEMI_AUTOMATIC = "semi_automatic"


class ContainerKind(StrEnum):
    """What a Ray runtime environment's container is run by."""

    DOCKER = "docker"
    PODMAN = "podman"


ACTION_DEFAULT_METHODS: Mapping[str, RunMethod] = MappingProxyType(
    {
        "upload": RunMethod.JOB,
        "export": RunMethod.JOB,
        "download": RunMethod.JOB,
        "convert": RunMethod.JOB,
        "train": RunMethod.JOB,
        "test": RunMethod.JOB,
        "deployment": RunMethod.JOB,
        "to_task": RunMethod.JOB,
        "inference": RunMethod.SERVE,
        "auto_label": RunMethod.TASK,
    }
)
"""The method of an action with a well-known name."""
