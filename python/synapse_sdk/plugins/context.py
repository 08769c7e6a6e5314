"""Owns the context of a run, which actions reach as `self.ctx`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from synapse_sdk.plugins.environment import PluginEnvironment
from synapse_sdk.plugins.models.logger import LogLevel

if TYPE_CHECKING:
    from synapse_sdk.i18n import LocalizedMessage
    from synapse_sdk.loggers import BaseLogger
    from synapse_sdk.plugins.log_messages import LogMessageCode

    MessageLike: TypeAlias = str | Mapping[str, str] | LocalizedMessage | LogMessageCode

__all__ = ["PluginEnvironment", "RuntimeContext"]


@dataclass
class RuntimeContext:
    """Everything that a run gives to its action.

    Attributes:
        logger: where events, progress and metrics go.
        env: the run's variables.
        job_id: the run's id, None when it has none.
        client: client of the backend; None when no backend can be had.
        v2_client: client of the backend's second API, None when there is none.
        agent_client: client of the agent, None when there is none.
        checkpoint: `{"category", "path", "id", "name"}` to start from, or None.
        language: of messages, such as `ko`; None leaves it to the environment.
    """

    logger: BaseLogger
    env: PluginEnvironment
    job_id: str | None = None
    client: Any = None
    v2_client: Any = None
    agent_client: Any = None
    checkpoint: dict[str, Any] | None = None
    language: str | None = None

    @property
    def client_v1(self) -> Any:
        """The same as `client`."""
        return self.client

    @property
    def client_v2(self) -> Any:
        """The same as `v2_client`."""
        return self.v2_client

    def log(
        self,
        event: str,
        data: Mapping[str, Any],
        file: str | None = None,
        level: LogLevel | str = LogLevel.INFO,
        *,
        step: str | None = None,
    ) -> None:
        """Logs an event with its data.

        Raises:
            TypeError: `data` is no mapping.
            ValueError: there is no such level.
        """
        self.logger.log(LogLevel(level), event, data, file, step)

    def log_message(
        self,
        message: MessageLike,
        level: LogLevel | str = LogLevel.INFO,
        *,
        context: LogLevel | str | None = None,
        language: str | None = None,
        step: str | None = None,
        **fmt: Any,
    ) -> None:
        """Logs a message for the person who runs the action.

        Logged as event `message` with data `{"content": text}`, and `"key"` for a code.

        Args:
            message: text; a dict or LocalizedMessage of one template per language; or a
                LogMessageCode, which brings its own level.
            level: a LogLevel or its name.
            context: the older name of `level`; deprecated.
            language: of the text, before `ctx.language`, the one that `set_language` set,
                SYNAPSE_LANGUAGE of the run and of the process, and English.
            step: the step that it belongs to; the current one by default.
            fmt: values for the template. Text is formatted only when there are any.

        Raises:
            ValueError: there is no such level; the text names those that there are.
        """
        if context is not None:
            level = older_level(context)
        data, severity = self._rendered(message, LogLevel(level), language, fmt)
        self.logger.log(severity, "message", data, None, step)

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        """Says how far a step is: `current` of `total`.

        Raises:
            ValueError: `total` is not above 0, or `current` is not between 0 and `total`.
        """
        self.logger.set_progress(current, total, category if step is None else step)

    def set_metrics(
        self, value: Mapping[str, Any], step: str | None = None, *, category: str | None = None
    ) -> None:
        """Records metrics of a step; values of the same step are merged.

        Raises:
            TypeError: `value` is no mapping.
            ValueError: no step is given, and none is current.
        """
        self.logger.set_metrics(value, category if step is None else step)

    def log_metric(self, category: str, key: str, value: Any, **metrics: Any) -> None:
        """Logs a point of a series: event `metric`, data `{category, key, value, metrics}`."""
        data = {"category": str(category), "key": key, "value": value, "metrics": metrics}
        self.logger.log(LogLevel.INFO, "metric", data)

    def log_visualization(
        self, category: str, group: str, index: int, image: str, **meta: Any
    ) -> None:
        """Logs an image: event `visualization`, data `{category, group, index, image, meta}`."""
        data = {
            "category": str(category),
            "group": group,
            "index": index,
            "image": str(image),
            "meta": meta,
        }
        self.logger.log(LogLevel.INFO, "visualization", data)

    def log_trials(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        trials: Any = None,
        base: Any = None,
        hyperparameters: Any = None,
        metrics: Any = None,
        best_trial: str = "",
    ) -> None:
        """Logs the table of a hyperparameter search: event `trials`.

        Args:
            data: the whole table; else it is made of the other arguments.
            trials: trial id to its values.
            base: names of the columns that say how far a trial is.
            hyperparameters: names of the columns that were searched.
            metrics: names of the columns that were measured.
            best_trial: id of the best trial so far.
        """
        if data is None:
            data = {
                "trials": {} if trials is None else trials,
                "base": [] if base is None else base,
                "hyperparameters": [] if hyperparameters is None else hyperparameters,
                "metrics": [] if metrics is None else metrics,
                "best_trial": best_trial,
            }
        self.logger.log(LogLevel.INFO, "trials", data)

    def log_dev_event(self, message: str, data: Mapping[str, Any] | None = None) -> None:
        """Logs for the plugin's developer: event `dev_event`, data `{content[, data]}`, debug."""
        entry: dict[str, Any] = {"content": message}
        if data is not None:
            entry["data"] = dict(data)
        self.logger.log(LogLevel.DEBUG, "dev_event", entry)

    def end_log(self) -> None:
        """Says that the run is complete."""
        from synapse_sdk.plugins.log_messages import CommonLogMessageCode

        self.log_message(CommonLogMessageCode.PLUGIN_RUN_COMPLETE)

    def _rendered(
        self, message: Any, level: LogLevel, language: str | None, fmt: dict[str, Any]
    ) -> tuple[dict[str, Any], LogLevel]:
        if type(message) is str:  # the usual case needs none of the machinery below
            if not fmt:
                return {"content": message}, level
            from synapse_sdk.i18n import fill

            return {"content": fill(message, fmt)}, level
        from synapse_sdk.i18n import LocalizedMessage, fill, get_translator
        from synapse_sdk.plugins.log_messages import LogMessageCode

        translator = get_translator()
        wanted = language or self.language or translator.chosen or self._env_language()
        if isinstance(message, LogMessageCode):
            text = translator.render(message.value, wanted, fmt)
            return {"content": text, "key": message.value}, message.level
        if isinstance(message, Mapping):
            message = LocalizedMessage(**{str(key): text for key, text in message.items()})
        if isinstance(message, LocalizedMessage):
            text = message.get(wanted or translator.language)
            return {"content": fill(text, fmt) if fmt else text}, level
        text = str(message)
        return {"content": fill(text, fmt) if fmt else text}, level

    def _env_language(self) -> str | None:
        # A test may put anything in the environment's place.
        language = self.env.get("SYNAPSE_LANGUAGE") if hasattr(self.env, "get") else None
        return language if isinstance(language, str) else None


def older_level(context: LogLevel | str) -> LogLevel | str:
    """Warns the caller's caller that `log_message(context=...)` is the older name of `level`."""
    warnings.warn(
        "log_message(context=...) is deprecated: pass the level as level=...",
        DeprecationWarning,
        stacklevel=3,
    )
    return context
