"""YAML from Python, and where the executable is looked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from synapse_sdk import _find, _yaml


@pytest.fixture(autouse=True)
def no_executable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the machine keeps one is no matter."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere/python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("SYNAPSE_BIN", raising=False)


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        None,
        "a: b",
        {"a": 1, "b": [1, 2.5, None, True], "c": {"d": "e"}, "f": [], "g": {}},
        [[1, [2, 3]], [{"a": [1]}, {"b": {"c": "d"}}], "yes", "no", "1", "1:30", "0x1", "", "~"],
        ["010", "1e5", "null", "# no", "- a", "a #b", "a: b", "x:", ":x", "'q'", '"q"', "é", "ㅎ"],
        [1e-05, 1e300, -0.0, "\n", "tab\t", "\x7f", "\u2028", "a ", " a", "*a", "&a", "!a", "@a"],
        {"plugin.train:A": "plugin.train:B", "y": "off", "2": "=", "<<": "%a", "묶음": "이름"},
    ],
)
def test_what_is_dumped_reads_the_same(data: Any, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(_yaml.dump(data)) == data


def test_dump_is_plain_to_read() -> None:
    data = {"a": "plugin.train:A", "b": [{"c": 1, "d": ["x"]}]}
    assert _yaml.dump(data) == "a: plugin.train:A\nb:\n- c: 1\n  d:\n  - x\n"
    with pytest.raises(TypeError, match="object"):
        _yaml.dump({"a": object()})


def test_without_a_library_the_executable_reads_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    file = tmp_path / "config.yaml"
    file.write_text("a: 1\n")
    with pytest.raises(RuntimeError, match="pyyaml"):
        _yaml.load_config(file)
    fake = tmp_path / "synapse"
    fake.write_text('#!/bin/sh\n[ "$1" = __config ] && echo \'{"a": 1}\'\n')
    fake.chmod(0o755)
    monkeypatch.setenv("SYNAPSE_BIN", str(fake))
    assert _yaml.load_config(file) == {"a": 1}
    fake.write_text("#!/bin/sh\necho 'bad line 3' >&2; exit 1\n")
    with pytest.raises(_yaml.YamlError, match="bad line 3"):
        _yaml.load_config(file)


def test_where_the_executable_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(folder: str) -> Path:
        path = tmp_path / folder / "synapse"
        path.parent.mkdir()
        path.touch()
        path.chmod(0o755)
        return path

    monkeypatch.setattr(sys, "executable", str(tmp_path / "env/python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert _find.find_synapse() is None
    named = put("named")
    monkeypatch.setenv("SYNAPSE_BIN", str(named))
    assert _find.find_synapse() == named
    on_path = put("path")
    assert _find.find_synapse() == on_path
    beside = put("env")
    assert _find.find_synapse() == beside
