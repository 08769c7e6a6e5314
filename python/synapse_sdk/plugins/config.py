"""Owns the model of config.yaml in Python."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from synapse_sdk.plugins.enums import (
    ACTION_DEFAULT_METHODS,
    DataType,
    PackageManager,
    PluginCategory,
    RunMethod,
    SmartToolType,
)

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
# Names of a plugin's config file, the usual one first.
CONFIG_FILES = ("config.yaml", "synapse.yaml")


class ActionConfig(BaseModel):
    """One action of a config. `name` is its key; keys that are not known are ignored."""

    model_config = ConfigDict(extra="ignore")

    name: str
    description: str = ""
    entrypoint: str = ""
    method: RunMethod = RunMethod.TASK
    params_schema: Any = None
    input_type: str | None = None
    output_type: str | None = None
    serve_options: dict[str, Any] | None = None

    @field_validator("description", "entrypoint", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        # `description:` with nothing behind it.
        return "" if value is None else value

    @field_validator("method", mode="before")
    @classmethod
    def _method(cls, value: Any) -> Any:
        return RunMethod.TASK if value is None else value


class Requires(BaseModel):
    """What a plugin needs around it: version specifiers, as in `>=3.10`."""

    model_config = ConfigDict(extra="ignore")

    sdk: str | None = None
    python: str | None = None
    cuda: str | None = None


class PluginConfig(BaseModel):
    """A plugin's config.yaml. `name` and `code` are required; unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    name: str
    code: str
    version: str = "0.1.0"
    variant: str | None = None
    category: PluginCategory = PluginCategory.CUSTOM
    description: str = ""
    readme: str = "README.md"
    package_manager: PackageManager = PackageManager.PIP
    package_manager_options: list[str] = Field(default_factory=list)
    wheels_dir: str = "wheels"
    env: dict[str, Any] = Field(default_factory=dict)
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    data_type: DataType | None = None
    tasks: list[str] = Field(default_factory=list)
    supported_data_types: list[DataType] = Field(
        default_factory=list,
        validation_alias=AliasChoices("supported_data_types", "supported_data_type"),
    )
    supported_annotation_tools: list[str] = Field(default_factory=list)
    annotation_category: str | None = None
    annotation_type: str | None = None
    smart_tool: SmartToolType | None = Field(
        default=None, validation_alias=AliasChoices("smart_tool", "smart_tool_type")
    )
    requires: Requires = Field(default_factory=Requires)
    dependencies: dict[str, Any] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    actions: dict[str, ActionConfig] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _shape(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        # A key with nothing behind it says as much as no key.
        data = {key: value for key, value in data.items() if value is not None}
        if isinstance(data.get("supported_data_type"), str):
            data["supported_data_type"] = [data["supported_data_type"]]
        if isinstance(data.get("actions"), dict):
            data["actions"] = {
                str(name): _action(str(name), value) for name, value in data["actions"].items()
            }
        return data

    @field_validator("version", mode="before")
    @classmethod
    def _version(cls, value: Any) -> Any:
        text = str(value)
        if not _VERSION.fullmatch(text):
            warnings.warn(
                f"the version {text!r} is not of the form X.Y.Z", FutureWarning, stacklevel=2
            )
        return text


def _action(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return {"name": name, "entrypoint": value}
    if value is None:
        return {"name": name}
    if isinstance(value, dict):
        return {"name": name, **{key: part for key, part in value.items() if part is not None}}
    return value


def method_of(action: ActionConfig) -> RunMethod:
    """Return how the platform runs an action: its `method`, else that of its well-known name."""
    if "method" in action.model_fields_set:
        return action.method
    return ACTION_DEFAULT_METHODS.get(action.name, RunMethod.TASK)


def find_config(path: str | Path) -> Path:
    """Return the config file that `path`, a file or a plugin's directory, stands for.

    Raises FileNotFoundError.
    """
    path = Path(path)
    if path.is_file():
        return path
    for name in CONFIG_FILES:
        if (path / name).is_file():
            return path / name
    shown = path if path.suffix in (".yaml", ".yml") else path / CONFIG_FILES[0]
    raise FileNotFoundError(f"Config file not found: {shown}")
