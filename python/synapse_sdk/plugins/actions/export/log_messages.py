"""Owns what exports say to the person who started them."""

from __future__ import annotations

from synapse_sdk.plugins.log_messages import LogMessageCode, register_log_messages
from synapse_sdk.plugins.models.logger import LogLevel


class ExportLogMessageCode(LogMessageCode):
    """Messages of an export."""

    EXPORT_FOUND = ("EXPORT_FOUND", LogLevel.INFO)
    EXPORT_ITEM_FAILED = ("EXPORT_ITEM_FAILED", LogLevel.WARNING)
    EXPORT_COMPLETE = ("EXPORT_COMPLETE", LogLevel.SUCCESS)
    EXPORT_PARTIAL = ("EXPORT_PARTIAL", LogLevel.WARNING)


register_log_messages(
    {
        ExportLogMessageCode.EXPORT_FOUND: {
            "en": "{count} items to export.",
            "ko": "내보낼 항목 {count}개.",
        },
        ExportLogMessageCode.EXPORT_ITEM_FAILED: {
            "en": "Item {id} was not exported: {reason}",
            "ko": "항목 {id}을(를) 내보내지 못했습니다: {reason}",
        },
        ExportLogMessageCode.EXPORT_COMPLETE: {
            "en": "{count} items exported to {path}.",
            "ko": "{path}에 {count}개 항목을 내보냈습니다.",
        },
        ExportLogMessageCode.EXPORT_PARTIAL: {
            "en": "{count} items exported to {path}, {failed} failed.",
            "ko": "{path}에 {count}개 항목을 내보냈고 {failed}개는 실패했습니다.",
        },
    }
)
