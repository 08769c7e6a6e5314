"""Owns finding the Python files of a plugin that may hold actions, without running any."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

# What is not archived either. A `!pattern` in an ignore file brings it back.
_DEFAULTS = (
    ".*",
    "__pycache__",
    "*.egg-info",
    "venv",
    "env",
    "dist",
    "build",
    "node_modules",
    "htmlcov",
)
_TESTS = ("test_*.py", "conftest.py")


@dataclass(frozen=True)
class Candidate:
    """A module that may hold actions.

    `named` are its classes that state a literal `action_name`, by that name.
    """

    module: str
    file: Path
    named: dict[str, str]


def candidates(root: Path) -> list[Candidate]:
    """Return the modules under `root` in which a class or function looks like an action, sorted."""
    found = []
    for file in _files(root, root, _rules(root)):
        module = _module(file.relative_to(root))
        if module is None:
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError, OSError):
            continue
        if any(_like_action(node) for node in tree.body):
            found.append(Candidate(module, file, _named(tree)))
    return found


def action_name(class_name: str) -> str:
    """Return the action name of a class that gives none: `YOLOTrainAction` is `yolotrain`."""
    return (class_name.removesuffix("Action") or class_name).lower()


def _files(root: Path, folder: Path, rules: list[tuple[str, bool]]) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        is_folder = entry.is_dir(follow_symlinks=False)
        if _ignored(path.relative_to(root).as_posix(), is_folder, rules):
            continue
        if is_folder:
            if not (path / "pyvenv.cfg").exists():
                yield from _files(root, path, rules)
        elif path.suffix == ".py" and not any(fnmatchcase(path.name, test) for test in _TESTS):
            yield path


def _rules(root: Path) -> list[tuple[str, bool]]:
    """Return patterns and whether each ignores, the weaker first."""
    rules = [(pattern, True) for pattern in _DEFAULTS]
    for name in (".gitignore", ".synapseignore"):
        try:
            lines = (root / name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            text = line.rstrip()
            if text and not text.startswith("#"):
                rules.append((text.removeprefix("!"), not text.startswith("!")))
    return rules


def _ignored(path: str, is_folder: bool, rules: list[tuple[str, bool]]) -> bool:
    for pattern, ignores in reversed(rules):
        if pattern.endswith("/") and not is_folder:
            continue
        body = pattern.strip("/")
        anchored = "/" in pattern.rstrip("/")
        if _expression(body).fullmatch(path if anchored else path.rpartition("/")[2]):
            return ignores
    return False


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|/\*\*|\*|\?|\[[^]]*\])", pattern)
    known = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    text = "".join(
        known.get(part) or (part.replace("[!", "[^") if part[:1] == "[" else re.escape(part))
        for part in parts
    )
    return re.compile(text)


def _module(file: Path) -> str | None:
    parts = list(file.with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def _like_action(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        return any("Action" in name or "Base" in name for name in map(_name, node.bases))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return any("action" in _name(mark) for mark in node.decorator_list)
    return False


def _name(node: ast.expr) -> str:
    while isinstance(node, (ast.Subscript, ast.Call)):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _named(tree: ast.Module) -> dict[str, str]:
    named = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                text = _literal_name(part)
                if text is not None:
                    named[text] = node.name
    return named


def _literal_name(part: ast.stmt) -> str | None:
    targets: list[ast.expr] = []
    if isinstance(part, ast.Assign):
        targets = part.targets
    elif isinstance(part, ast.AnnAssign):
        targets = [part.target]
    value = getattr(part, "value", None)
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return None
    return value.value if any(_name(target) == "action_name" for target in targets) else None
