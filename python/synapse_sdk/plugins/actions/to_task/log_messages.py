"""Owns what annotating tasks says to the person who started it."""

from __future__ import annotations

from synapse_sdk.plugins.log_messages import LogMessageCode, register_log_messages
from synapse_sdk.plugins.models.logger import LogLevel


class ToTaskLogMessageCode(LogMessageCode):
    """Messages of annotating tasks."""

    TO_TASK_FOUND = ("TO_TASK_FOUND", LogLevel.INFO)
    TO_TASK_FAILED = ("TO_TASK_FAILED", LogLevel.WARNING)
    TO_TASK_COMPLETE = ("TO_TASK_COMPLETE", LogLevel.SUCCESS)


register_log_messages(
    {
        ToTaskLogMessageCode.TO_TASK_FOUND: {
            "en": "{count} tasks to annotate.",
            "ko": "처리할 작업 {count}개.",
        },
        ToTaskLogMessageCode.TO_TASK_FAILED: {
            "en": "Task {task} was not annotated: {reason}",
            "ko": "작업 {task} 처리 실패: {reason}",
        },
        ToTaskLogMessageCode.TO_TASK_COMPLETE: {
            "en": "{count} of {total} tasks annotated.",
            "ko": "작업 {total}개 중 {count}개 처리 완료.",
        },
    }
)
