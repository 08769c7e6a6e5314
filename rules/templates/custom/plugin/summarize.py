"""The action: a table in, a summary out."""

import csv
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel, Field
from synapse_sdk.plugins import BaseAction
from synapse_sdk.plugins.enums import PluginCategory
from synapse_sdk.plugins.errors import ExecutionError


class SummarizeParams(BaseModel):
    """Which table, and which of its columns."""

    path: Path = Field(..., description="CSV file with a heading")
    columns: list[str] = Field(
        default_factory=list, description="Columns to summarise; empty for all that hold numbers"
    )
    digits: int = Field(default=3, ge=0, le=10, description="Digits after the point")


class Summary(BaseModel):
    """One column; `missing` counts cells that hold no number."""

    column: str
    count: int
    missing: int
    low: float
    high: float
    mean: float


class SummarizeResult(BaseModel):
    """The columns, in the order of the table."""

    rows: int
    columns: list[Summary]


def numbers(cells: list[str]) -> list[float]:
    """Return the cells that hold a number, as one."""
    found = []
    for cell in cells:
        try:
            found.append(float(cell))
        except ValueError:
            continue
    return found


class SummarizeAction(BaseAction[SummarizeParams]):
    """Summarise the columns of a table."""

    action_name = "summarize"
    category = PluginCategory.CUSTOM
    result_model = SummarizeResult

    def execute(self) -> SummarizeResult:
        """Read the table, then look at one column after the other."""
        with self.params.path.open(newline="", encoding="utf-8") as file:
            heading, *rows = list(csv.reader(file)) or [[]]
        wanted = self.params.columns or heading
        if unknown := [name for name in wanted if name not in heading]:
            raise ExecutionError(
                f"The table has no column {', '.join(unknown)}", details={"columns": heading}
            )
        summaries = []
        for number, name in enumerate(wanted, 1):
            index = heading.index(name)
            cells = [row[index] for row in rows if index < len(row)]
            summary = self._summary(name, cells, len(rows))
            if summary is not None:
                summaries.append(summary)
            self.set_progress(number, len(wanted), "summarize")
        self.ctx.log_message(f"{len(summaries)} of {len(heading)} columns hold numbers", "success")
        return SummarizeResult(rows=len(rows), columns=summaries)

    def _summary(self, name: str, cells: list[str], rows: int) -> Summary | None:
        found = numbers(cells)
        if not found:
            return None
        low, high, mean = (
            round(value, self.params.digits) for value in (min(found), max(found), fmean(found))
        )
        missing = rows - len(found)
        return Summary(
            column=name, count=len(found), missing=missing, low=low, high=high, mean=mean
        )
