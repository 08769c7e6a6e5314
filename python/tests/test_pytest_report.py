"""The count of tests that the command line asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = """
import os
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no fixture")

@pytest.fixture
def untidy():
    yield
    raise RuntimeError("no end")

def test_passes():
    assert "SYNAPSE_TEST_REPORT" not in os.environ

def test_fails():
    assert 1 == 2, "one is not two"

def test_error(broken): ...
def test_untidy(untidy): ...

@pytest.mark.skip
def test_skipped(): ...

@pytest.mark.xfail
def test_expected(): assert False

@pytest.mark.xfail
def test_unexpected(): ...
"""


def report(folder: Path, *args: str) -> tuple[int, dict[str, Any]]:
    path = folder / "report.json"
    plugins = ["-p", "synapse_sdk._pytest_report", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *args],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "SYNAPSE_TEST_REPORT": str(path),
        },
        capture_output=True,
        check=False,
    )
    return done.returncode, json.loads(path.read_text("utf-8"))


def test_every_outcome_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "test_all.py").write_text(TESTS)
    code, told = report(tmp_path)
    assert code == 1
    failures = {failure["test"].split("::")[1]: failure["message"] for failure in told["failures"]}
    assert told.pop("seconds") >= 0
    assert {key: value for key, value in told.items() if key != "failures"} == {
        "passed": 2,
        "failed": 1,
        "errors": 2,
        "skipped": 1,
        "xfailed": 1,
        "xpassed": 1,
    }
    assert "one is not two" in failures["test_fails"]
    assert "no fixture" in failures["test_error"]
    assert "no end" in failures["test_untidy"]


def test_a_file_that_is_no_python_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("def test_a(:\n")
    code, told = report(tmp_path)
    assert code == 2
    assert told["errors"] == 1
    assert "SyntaxError" in told["failures"][0]["message"]
