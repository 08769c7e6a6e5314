"""Owns reporting a training framework's own metrics and progress."""

from __future__ import annotations

import numbers
from importlib import import_module
from typing import TYPE_CHECKING, Any

from synapse_sdk.plugins.actions.train.progress import TrainProgressCategories
from synapse_sdk.plugins.enums import MetricsCategory

if TYPE_CHECKING:
    from synapse_sdk.plugins.action import BaseAction

FRAMEWORKS = ("ultralytics",)


def attach(action: BaseAction[Any], framework: str) -> None:
    """Make every training that `framework` starts from now on report to `action`.

    Raises:
        ValueError: Not one of the frameworks known.
        ImportError: It is not installed.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"unknown framework {framework!r}; known: {', '.join(FRAMEWORKS)}")
    try:
        model_class = import_module("ultralytics").YOLO
    except ImportError as error:
        raise ImportError(
            "ultralytics is not installed; add it to the plugin's requirements", name="ultralytics"
        ) from error
    callbacks = {
        "on_train_epoch_end": lambda trainer: _epoch(action, trainer),
        "on_fit_epoch_end": lambda trainer: _validated(action, trainer),
    }
    start = model_class.__init__
    start = getattr(start, "__synapse_original__", start)

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        start(self, *args, **kwargs)
        for name, callback in callbacks.items():
            self.add_callback(name, callback)

    # The last action that asked is the one that is told.
    begin.__synapse_original__ = start  # type: ignore[attr-defined]
    model_class.__init__ = begin


def _epoch(action: BaseAction[Any], trainer: Any) -> None:
    epoch, epochs = int(trainer.epoch) + 1, int(trainer.epochs)
    action.set_progress(min(epoch, epochs), epochs, TrainProgressCategories.TRAIN)
    losses = trainer.label_loss_items(trainer.tloss, prefix="train")
    _report(action, losses, epoch, MetricsCategory.TRAIN)
    _report(action, getattr(trainer, "lr", None) or {}, epoch, MetricsCategory.TRAIN)


def _validated(action: BaseAction[Any], trainer: Any) -> None:
    _report(action, trainer.metrics or {}, int(trainer.epoch) + 1, MetricsCategory.VALIDATION)


def _report(action: BaseAction[Any], values: Any, epoch: int, category: MetricsCategory) -> None:
    found = {}
    for name, value in dict(values).items():
        number = value.item() if hasattr(value, "item") else value
        if isinstance(number, numbers.Real):
            found[_name(str(name))] = float(number)
    if not found:
        return
    report = getattr(action, "report_metrics", None)
    if report is not None:
        report(found, epoch=epoch, category=category)
    else:
        action.log_metric(category, "epoch", epoch, **found)


def _name(name: str) -> str:
    """Return a metric's name as a keyword: `metrics/mAP50(B)` becomes `metrics_mAP50_B`."""
    return "".join(letter if letter.isalnum() else "_" for letter in name).strip("_")
