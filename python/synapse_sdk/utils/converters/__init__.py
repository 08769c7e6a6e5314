"""Owns converting datasets between YOLO, COCO and Pascal VOC, boxes by way of globox.

globox (extra `dataset`) reads and writes the annotations of one image and their geometry; here
are the folder layouts of the three formats, their splits and their class lists.
"""

from __future__ import annotations

from synapse_sdk.utils.converters.converter import (
    FORMATS,
    Converted,
    DatasetConverter,
    get_converter,
    normal_format,
)

__all__ = ["FORMATS", "Converted", "DatasetConverter", "get_converter", "normal_format"]
