"""The action: annotations in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError, field_validator
from synapse_sdk.plugins import BaseAction
from synapse_sdk.plugins.enums import PluginCategory

from .rules import RULES, Annotation


class ValidateParams(BaseModel):
    """What to check, and how strictly."""

    path: Path = Field(..., description="File of JSON lines, one annotation each")
    labels: list[str] = Field(default_factory=list, description="Allowed labels; empty for all")
    rules: list[str] = Field(default_factory=lambda: list(RULES), description="Rules to apply")
    limit: int = Field(default=100, ge=1, le=10_000, description="Findings to report at most")

    @field_validator("rules")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        if unknown := [name for name in names if name not in RULES]:
            raise ValueError(f"no such rule: {', '.join(unknown)}; there are {', '.join(RULES)}")
        return names


class Finding(BaseModel):
    """What is wrong; lines are counted from 1."""

    line: int
    rule: str
    message: str


class ValidateResult(BaseModel):
    """All that was found, in the order of the file."""

    passed: bool
    checked: int
    findings: list[Finding]


class ValidateAction(BaseAction[ValidateParams]):
    """Check every annotation against the rules."""

    action_name = "validate"
    category = PluginCategory.DATA_VALIDATION
    result_model = ValidateResult

    def execute(self) -> ValidateResult:
        """Check line after line."""
        lines = self.params.path.read_text(encoding="utf-8").splitlines()
        findings: list[Finding] = []
        checked = 0
        for number, line in enumerate(lines, 1):
            if line.strip():
                checked += 1
                findings += self._check(number, line)
            self.set_progress(number, len(lines), "validate")
        for finding in findings[: self.params.limit]:
            self.ctx.log_message(f"line {finding.line}: {finding.message}", "warning")
        self.set_metrics({"checked": checked, "findings": len(findings)}, step="validate")
        return ValidateResult(
            passed=not findings, checked=checked, findings=findings[: self.params.limit]
        )

    def _check(self, number: int, line: str) -> Iterator[Finding]:
        try:
            item = Annotation.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "line"
            yield Finding(line=number, rule="form", message=f"{place}: {first['msg']}")
            return
        for name in self.params.rules:
            for message in RULES[name](item, self.params.labels):
                yield Finding(line=number, rule=name, message=message)
