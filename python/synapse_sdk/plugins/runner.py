"""Owns running an action of a plugin that is named in any of the ways in which people name one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synapse_sdk.plugins.errors import PluginError, PluginRunError

#: Modes that are known, with the release of this tool that brings those that are not there yet.
MODES = {
    "local": None,
    "task": "the Ray release",
    "job": "the Ray release",
    "remote": "the platform release",
}
_WORKSPACE = "synapse-workspace.yaml"


def run_plugin(
    plugin_code: str | os.PathLike[str],
    action: str,
    params: Any = None,
    *,
    mode: str = "local",
    action_cls: Any = None,
    **executor_kwargs: Any,
) -> Any:
    """Run an action of a plugin and return its result, an ActionResult in mode `local`.

    Args:
        plugin_code: A plugin's directory or config file; else an importable module; else the code
            of the plugin in the current directory or above, of one in the workspace, or of a
            release of the backend, whose newest version is fetched (`code@version` for another).
        action: The action's name.
        params: Its params, as a dict.
        mode: `local`. `task`, `job` and `remote` raise PluginRunError.
        action_cls: The action itself, in place of looking for it.
        executor_kwargs: For the executor: `env`, `job_id`, `language`.

    Raises:
        ValueError: there is no such mode.
        PluginRunError: no plugin of that name, or a mode that this release does not have.
        ActionNotFoundError: the plugin has no such action.
        ValidationError, ExecutionError, PluginError: as executors raise them.
    """
    mode = str(getattr(mode, "value", mode))
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; the modes are {', '.join(MODES)}")
    if MODES[mode] is not None:
        raise PluginRunError(
            f"mode {mode} comes with {MODES[mode]}; this one has mode local",
            details={"mode": mode},
        )
    from synapse_sdk.plugins.executors.local import LocalExecutor

    executor = LocalExecutor(**executor_kwargs)
    if action_cls is None:
        action_cls = _find(os.fspath(plugin_code), action, executor_kwargs.get("env"))
    return executor.execute(action_cls, params)


def _find(name: str, action: str, env: Any) -> Any:
    from synapse_sdk.plugins.discovery import PluginDiscovery

    path = Path(name).expanduser()
    if path.is_dir() and _config_in(path):
        return PluginDiscovery.from_path(path).get_action_class(action)
    if path.is_file() and path.suffix in (".yaml", ".yml"):
        return PluginDiscovery.from_path(path).get_action_class(action)
    if _importable(name):
        found = PluginDiscovery.from_module(name)
        # A plugin's code may be some library's name as well.
        if found.list_actions():
            return found.get_action_class(action)
    for folder in _nearby():
        plugin = _plugin_of(folder, name)
        if plugin is not None:
            return plugin.get_action_class(action)
    return PluginDiscovery.from_path(_fetched(name, env)).get_action_class(action)


def _config_in(folder: Path) -> bool:
    from synapse_sdk.plugins.config import CONFIG_FILES

    return any((folder / name).is_file() for name in CONFIG_FILES)


def _importable(name: str) -> bool:
    if not all(part.isidentifier() for part in name.split(".")):
        return False
    from importlib.util import find_spec

    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    # A mere folder is no module that anyone means.
    return spec is not None and spec.origin is not None


def _plugin_of(folder: Path, code: str) -> Any:
    """Return the plugin in `folder` if its code is `code`."""
    from synapse_sdk import _yaml
    from synapse_sdk.plugins.config import find_config
    from synapse_sdk.plugins.discovery import PluginDiscovery

    try:
        found = _yaml.load_config(find_config(folder))
    except (OSError, _yaml.YamlError):
        return None
    return PluginDiscovery.from_path(folder) if found.get("code") == code else None


def _nearby() -> Iterator[Path]:
    """Yield the plugin's directory at or above the current one, then the workspace's members."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if _config_in(folder):
            yield folder
            break
    for folder in (here, *here.parents):
        if (folder / _WORKSPACE).is_file():
            yield from _members(folder)
            break


def _members(root: Path) -> list[Path]:
    from synapse_sdk import _yaml

    found: set[Path] = set()
    patterns = _yaml.load_config(root / _WORKSPACE).get("members") or []
    for pattern in patterns if isinstance(patterns, list) else []:
        out = str(pattern).startswith("!")
        body = str(pattern).removeprefix("!").strip("/")
        parts = Path(body).parts
        if not body or ".." in parts:
            continue
        if body == ".":
            named = {root}
        else:
            named = {path for text in _alternatives(body) for path in root.glob(text)}
        found = found - named if out else found | {path for path in named if _config_in(path)}
    return sorted(found)


def _alternatives(pattern: str) -> list[str]:
    """Return a glob with `{a,b}` written out, which pathlib does not know."""
    head, brace, rest = pattern.partition("{")
    inner, close, tail = rest.partition("}")
    if not brace or not close:
        return [pattern]
    return [text for one in inner.split(",") for text in _alternatives(f"{head}{one}{tail}")]


def _fetched(name: str, env: Any) -> Path:
    """Return the directory of a release's files, fetched from the backend unless they are here."""
    from synapse_sdk.clients import get_client, places
    from synapse_sdk.exceptions import ClientError, NotFoundError

    missing = PluginRunError(
        f"no plugin {name!r}: it is neither a directory with a config.yaml, nor a module, nor the "
        "code of a plugin here, in the workspace, or released",
        details={"plugin": name},
    )
    code, _, version = name.partition("@")
    client = get_client(env)
    if client is None or not code:
        raise missing
    try:
        release = _release(client, code, version)
    except NotFoundError:
        raise missing from None
    except ClientError as error:
        raise PluginRunError(f"{missing.message} (the backend says: {error})") from error
    if release is None:
        raise missing
    url, checksum = release.get("file"), str(release.get("checksum") or "")
    if not isinstance(url, str) or not checksum.isalnum():
        raise PluginRunError(f"the release {name!r} has no file", details={"plugin": name})
    folder = places.downloads() / "plugins" / checksum
    if not folder.is_dir():
        try:
            _unpack(client, url, checksum, folder)
        except ClientError as error:
            raise PluginRunError(f"cannot fetch the release {name!r}: {error}") from error
    return folder


def _release(client: Any, code: str, version: str) -> Any:
    if version:
        return client.get_plugin_release(code, version)
    releases = [row for row in client.list_plugin_releases(code) if not row.get("debug")]
    return max(releases, key=lambda row: _order(str(row.get("version"))), default=None)


def _order(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(map(str.isdigit, parts)) else ()


def _unpack(client: Any, url: str, checksum: str, folder: Path) -> None:
    import shutil
    import tempfile
    import zipfile

    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder.parent))
    try:
        archive = client.download(url, work / "plugin.zip", _sha256(checksum))
        files = work / "files"
        files.mkdir()
        with zipfile.ZipFile(archive) as packed:
            # `extractall` keeps members inside, but is silent about those that would leave.
            for entry in packed.infolist():
                parts = Path(entry.filename).parts
                if Path(entry.filename).is_absolute() or ".." in parts:
                    raise PluginError(f"the release holds a file outside it: {entry.filename}")
            packed.extractall(files)
        try:
            files.rename(folder)
        except OSError:
            # Another process was first; its files are the same.
            if not folder.is_dir():
                raise
    except zipfile.BadZipFile as error:
        raise PluginRunError("the release's file is no ZIP archive") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sha256(checksum: str) -> str | None:
    return checksum if len(checksum) == 64 else None
