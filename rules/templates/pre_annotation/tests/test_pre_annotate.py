import json
from pathlib import Path
from typing import Any

import pytest
from synapse_sdk.plugins.errors import ExecutionError, ValidationError
from synapse_sdk.plugins.executors.local import LocalExecutor

from plugin.pre_annotate import PreAnnotateAction
from plugin.terms import find_entities

TERMS = {"Han": "name", "Han River": "river", "Seoul": "city"}


def found(text: str, ignore_case: bool = True) -> list[tuple[int, int, str]]:
    entities = find_entities(text, TERMS, ignore_case)
    return [(entity.start, entity.end, entity.label) for entity in entities]


def test_the_longest_term_wins_and_order_is_that_of_the_text() -> None:
    assert found("Seoul on the Han River") == [(0, 5, "city"), (13, 22, "river")]


def test_parts_of_words_are_no_terms() -> None:
    assert found("Handle with care") == []


def test_case_counts_when_it_is_meant_to() -> None:
    assert found("SEOUL") == [(0, 5, "city")]
    assert found("SEOUL", ignore_case=False) == []


def run(path: Path, lines: list[Any], **params: Any) -> Any:
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    given = {"path": path, "terms": TERMS, **params}
    return LocalExecutor(env={}).execute(action_cls=PreAnnotateAction, params=given)


def test_every_text_gets_a_proposal(tmp_path: Path) -> None:
    lines = [{"id": 1, "text": "Seoul"}, {"id": 2, "text": "nothing"}]
    result = run(tmp_path / "texts.jsonl", lines)
    assert [len(proposal["entities"]) for proposal in result["proposals"]] == [1, 0]
    assert result["entity_count"] == 1


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="Line 2"):
        run(tmp_path / "texts.jsonl", [{"id": 1, "text": "Seoul"}, {"id": 2}])


def test_there_must_be_terms(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="terms"):
        run(tmp_path / "texts.jsonl", [], terms={})
