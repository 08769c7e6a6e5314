"""Owns what Python code can learn of a plugin: its config, its actions and their models."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from synapse_sdk import _yaml
from synapse_sdk._find import HINT, find_synapse
from synapse_sdk.plugins import scan, sync
from synapse_sdk.plugins.action import BaseAction, is_action_function
from synapse_sdk.plugins.config import ActionConfig, PluginConfig, find_config, method_of
from synapse_sdk.plugins.enums import PluginCategory, RunMethod
from synapse_sdk.plugins.errors import ActionNotFoundError, PluginError
from synapse_sdk.plugins.executors.invocation import action_class, params_model_of
from synapse_sdk.plugins.executors.loading import EntrypointError, load_entrypoint
from synapse_sdk.plugins.modules import PluginModules
from synapse_sdk.plugins.sync import Changes

_HOME = "_plugin_modules"


class PluginDiscovery:
    """A plugin's config and actions.

    Args:
        config: What config.yaml says, or what stands for it.
        root: The plugin's directory; None for a module.
        raw: The config as it stands in the file, unknown keys included.
    """

    def __init__(
        self, config: PluginConfig, root: Path | None = None, raw: dict[str, Any] | None = None
    ) -> None:
        self.config = config
        self.root = root
        self.raw = raw if raw is not None else config.model_dump(mode="json", exclude_unset=True)
        self._modules = PluginModules(root) if root is not None else None
        self._classes: dict[str, type[BaseAction[Any]]] = {}

    @classmethod
    def from_path(cls, path: str | Path) -> PluginDiscovery:
        """Read a plugin's directory or config file.

        Raises FileNotFoundError, `_yaml.YamlError`, and the guide's ValidationError for a config
        that breaks the model.
        """
        file = find_config(path)
        raw = _yaml.load_config(file)
        return cls(_config(raw, file), file.parent.resolve(), raw)

    @classmethod
    def from_module(
        cls,
        module: ModuleType | str,
        *,
        name: str | None = None,
        category: PluginCategory | str = PluginCategory.CUSTOM,
    ) -> PluginDiscovery:
        """Take the actions that a module holds: `@action` functions and action classes.

        Base classes that it has imported from this package are none of them. `name` is the
        plugin's, by default the module's; `category` is that of actions without their own.
        """
        if isinstance(module, str):
            module = import_module(module)
        classes = {}
        for value in list(vars(module).values()):
            if _is_action(value) and not _imported_from_sdk(value, module):
                made = action_class(value)
                classes[made.action_name or scan.action_name(made.__name__)] = (value, made)
        actions = {
            key: ActionConfig.model_validate(
                {
                    "name": key,
                    "description": _first_line(value),
                    "entrypoint": f"{value.__module__}:{value.__qualname__}",
                    **sync.types(made),
                }
            )
            for key, (value, made) in classes.items()
        }
        short = module.__name__.rpartition(".")[2]
        config = PluginConfig(
            name=name or short,
            code=re.sub(r"[^a-z0-9]+", "-", short.lower()).strip("-") or "plugin",
            category=PluginCategory(category),
            actions=actions,
        )
        found = cls(config)
        found._classes = {key: found._named(made, key) for key, (_, made) in classes.items()}
        return found

    def list_actions(self) -> list[str]:
        """Return the actions' names, in the config's order."""
        return list(self.config.actions)

    def has_action(self, name: str) -> bool:
        """Say whether there is an action of that name."""
        return name in self.config.actions

    def get_action_config(self, name: str) -> ActionConfig:
        """Return an action's config. Raises ActionNotFoundError, with the names there are."""
        found = self.config.actions.get(name)
        if found is None:
            raise ActionNotFoundError(
                f"Action not found: {name}", details={"available": self.list_actions()}
            )
        return found

    def get_action_method(self, name: str) -> RunMethod:
        """Return how the platform runs an action: as it is configured, else by its name."""
        return method_of(self.get_action_config(name))

    def get_action_entrypoint(self, name: str) -> str:
        """Return an action's entrypoint, as it is written."""
        return self.get_action_config(name).entrypoint

    def get_action_class(self, name: str) -> type[BaseAction[Any]]:
        """Import an action and return its class; that of a function calls the function.

        Its modules are the plugin's own, however other plugins call theirs. `action_name` and
        `category` come from the config where the class has none. Raises ActionNotFoundError for
        an action or entrypoint that is not there; what the import raises comes through.
        """
        config = self.get_action_config(name)
        if name not in self._classes:
            if not config.entrypoint:
                raise ActionNotFoundError(
                    f"Action not found: {name} has no entrypoint",
                    details={"available": self.list_actions()},
                )
            with self._modules.active() if self._modules else nullcontext():
                try:
                    found = load_entrypoint(config.entrypoint)
                except EntrypointError as error:
                    raise ActionNotFoundError(
                        f"Action not found: {name}: {error.message}",
                        details={"available": self.list_actions(), **error.details},
                    ) from None
                self._classes[name] = self._named(action_class(found), name)
        return self._classes[name]

    def _named(self, found: type[BaseAction[Any]], name: str) -> type[BaseAction[Any]]:
        names: dict[str, Any] = {_HOME: self._modules}
        if not found.action_name:
            names["action_name"] = name
        if found.category is None:
            names["category"] = self.config.category
        if found.__module__.startswith("synapse_sdk."):
            # Shared by every plugin that names it.
            return type(found.__name__, (found,), {"__module__": found.__module__, **names})
        for key, value in names.items():
            setattr(found, key, value)
        return found

    def get_action_params_model(self, name: str) -> Any:
        """Return the pydantic model of an action's params, or None."""
        return params_model_of(self.get_action_class(name))

    def get_action_result_model(self, name: str) -> Any:
        """Return the pydantic model of an action's result, or None."""
        model = self.get_action_class(name).result_model
        return model if hasattr(model, "model_fields") else None

    def get_action_ui_schema(self, name: str) -> dict[str, Any]:
        """Return `{"action": name, "ui_schemas": [...]}` of an action's params."""
        return _form(self.get_action_params_model(name), name)

    def get_action_result_ui_schema(self, name: str) -> dict[str, Any]:
        """Return `{"action": name, "ui_schemas": [...]}` of an action's result."""
        return _form(self.get_action_result_model(name), name)

    def get_action_input_type(self, name: str) -> str | None:
        """Return the semantic type that an action takes: the class's, else the config's."""
        kind = self.get_action_class(name).input_type
        return kind.name if kind is not None else self.get_action_config(name).input_type

    def get_action_output_type(self, name: str) -> str | None:
        """Return the semantic type that an action gives: the class's, else the config's."""
        kind = self.get_action_class(name).output_type
        return kind.name if kind is not None else self.get_action_config(name).output_type

    def to_config_dict(self, include_ui_schemas: bool = True) -> dict[str, Any]:
        """Return the config as it should stand in the file, the code's own facts worked in."""
        data = dict(self.raw)
        actions = {}
        for name in self.list_actions():
            entry = self.written(name)
            entry.update(sync.facts(self, name, forms=include_ui_schemas))
            actions[name] = entry
        data["actions"] = actions
        return data

    def written(self, name: str) -> dict[str, Any]:
        """Return an action's entry as it stands in the file."""
        written = (self.raw.get("actions") or {}).get(name)
        if isinstance(written, dict):
            return {key: value for key, value in written.items() if key != "name"}
        config = self.config.actions[name]
        return config.model_dump(mode="json", exclude_defaults=True, exclude={"name"})

    def to_yaml(self) -> str:
        """Return `to_config_dict()` as YAML."""
        return _yaml.dump(self.to_config_dict())

    def check_config_sync(self, path: str | Path | None = None) -> Changes:
        """Return what `update-config` would change: keys by action; empty when in sync.

        `path` is the config file to compare with, by default the plugin's own.
        """
        other = self if path is None else PluginDiscovery.from_path(path)
        changes = {}
        for name in other.list_actions():
            if self.has_action(name):
                written = other.written(name)
                keys = [k for k, v in sync.facts(self, name).items() if written.get(k) != v]
                if keys:
                    changes[name] = keys
        return changes

    def sync_config_file(self, path: str | Path, syncers: None = None) -> Changes:
        """Bring a config file up to the code, every other byte kept; return what changed.

        Returns:
            The changed keys by action, as `check_config_sync`; `new` for an action that was only
            in the code. It is what the command did, not what was expected of it.

        Args:
            path: The config file, or a plugin's directory.
            syncers: What is brought up to date; always everything, so only None is taken.

        Raises:
            PluginError: There is no `synapse` command, which edits the file, or it refuses; or
                `syncers` are chosen.
            FileNotFoundError: There is no such file.
        """
        if syncers is not None:
            raise PluginError("syncers cannot be chosen: a config file is synced as a whole")
        file = find_config(path)
        synapse = find_synapse()
        if synapse is None:
            raise PluginError(f"cannot edit {file}: {HINT}")
        done = subprocess.run(
            [synapse, "plugin", "update-config", "--json", "-c", file, "--path", file.parent],
            capture_output=True,
            text=True,
            check=False,
            encoding="utf-8",
        )
        try:
            told = json.loads(done.stdout)
        except ValueError:
            told = {}
        if done.returncode or not isinstance(told.get("changes"), list):
            texts = [
                f"{error['where']}: {error['message']}" if error.get("where") else error["message"]
                for error in told.get("errors") or []
            ]
            raise PluginError("; ".join(texts) or done.stderr.strip() or f"cannot edit {file}")
        return {
            change["action"]: [
                text.partition("=")[0].partition(".")[0] for text in change["changes"]
            ]
            for change in told["changes"]
        }

    @staticmethod
    def discover_actions(path: str | Path) -> dict[str, dict[str, Any]]:
        """Return the actions in a directory's code: `entrypoint`, and `input_type`, `output_type`,
        `method` where the code says so.

        Files that would not be archived, and tests, are not looked at. Of a module that cannot be
        imported only the classes with a literal `action_name` are listed.
        """
        root = Path(path).resolve()
        found: dict[str, dict[str, Any]] = {}
        modules = PluginModules(root)
        for candidate in scan.candidates(root):
            try:
                with modules.active():
                    module = import_module(candidate.module)
            except (Exception, SystemExit):  # a script that ends the process is imported no more
                for name, short in candidate.named.items():
                    found.setdefault(name, {"entrypoint": f"{candidate.module}:{short}"})
                continue
            for value in list(vars(module).values()):
                if _is_action(value) and value.__module__ == candidate.module:
                    made = action_class(value)
                    name = made.action_name or scan.action_name(made.__name__)
                    entry = {"entrypoint": f"{candidate.module}:{value.__qualname__}"}
                    found.setdefault(name, {**entry, **sync.types(made)})
        return found


