"""Owns execution in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.executors.invocation import action_class, invoke, plain_result
from synapse_sdk.plugins.results import ActionResult

if TYPE_CHECKING:
    from synapse_sdk.plugins.context import RuntimeContext
    from synapse_sdk.plugins.environment import PluginEnvironment


class LocalExecutor:
    """Executes actions in this process, with a client of the configured or embedded backend.

    Args:
        env: Variables for `ctx.env`: a mapping, a PluginEnvironment, or None for those of this
            process. They are not put into `os.environ`.
        job_id: What `ctx.job_id` says.
        language: Language of log messages ("en", "ko").
    """

    def __init__(
        self,
        env: Mapping[str, Any] | PluginEnvironment | None = None,
        job_id: str | None = None,
        language: str | None = None,
    ) -> None:
        self.env = env
        self.job_id = job_id
        self.language = language

    def execute(self, action_cls: Any, params: Any = None, **_ignored: Any) -> ActionResult:
        """Execute an action class or an action function with `params`, and return its result.

        The fields of a mapping, model or dataclass are the result's keys and attributes; any
        other value is under the key `result`. It is also printed on stdout, as `Result: <json>`.

        Raises ValidationError for bad params (`details`: pydantic's errors), a PluginError of the
        action unchanged, ExecutionError for anything else (`__cause__`, `details['traceback']`).
        """
        action = action_class(action_cls)
        ctx = self._context()
        # A class that discovery loaded may import more of its plugin while it runs.
        modules = getattr(action, "_plugin_modules", None)
        try:
            with modules.active() if modules is not None else nullcontext():
                result = invoke(action, params, ctx)
            value, warnings = plain_result(action, result)
            for warning in warnings:
                ctx.logger.warning(warning)
        finally:
            ctx.logger.finish()
        text = json.dumps(value, ensure_ascii=False)
        print(f"Result: {text}", flush=True)
        return ActionResult.of(result)

    def _context(self) -> RuntimeContext:
        from synapse_sdk.clients import get_client
        from synapse_sdk.loggers import ConsoleLogger
        from synapse_sdk.plugins.context import RuntimeContext
        from synapse_sdk.plugins.environment import PluginEnvironment

        if self.env is None:
            env = PluginEnvironment.from_environ()
        elif isinstance(self.env, PluginEnvironment):
            env = self.env
        else:
            env = PluginEnvironment(dict(self.env))
        # Names of hosts and tokens come from the process too: a test's env={"DEBUG": ...} is an
        # addition for the action, not a log-out.
        known = {**PluginEnvironment.from_environ().to_dict(), **env.to_dict()}
        return RuntimeContext(
            logger=ConsoleLogger(),
            env=env,
            job_id=self.job_id,
            client=get_client(known),
            language=self.language,
        )
