"""Names that plugins import, and what importing them may cost: counted in modules, not in time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import synapse_sdk
import synapse_sdk.plugins as plugins

PACKAGE = Path(synapse_sdk.__file__).parent.parent

BASELINE = "from pydantic import BaseModel, Field\nclass A(BaseModel): a: int\n"

HEAVY = ("asyncio", "http", "logging", "ray", "requests", "ssl", "tqdm", "urllib3", "yaml")

GUIDE_AND_DOCUMENTED = [
    "BaseAction",
    "NoResult",
    "validate_result",
    "action",
    "BaseTrainAction",
    "TrainContext",
    "BaseExportAction",
    "ExportContext",
    "BaseUploadAction",
    "UploadContext",
    "BaseInferenceAction",
    "InferenceContext",
    "InferenceProgressCategories",
    "BaseDeploymentAction",
    "DeploymentContext",
    "DeploymentProgressCategories",
    "BaseServeDeployment",
    "create_serve_multiplexed_model_id",
    "BaseStep",
    "BaseStepContext",
    "StepResult",
    "StepRegistry",
    "Orchestrator",
    "LoggingStep",
    "TimingStep",
    "ValidationStep",
    "run_plugin",
    "RuntimeContext",
    "ActionConfig",
    "PluginConfig",
    "PluginCategory",
    "MetricsCategory",
    "ActionNotFoundError",
    "ExecutionError",
    "PluginError",
    "ValidationError",
    "pydantic_to_ui_schema",
    "get_action_ui_schema",
    "ExportResult",
    "InferenceResult",
    "MetricsResult",
    "TrainResult",
    "UploadResult",
    "WeightsResult",
    "TrainProgressCategories",
    "ExportProgressCategories",
    "UploadProgressCategories",
]


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh interpreter has after running the code."""
    script = f"import sys; sys.path.insert(0, {str(PACKAGE)!r})\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def top(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_every_name_is_listed() -> None:
    assert set(GUIDE_AND_DOCUMENTED) <= set(plugins.__all__)
    assert set(plugins.__all__) <= set(dir(plugins))
    assert plugins.__all__ == sorted(plugins.__all__)


@pytest.mark.parametrize("name", plugins.__all__)
def test_every_name_is_there(name: str) -> None:
    value = getattr(plugins, name)
    assert value is getattr(plugins, name)
    assert getattr(value, "__module__", "").startswith("synapse_sdk.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = plugins.Nonsense  # type: ignore[attr-defined]


def test_action_stays_the_decorator_when_its_namesake_module_is_imported() -> None:
    code = (
        "import synapse_sdk.plugins.action\n"
        "from synapse_sdk.plugins import action, BaseAction\n"
        "from synapse_sdk.plugins.decorators import action as decorator\n"
        "assert action is decorator\n"
        "from synapse_sdk.plugins.action import BaseAction as again\n"
        "assert BaseAction is again\n"
    )
    loaded_by(code)


def test_version() -> None:
    assert synapse_sdk.__version__ == "0.1.0"


def test_importing_plugins_loads_a_handful_of_modules() -> None:
    added = loaded_by(BASELINE + "import synapse_sdk.plugins") - loaded_by(BASELINE)
    assert {name for name in added if name.startswith("synapse_sdk")} == {
        "synapse_sdk",
        "synapse_sdk._lazy",
        "synapse_sdk.plugins",
    }
    assert len(added) <= 6, sorted(added)


@pytest.mark.parametrize(
    "statement",
    [
        "from synapse_sdk.plugins import BaseAction, RuntimeContext, PluginCategory, action",
        "from synapse_sdk.plugins.enums import PluginCategory",
        "from synapse_sdk.plugins.types import YOLODataset",
        "from synapse_sdk.plugins.errors import PluginError",
        "from synapse_sdk.plugins.steps import BaseStep, Orchestrator, StepRegistry",
        "from synapse_sdk.plugins.pipelines import ActionPipeline",
        "from synapse_sdk.loggers import BaseLogger, ConsoleLogger, NoOpLogger",
        "from synapse_sdk.plugins.ui_schema import pydantic_to_ui_schema",
        "from synapse_sdk.enums import FileField",
        "from synapse_sdk.i18n import translate",
        "from synapse_sdk.plugins import BaseTrainAction",
        "from synapse_sdk.plugins import BaseInferenceAction",
        "from synapse_sdk.plugins import BaseExportAction",
        "from synapse_sdk.plugins import BaseUploadAction",
        "from synapse_sdk.plugins.executors.local import LocalExecutor",
        "from synapse_sdk.plugins.runner import run_plugin",
        "from synapse_sdk.clients import BackendClient",
    ],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    added = loaded_by(BASELINE + statement) - loaded_by(BASELINE)
    assert not top(added) & set(HEAVY), sorted(added)
    assert len(added) <= 45, sorted(added)


def test_logging_a_message_loads_neither_translations_nor_tqdm() -> None:
    code = BASELINE + (
        "from synapse_sdk.loggers import ConsoleLogger\n"
        "from synapse_sdk.plugins.context import RuntimeContext, PluginEnvironment\n"
        "ctx = RuntimeContext(ConsoleLogger(), PluginEnvironment())\n"
        "ctx.log_message('hello', 'info'); ctx.set_progress(1, 2)\n"
    )
    added = loaded_by(code)
    assert not {"synapse_sdk.i18n", "tqdm", "logging"} & added


@pytest.mark.parametrize("kind", ["dataset", "export", "to_task", "train", "upload"])
def test_codes_of_actions_are_found_beside_their_base(kind: str) -> None:
    name = kind.title().replace("_", "") + "LogMessageCode"
    actions = f"synapse_sdk.plugins.actions.{kind}"
    before = loaded_by("import synapse_sdk.plugins.log_messages")
    assert actions not in before
    after = loaded_by(
        f"from synapse_sdk.plugins.log_messages import {name}\n"
        f"from {actions}.log_messages import {name} as same\n"
        f"assert {name} is same"
    )
    assert actions in after
