"""Owns the table of translations and the current language of the process."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from synapse_sdk.i18n.message import DEFAULT_LANGUAGE, fill, language_chain

__all__ = [
    "Translator",
    "get_language",
    "get_translator",
    "register_translations",
    "reset_translator",
    "set_language",
    "translate",
]

SHIPPED = ("en", "ko")


class Translator:
    """Templates by language and key. All methods may be called from any thread."""

    def __init__(self, language: str | None = None) -> None:
        self._lock = threading.RLock()
        self._language = language
        self._tables: dict[str, dict[str, str]] = {
            name: dict(import_module(f"synapse_sdk.i18n.locales.{name}").MESSAGES)
            for name in SHIPPED
        }
        for name, templates in _permanent.items():
            self.register(name, templates)

    @property
    def language(self) -> str:
        """The language that was set, else SYNAPSE_LANGUAGE, else English."""
        return self._language or os.environ.get("SYNAPSE_LANGUAGE") or DEFAULT_LANGUAGE

    @language.setter
    def language(self, language: str | None) -> None:
        self._language = language

    @property
    def chosen(self) -> str | None:
        """The language that was set; None when the environment decides."""
        return self._language

    @property
    def languages(self) -> list[str]:
        """The languages that have any templates."""
        with self._lock:
            return list(self._tables)

    def register(self, language: str, templates: Mapping[str, str]) -> None:
        """Adds templates of a language; a known key is replaced."""
        with self._lock:
            self._tables.setdefault(language, {}).update(templates)

    def template(self, key: str, language: str | None = None) -> str | None:
        """The template in the language, else in English; None when there is neither."""
        with self._lock:
            for name in language_chain(language or self.language):
                template = self._tables.get(name, {}).get(key)
                if template is not None:
                    return template
        return None

    def translate(self, key: str, language: str | None = None, **values: Any) -> str:
        """The filled template; the key itself when there is none.

        A template with a missing value is returned unfilled.
        """
        return self.render(key, language, values)

    def render(self, key: str, language: str | None, values: Mapping[str, Any]) -> str:
        """As `translate`, with the values as a mapping: they may have any name, `key` too."""
        template = self.template(key, language)
        if template is None:
            return key
        return fill(template, values) if values else template


_lock = threading.Lock()
_translator: Translator | None = None
_permanent: dict[str, dict[str, str]] = {}


def get_translator() -> Translator:
    """The one translator of the process; made at first use."""
    global _translator
    with _lock:
        if _translator is None:
            _translator = Translator()
        return _translator


def reset_translator() -> None:
    """Forgets the translations registered and the language set; texts of message codes stay."""
    global _translator
    with _lock:
        _translator = None


def set_language(language: str | None) -> None:
    """Sets the language of the process; None leaves it to SYNAPSE_LANGUAGE again."""
    get_translator().language = language


def get_language() -> str:
    """The language that was set, else SYNAPSE_LANGUAGE, else `en`."""
    return get_translator().language


def register_translations(lang: str, templates: Mapping[str, str]) -> None:
    """Adds templates of a language: `{key: template}`."""
    get_translator().register(lang, templates)


def register_permanently(lang: str, templates: Mapping[str, str]) -> None:
    """Adds templates that outlive `reset_translator`: the code they belong to does so too."""
    translator = get_translator()
    with _lock:
        _permanent.setdefault(lang, {}).update(templates)
    translator.register(lang, templates)


def translate(key: str, language: str | None = None, **values: Any) -> str:
    """The template of a key in a language, filled; the key itself when there is none."""
    return get_translator().translate(key, language, **values)
