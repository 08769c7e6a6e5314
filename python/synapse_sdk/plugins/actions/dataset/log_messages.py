"""Owns what dataset actions say to the person who started them."""

from __future__ import annotations

from synapse_sdk.plugins.log_messages import LogMessageCode, register_log_messages
from synapse_sdk.plugins.models.logger import LogLevel


class DatasetLogMessageCode(LogMessageCode):
    """Messages of a dataset action."""

    DATASET_DOWNLOADED = ("DATASET_DOWNLOADED", LogLevel.SUCCESS)
    DATASET_CONVERTED = ("DATASET_CONVERTED", LogLevel.SUCCESS)
    DATASET_NOTE = ("DATASET_NOTE", LogLevel.WARNING)


register_log_messages(
    {
        DatasetLogMessageCode.DATASET_DOWNLOADED: {
            "en": "Dataset {name}: {count} files in {path}.",
            "ko": "데이터셋 {name}: {path}에 {count}개 파일.",
        },
        DatasetLogMessageCode.DATASET_CONVERTED: {
            "en": "Dataset converted to {format}: {count} images in {path}.",
            "ko": "데이터셋을 {format} 형식으로 변환: {path}에 {count}개 이미지.",
        },
        DatasetLogMessageCode.DATASET_NOTE: {
            "en": "Converting the dataset: {note}",
            "ko": "데이터셋 변환: {note}",
        },
    }
)
