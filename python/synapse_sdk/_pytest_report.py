"""Owns the count of tests that `synapse plugin test` asks pytest for.

Loaded with `-p`. It writes one JSON document to the file that the environment names: how many tests
ended in which way, and of those that failed which, and why in a line.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

VARIABLE = "SYNAPSE_TEST_REPORT"
# A message longer than this says no more in a list.
LONGEST = 300


class Report:
    """Counts the tests of one session.

    Args:
        path: The file that the document is written to when the session ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.started = time.monotonic()
        self.counts = dict.fromkeys(
            ("passed", "failed", "errors", "skipped", "xfailed", "xpassed"), 0
        )
        self.failures: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test by its call, or by what kept it from being called or cleaned up after."""
        expected = hasattr(report, "wasxfail")
        if report.when == "call" and report.passed:
            self.counts["xpassed" if expected else "passed"] += 1
        elif report.skipped:
            self.counts["xfailed" if expected else "skipped"] += 1
        elif report.failed:
            self.counts["failed" if report.when == "call" else "errors"] += 1
            self._failed(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a file that could not be collected."""
        if report.failed:
            self.counts["errors"] += 1
            self._failed(report)

    def _failed(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash is not None else report.longreprtext
        lines = [line for line in message.splitlines() if line.strip()]
        # Without a crash, as of a file that cannot be collected, the last line says it.
        line = lines[0 if crash is not None else -1] if lines else ""
        self.failures.append({"test": report.nodeid, "message": line.strip()[:LONGEST]})

    def pytest_sessionfinish(self) -> None:
        """Write the document."""
        seconds = round(time.monotonic() - self.started, 3)
        document = {**self.counts, "seconds": seconds, "failures": self.failures}
        self.path.write_text(json.dumps(document), "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Count where that was asked for; not in what the tests themselves start."""
    path = os.environ.pop(VARIABLE, None)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Report(Path(path)), "synapse-report")
