"""Owns the Korean texts."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "PLUGIN_RUN_COMPLETE": "플러그인 실행이 완료되었습니다.",
}
