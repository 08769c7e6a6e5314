"""The action: texts in, proposals out."""

import json
from pathlib import Path

from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseAction
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.errors import ExecutionError

from .terms import Entity, find_entities


class PreAnnotateParams(BaseModel):
    """Which texts, and what to look for."""

    path: Path = Field(..., description="File of JSON lines with `id` and `text`")
    terms: dict[str, str] = Field(..., min_length=1, description="Label by term")
    ignore_case: bool = Field(default=True, description="Upper and lower case are the same")


class Proposal(BaseModel):
    """What is proposed for one text."""

    id: str
    entities: list[Entity]


class PreAnnotateResult(BaseModel):
    """The proposals, in the order of the texts."""

    proposals: list[Proposal]
    entity_count: int


class PreAnnotateAction(BaseAction[PreAnnotateParams]):
    """Propose entities in texts."""

    action_name = "pre_annotate"
    category = PluginCategory.PRE_ANNOTATION
    result_model = PreAnnotateResult

    def execute(self) -> PreAnnotateResult:
        """Read the texts, then look at each."""
        lines = self.params.path.read_text(encoding="utf-8").splitlines()
        proposals = []
        for number, line in enumerate(lines, 1):
            if line.strip():
                proposals.append(self._proposal(number, line))
            self.set_progress(number, len(lines), "pre_annotate")
        count = sum(len(proposal.entities) for proposal in proposals)
        self.set_metrics({"texts": len(proposals), "entities": count}, step="pre_annotate")
        return PreAnnotateResult(proposals=proposals, entity_count=count)

    def _proposal(self, number: int, line: str) -> Proposal:
        try:
            item = json.loads(line)
            name, text = str(item["id"]), item["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise ExecutionError(
                f"Line {number} is no JSON object with `id` and `text`", {"line": number}
            ) from error
        entities = find_entities(text, self.params.terms, self.params.ignore_case)
        return Proposal(id=name, entities=entities)
