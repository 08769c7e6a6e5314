"""Owns messages in several languages: templates, their translations and the current language."""

from __future__ import annotations

from synapse_sdk.i18n.message import DEFAULT_LANGUAGE, LocalizedMessage, fill, language_chain
from synapse_sdk.i18n.translator import (
    Translator,
    get_language,
    get_translator,
    register_translations,
    reset_translator,
    set_language,
    translate,
)

__all__ = [
    "DEFAULT_LANGUAGE",
    "LocalizedMessage",
    "Translator",
    "fill",
    "get_language",
    "get_translator",
    "language_chain",
    "register_translations",
    "reset_translator",
    "set_language",
    "translate",
]
