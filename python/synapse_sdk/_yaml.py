"""Owns reading config.yaml and writing YAML from Python, with or without PyYAML."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from synapse_sdk._find import HINT, find_synapse

# What a YAML 1.1 or 1.2 reader takes for something else than the text that stands there.
_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./+-]|[: ](?=[A-Za-z0-9_./+]))*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan"})


class YamlError(ValueError):
    """A file that is not YAML, or not a mapping; the text names the file."""


def load_config(path: str | Path) -> dict[str, Any]:
    """Return the mapping that the YAML file `path` holds; an empty file is an empty mapping.

    PyYAML reads it where it can be imported, else the `synapse` command does. Raises
    FileNotFoundError, YamlError (not YAML, or not a mapping), and RuntimeError where there is
    neither reader.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Config file not found: {path}")
    try:
        import yaml
    except ImportError:
        return _by_command(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"{path} is not valid YAML: {error}") from error
    return _mapping(data, path)


def _by_command(path: Path) -> dict[str, Any]:
    synapse = find_synapse()
    if synapse is None:
        raise RuntimeError(
            f"cannot read {path}: no YAML reader is there; pip install pyyaml, or {HINT}"
        )
    done = subprocess.run(
        [synapse, "__config", path], capture_output=True, text=True, check=False, encoding="utf-8"
    )
    if done.returncode:
        raise YamlError(done.stderr.strip() or f"{path} cannot be read")
    return _mapping(json.loads(done.stdout), path)


def _mapping(data: object, path: Path) -> dict[str, Any]:
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise YamlError(f"{path} must hold `key: value` lines")
    return {str(key): value for key, value in data.items()}


def dump(data: object) -> str:
    """Return plain data (dict, list, str, numbers, bool, None) as YAML, keys in their order.

    Raises TypeError for anything else. What is written reads the same under YAML 1.1 and 1.2.
    """
    if isinstance(data, Mapping) and data:
        return "".join(_entry(key, value, 0) for key, value in data.items())
    if _is_list(data) and data:
        return "".join(_item(value, 0) for value in data)
    return _scalar(data) + "\n"


def _is_list(data: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(data, Sequence) and not isinstance(data, (str, bytes, bytearray))


def _entry(key: object, value: Any, depth: int) -> str:
    head = "  " * depth + _scalar(key if isinstance(key, str) else str(key)) + ":"
    if isinstance(value, Mapping) and value:
        return head + "\n" + "".join(_entry(k, v, depth + 1) for k, v in value.items())
    if _is_list(value) and value:
        return head + "\n" + "".join(_item(v, depth) for v in value)
    return f"{head} {_scalar(value)}\n"


def _item(value: Any, depth: int) -> str:
    pad = "  " * depth
    if isinstance(value, Mapping) and value:
        text = "".join(_entry(k, v, depth + 1) for k, v in value.items())
    elif _is_list(value) and value:
        text = "".join(_item(v, depth + 1) for v in value)
    else:
        return f"{pad}- {_scalar(value)}\n"
    return f"{pad}- {text[len(pad) + 2 :]}"


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return str(value) if plain else _quoted(value)
    if isinstance(value, Mapping) and not value:
        return "{}"
    if _is_list(value) and not value:
        return "[]"
    raise TypeError(f"cannot write {type(value).__name__} as YAML")


def _quoted(text: str) -> str:
    # JSON's escapes are YAML's, but YAML leaves fewer characters bare.
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(
        "[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]", lambda m: f"\\u{ord(m[0]):04x}", quoted
    )


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = float.__repr__(value)
    # YAML 1.1 wants a dot in a float: 1e-05 would be text.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
