"""The plugin of pytest: whose folder it puts on sys.path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synapse_sdk._pytest import plugin_folder

TEST = "from plugin.run import answer\n\n\ndef test_answer():\n    assert answer() == 42\n"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "plugin").mkdir()
    (tmp_path / "config.yaml").write_text("code: a\n")
    (tmp_path / "plugin/run.py").write_text("def answer():\n    return 42\n")
    (tmp_path / "tests/test_run.py").write_text(TEST)
    return tmp_path


def run_pytest(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = ["-c", "import sys, pytest; sys.path.pop(0); sys.exit(pytest.main(sys.argv[1:]))"]
    plugin = ["-p", "synapse_sdk._pytest", "-p", "no:cacheprovider", "-q"]
    return subprocess.run(
        [sys.executable, *command, *plugin, *args],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("args", [["tests/"], [], ["tests/test_run.py::test_answer"]])
def test_the_plugin_is_importable(plugin: Path, args: list[str]) -> None:
    done = run_pytest(plugin, *args)
    assert done.returncode == 0, done.stdout + done.stderr


def test_also_from_another_folder(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = run_pytest(tmp_path_factory.mktemp("elsewhere"), str(plugin / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_config_alone_is_no_plugin(plugin: Path) -> None:
    assert plugin_folder([plugin / "tests"]) == plugin
    (plugin / "plugin/run.py").unlink()
    (plugin / "plugin").rmdir()
    assert plugin_folder([plugin / "tests"]) is None


@pytest.mark.parametrize("config", ["config.yaml", "synapse.yaml"])
def test_code_may_lie_in_another_folder(plugin: Path, config: str) -> None:
    (plugin / "plugin").rename(plugin / "mine")
    (plugin / "config.yaml").unlink()
    (plugin / config).write_text("name: A\ncode: a\nactions:\n  run: mine.run:Run\n")
    (plugin / "tests/test_run.py").write_text(TEST.replace("plugin.run", "mine.run"))
    done = run_pytest(plugin, "tests/")
    assert done.returncode == 0, done.stdout + done.stderr
    (plugin / config).write_text("nested:\n  code: a\n  actions: {}\n")
    assert plugin_folder([plugin / "tests"]) is None
