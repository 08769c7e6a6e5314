"""Owns one message in several languages, and how a template is filled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["DEFAULT_LANGUAGE", "LocalizedMessage", "fill", "language_chain"]

DEFAULT_LANGUAGE = "en"


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Formats a template with `str.format`; one that cannot be filled is returned as it is."""
    try:
        return template.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        return template


def language_chain(language: str | None, default: str = DEFAULT_LANGUAGE) -> list[str]:
    """The languages to try in order: `ko_KR.UTF-8` gives ko_KR.UTF-8, ko, then the default."""
    chain: list[str] = []
    if language:
        chain.append(language)
        chain.append(language.replace("-", "_").split("_")[0].split(".")[0].lower())
    chain.append(default)
    return list(dict.fromkeys(chain))


class LocalizedMessage:
    """A message with one template per language: `LocalizedMessage(en="Hi {who}", ko="...")`."""

    __slots__ = ("_templates",)

    def __init__(self, /, **templates: str) -> None:
        self._templates = dict(templates)

    def get(self, lang: str | None, default: str = DEFAULT_LANGUAGE) -> str:
        """The template of a language, else of the default one, else of the first; or `""`."""
        for language in language_chain(lang, default):
            if language in self._templates:
                return self._templates[language]
        return next(iter(self._templates.values()), "")

    def format(self, lang: str | None, default: str = DEFAULT_LANGUAGE, **values: Any) -> str:
        """The template of a language, filled; as it is when no values are given."""
        template = self.get(lang, default)
        return fill(template, values) if values else template

    @property
    def languages(self) -> list[str]:
        """The languages that there is a template for."""
        return list(self._templates)

    def __iter__(self) -> Iterator[str]:
        return iter(self._templates)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LocalizedMessage):
            return self._templates == other._templates
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._templates.items())))

    def __repr__(self) -> str:
        pairs = ", ".join(f"{lang}={text!r}" for lang, text in self._templates.items())
        return f"LocalizedMessage({pairs})"

    def __str__(self) -> str:
        return self.get(DEFAULT_LANGUAGE)
