"""PluginEnvironment and the look-ups in configs and requirements."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synapse_sdk.plugins import context, utils
from synapse_sdk.plugins.enums import RunMethod
from synapse_sdk.plugins.environment import PluginEnvironment

ENV = PluginEnvironment(
    {
        "TEXT": "abc",
        "INT": "42",
        "FLOAT": "0.5",
        "LIST": " a, b ,,c ",
        "NUMBER": 7,
        "NONE": None,
        "REAL_LIST": [1, 2],
        "EMPTY": "",
        "SECRET": "hunter2",
    }
)


def test_it_is_where_plugins_look_for_it() -> None:
    assert context.PluginEnvironment is PluginEnvironment


@pytest.mark.parametrize(
    ("getter", "key", "expected"),
    [
        ("get", "TEXT", "abc"),
        ("get", "NUMBER", 7),
        ("get_str", "NUMBER", "7"),
        ("get_int", "INT", 42),
        ("get_int", "NUMBER", 7),
        ("get_float", "FLOAT", 0.5),
        ("get_float", "INT", 42.0),
        ("get_list", "LIST", ["a", "b", "c"]),
        ("get_list", "REAL_LIST", [1, 2]),
        ("get_list", "EMPTY", []),
        ("get_list", "TEXT", ["abc"]),
        ("get_bool", "NUMBER", True),
        ("get_bool", "EMPTY", False),
    ],
)
def test_getters(getter: str, key: str, expected: Any) -> None:
    found = getattr(ENV, getter)(key)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "getter", ["get", "get_str", "get_int", "get_float", "get_bool", "get_list"]
)
def test_defaults(getter: str) -> None:
    assert getattr(ENV, getter)("MISSING") is None
    fallback = object()
    assert getattr(ENV, getter)("MISSING", fallback) is fallback
    assert getattr(ENV, getter)("MISSING", default=fallback) is fallback


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("yes", True),
        (" Yes ", True),
        ("false", False),
        ("0", False),
        ("on", False),
        ("", False),
        (True, True),
        (False, False),
        (1, True),
        (0, False),
    ],
)
def test_booleans(value: Any, expected: bool) -> None:
    assert PluginEnvironment({"X": value}).get_bool("X") is expected


def test_a_wrong_number_is_named_without_its_value() -> None:
    for getter in (ENV.get_int, ENV.get_float):
        with pytest.raises(ValueError, match="SECRET is not a") as caught:
            getter("SECRET")
        assert "hunter2" not in str(caught.value)


def test_mapping_ways() -> None:
    assert "TEXT" in ENV
    assert "MISSING" not in ENV
    assert ENV["TEXT"] == "abc"
    with pytest.raises(KeyError):
        _ = ENV["MISSING"]
    copy = ENV.to_dict()
    copy["TEXT"] = "changed"
    assert ENV["TEXT"] == "abc"
    assert set(ENV) == set(copy)
    assert len(ENV) == len(copy)
    assert bool(PluginEnvironment())
    assert PluginEnvironment(copy) != ENV
    assert PluginEnvironment(ENV.to_dict()) == ENV
    assert ENV != 3


def test_its_text_shows_no_values() -> None:
    assert "SECRET" in repr(ENV)
    assert "hunter2" not in repr(ENV) + str(ENV)


def test_from_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_HOST", "h")
    monkeypatch.setenv("APP_", "nameless")
    monkeypatch.setenv("OTHER_X", "o")
    assert PluginEnvironment.from_environ("APP_").to_dict() == {"HOST": "h"}
    kept = PluginEnvironment.from_environ(prefixes=["APP_H", "OTHER_"]).to_dict()
    assert kept == {"APP_HOST": "h", "OTHER_X": "o"}
    everything = PluginEnvironment.from_environ()
    assert everything["APP_HOST"] == "h"
    assert everything["OTHER_X"] == "o"
    assert "PATH" in everything


def test_merge() -> None:
    first = PluginEnvironment({"a": 1, "b": 1})
    second = PluginEnvironment({"b": 2})
    assert PluginEnvironment.merge(first, second, {"c": 3}).to_dict() == {"a": 1, "b": 2, "c": 3}
    assert PluginEnvironment.merge().to_dict() == {}
    assert first.to_dict() == {"a": 1, "b": 1}


def test_from_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "env.toml"
    path.write_text('HOST = "h"\nCOUNT = 3\nDEBUG = true\nLIST = ["a"]\n')
    if sys.version_info >= (3, 11):
        env = PluginEnvironment.from_file(path)
        assert env.to_dict() == {"HOST": "h", "COUNT": 3, "DEBUG": True, "LIST": ["a"]}
        assert env.get_str("COUNT") == "3"
        path.write_text("no toml at all =")
        with pytest.raises(ValueError):
            PluginEnvironment.from_file(str(path))
    else:
        monkeypatch.setitem(sys.modules, "tomli", None)
        with pytest.raises(ModuleNotFoundError, match="pip install tomli"):
            PluginEnvironment.from_file(path)
        read = SimpleNamespace(load=lambda file: {"text": file.read().decode()[:4]})
        monkeypatch.setitem(sys.modules, "tomli", read)
        assert PluginEnvironment.from_file(path).to_dict() == {"text": "HOST"}


def test_from_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Environment file not found"):
        PluginEnvironment.from_file(tmp_path / "none.toml")


CONFIG: dict[str, Any] = {
    "actions": {
        "train": {"entrypoint": "plugin.train:Train", "method": "task"},
        "inference": {"entrypoint": "plugin.inference:Inference"},
        "bare": "plugin.bare:Bare",
        "wrong": {"method": "local"},
    }
}


def test_actions_of_a_config() -> None:
    assert utils.get_plugin_actions(CONFIG) == ["train", "inference", "bare", "wrong"]
    assert utils.get_plugin_actions(SimpleNamespace(**CONFIG)) == list(CONFIG["actions"])
    assert utils.get_plugin_actions({}) == []
    assert utils.get_plugin_actions({"actions": None}) == []


def test_configuration_of_an_action() -> None:
    assert utils.get_action_config(CONFIG, "train") == CONFIG["actions"]["train"]
    assert utils.get_action_config(CONFIG, "bare") == {"entrypoint": "plugin.bare:Bare"}
    with pytest.raises(KeyError, match=r"'x' not found.*train, inference, bare, wrong"):
        utils.get_action_config(CONFIG, "x")


def test_method_of_an_action() -> None:
    assert utils.get_action_method(CONFIG, "train") is RunMethod.TASK
    assert utils.get_action_method(CONFIG, "inference") is RunMethod.SERVE
    assert utils.get_action_method(CONFIG, "bare") is RunMethod.TASK
    with pytest.raises(KeyError):
        utils.get_action_method(CONFIG, "x")
    with pytest.raises(ValueError, match="local"):
        utils.get_action_method(CONFIG, "wrong")


def test_requirements(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(
        "\ufeff# heading\n"
        "torch>=2.0.0\n\n"
        "  numpy  # arrays\n"
        "pkg @ https://host/a.whl#sha256=abc\n"
        "one==1 \\\n    --hash=sha256:00\n"
        "-r other.txt\t# more\n",
        encoding="utf-8",
    )
    expected = [
        "torch>=2.0.0",
        "numpy",
        "pkg @ https://host/a.whl#sha256=abc",
        "one==1     --hash=sha256:00",
        "-r other.txt",
    ]
    assert utils.read_requirements(path) == expected
    assert utils.read_requirements(str(tmp_path)) == expected
    assert utils.read_requirements(tmp_path / "none.txt") == []
