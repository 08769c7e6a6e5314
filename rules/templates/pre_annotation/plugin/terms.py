"""Known terms in texts. Put your model in its place."""

from __future__ import annotations

import re

from pydantic import BaseModel


class Entity(BaseModel):
    """A part of a text; `start` and `end` count characters, the end is not in it."""

    start: int
    end: int
    label: str
    text: str


def find_entities(text: str, terms: dict[str, str], ignore_case: bool) -> list[Entity]:
    """Return the terms in a text, in its order; of terms that overlap, the longest.

    Args:
        text: Where to look.
        terms: Label by term.
        ignore_case: Upper and lower case are the same.
    """
    longest_first = sorted(terms, key=len, reverse=True)
    pattern = r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")\b"
    labels = {_key(term, ignore_case): label for term, label in terms.items()}
    found = re.finditer(pattern, text, re.IGNORECASE if ignore_case else 0)
    return [
        Entity(
            start=match.start(),
            end=match.end(),
            label=labels[_key(match[0], ignore_case)],
            text=match[0],
        )
        for match in found
    ]


def _key(term: str, ignore_case: bool) -> str:
    return term.lower() if ignore_case else term
