"""Owns what training says to the person who started it."""

from __future__ import annotations

from synapse_sdk.plugins.log_messages import LogMessageCode, register_log_messages
from synapse_sdk.plugins.models.logger import LogLevel


class TrainLogMessageCode(LogMessageCode):
    """Messages of a training."""

    TRAIN_DATASET_READY = ("TRAIN_DATASET_READY", LogLevel.INFO)
    TRAIN_DATASET_CONVERTED = ("TRAIN_DATASET_CONVERTED", LogLevel.INFO)
    TRAIN_CONVERT_NOTE = ("TRAIN_CONVERT_NOTE", LogLevel.WARNING)
    TRAIN_CHECKPOINT = ("TRAIN_CHECKPOINT", LogLevel.INFO)
    TRAIN_STARTED = ("TRAIN_STARTED", LogLevel.INFO)
    TRAIN_MODEL_UPLOADED = ("TRAIN_MODEL_UPLOADED", LogLevel.SUCCESS)
    TRAIN_MODEL_NOT_UPLOADED = ("TRAIN_MODEL_NOT_UPLOADED", LogLevel.WARNING)
    TRAIN_TRIAL = ("TRAIN_TRIAL", LogLevel.INFO)


register_log_messages(
    {
        TrainLogMessageCode.TRAIN_DATASET_READY: {
            "en": "Dataset {name} is ready ({count} files).",
            "ko": "데이터셋 {name} 준비 완료 ({count}개 파일).",
        },
        TrainLogMessageCode.TRAIN_DATASET_CONVERTED: {
            "en": "Dataset converted to {format} ({count} images).",
            "ko": "데이터셋을 {format} 형식으로 변환했습니다 ({count}개 이미지).",
        },
        TrainLogMessageCode.TRAIN_CONVERT_NOTE: {
            "en": "Converting the dataset: {note}",
            "ko": "데이터셋 변환: {note}",
        },
        TrainLogMessageCode.TRAIN_CHECKPOINT: {
            "en": "Starting from checkpoint {name}.",
            "ko": "체크포인트 {name}에서 시작합니다.",
        },
        TrainLogMessageCode.TRAIN_STARTED: {
            "en": "Training starts.",
            "ko": "학습을 시작합니다.",
        },
        TrainLogMessageCode.TRAIN_MODEL_UPLOADED: {
            "en": "Model uploaded: {id}.",
            "ko": "모델 업로드 완료: {id}.",
        },
        TrainLogMessageCode.TRAIN_MODEL_NOT_UPLOADED: {
            "en": "The model stays at {path}: there is no backend to upload it to.",
            "ko": "업로드할 백엔드가 없어 모델이 {path}에 남아 있습니다.",
        },
        TrainLogMessageCode.TRAIN_TRIAL: {
            "en": "Trial {number} of {total}.",
            "ko": "시도 {number}/{total}.",
        },
    }
)
