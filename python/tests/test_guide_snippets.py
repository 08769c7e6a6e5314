"""The Python blocks of docs/guide: each runs as it is printed, and says what its comments say.

Blocks that begin with a path (`# plugin/count.py`) are files of the document's plugin, and so is
a YAML block that begins with `# config.yaml`; files below `tests/` are run by pytest, every other
block as a script in the plugin's folder. A line that ends in `# -> text` prints that text. Beside
the document itself the test supplies only what `SUPPLIED` lists.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs/guide"
SDK = str(Path(__file__).resolve().parents[1])
FENCED = re.compile(r"^```(python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ((?:[\w-]+/)*[\w-]+\.(?:py|yaml))\n")
EXPECTED = re.compile(r"  # -> (.*)$", re.MULTILINE)
#: Files that no document prints: path below the plugin's folder, and content.
SUPPLIED = {"plugin/__init__.py": ""}


@dataclass(frozen=True)
class Block:
    """A fenced block: its document, its first line there, its file's path if it is one."""

    document: str
    line: int
    language: str
    text: str

    @property
    def path(self) -> str | None:
        named = FILE.match(self.text)
        return named.group(1) if named else None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks() -> list[Block]:
    found = []
    for document in sorted(GUIDE.glob("*.md")):
        text = document.read_text("utf-8")
        for fence in FENCED.finditer(text):
            line = text.count("\n", 0, fence.start()) + 2
            found.append(Block(document.name, line, fence.group(1), fence.group(2)))
    return found


BLOCKS = blocks()
RUN = [
    block
    for block in BLOCKS
    if block.language == "python" and not (block.path or "").startswith("plugin/")
]


def run(root: Path, *args: str) -> str:
    """Run Python in `root`, without a backend or a login; return what it printed."""
    variables = {name: value for name, value in os.environ.items() if "SYNAPSE" not in name}
    done = subprocess.run(
        [sys.executable, *args],
        cwd=root,
        env={
            **variables,
            "PYTHONPATH": SDK,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
            "SYNAPSE_HOME": str(root / ".home"),
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def root(tmp_path: Path, block: Block) -> Path:
    """The plugin that the block's document prints."""
    printed = {
        str(other.path): other.text
        for other in BLOCKS
        if other.document == block.document and other.path
    }
    assert not printed.keys() & SUPPLIED.keys()
    for path, text in {**SUPPLIED, **printed}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    return tmp_path


@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_block_runs_as_printed(block: Block, root: Path) -> None:
    if block.path is not None:
        options = ["-q", "-p", "synapse_sdk._pytest", "-p", "no:cacheprovider"]
        assert " passed" in run(root, "-m", "pytest", *options, block.path)
        return
    (root / "script.py").write_text(block.text, "utf-8")
    lines = iter(run(root, "script.py").splitlines())
    for expected in EXPECTED.findall(block.text):
        # In this order; what is logged may stand between.
        assert expected in lines, f"{block} does not print {expected!r} where it says so"


def test_every_file_belongs_to_a_plugin_or_its_tests() -> None:
    named = [block.path for block in BLOCKS if block.path and block.language == "python"]
    assert named, "the guide prints no plugin"
    assert all(path.startswith(("plugin/", "tests/")) for path in named)
    assert len(RUN) > 5