def _is_action(value: Any) -> bool:
    if isinstance(value, type):
        return issubclass(value, BaseAction) and not getattr(value, "__abstractmethods__", None)
    return is_action_function(value)


def _imported_from_sdk(value: Any, module: ModuleType) -> bool:
    home = str(value.__module__)
    return home.startswith("synapse_sdk.") and not f"{home}.".startswith(f"{module.__name__}.")


def _first_line(value: Any) -> str:
    text = getattr(value, "_action_description", None) or vars(value).get("__doc__") or ""
    return str(text).strip().partition("\n")[0]


def _form(model: Any, name: str) -> dict[str, Any]:
    if model is None:
        return {"action": name, "ui_schemas": []}
    from synapse_sdk.plugins.ui_schema import get_action_ui_schema

    return get_action_ui_schema(model, name)


def _config(raw: dict[str, Any], file: Path) -> PluginConfig:
    from pydantic import ValidationError as ModelError

    from synapse_sdk.plugins.errors import ValidationError

    try:
        return PluginConfig.model_validate(raw)
    except ModelError as error:
        # Without the input: it may hold the values of `env`.
        errors = [
            {"loc": list(item["loc"]), "msg": item["msg"], "type": item["type"]}
            for item in error.errors(include_url=False)
        ]
        raise ValidationError(
            f"Validation failed for {_refusal(errors, file)}", details=errors
        ) from None


def _refusal(errors: list[dict[str, Any]], file: Path) -> str:
    """Return which part of the config was refused, and why, a model at a time."""
    parts: dict[str, list[str]] = {}
    for error in errors:
        part, loc = f"PluginConfig (config:{file})", error["loc"]
        if loc[:1] == ["actions"] and len(loc) > 1:
            part, loc = f"ActionConfig (action:{loc[1]}) of {file}", loc[2:]
        where = ".".join(map(str, loc))
        parts.setdefault(part, []).append(f"{where}: {error['msg']}" if where else error["msg"])
    return "; ".join(f"{part}: {', '.join(texts)}" for part, texts in parts.items())
