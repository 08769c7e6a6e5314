"""Owns the names under which inference reports its progress."""

from __future__ import annotations


class InferenceProgressCategories:
    """Steps of an inference, as `self.progress.X`."""

    MODEL_LOAD = "model_load"
    INFERENCE = "inference"
    POSTPROCESS = "postprocess"
