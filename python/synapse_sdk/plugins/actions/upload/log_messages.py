"""Owns what uploads say to the person who started them."""

from __future__ import annotations

from synapse_sdk.plugins.log_messages import LogMessageCode, register_log_messages
from synapse_sdk.plugins.models.logger import LogLevel


class UploadLogMessageCode(LogMessageCode):
    """Messages of an upload."""

    UPLOAD_FOUND = ("UPLOAD_FOUND", LogLevel.INFO)
    UPLOAD_FILE_LOST = ("UPLOAD_FILE_LOST", LogLevel.WARNING)
    UPLOAD_COMPLETE = ("UPLOAD_COMPLETE", LogLevel.SUCCESS)


register_log_messages(
    {
        UploadLogMessageCode.UPLOAD_FOUND: {
            "en": "{count} data units found.",
            "ko": "데이터 유닛 {count}개를 찾았습니다.",
        },
        UploadLogMessageCode.UPLOAD_FILE_LOST: {
            "en": "{file} is not uploaded: {reason}",
            "ko": "{file} 업로드 안 됨: {reason}",
        },
        UploadLogMessageCode.UPLOAD_COMPLETE: {
            "en": "{files} files uploaded, {units} data units made.",
            "ko": "파일 {files}개 업로드, 데이터 유닛 {units}개 생성.",
        },
    }
)
