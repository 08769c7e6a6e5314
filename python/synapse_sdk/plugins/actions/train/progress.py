"""Owns the names under which training reports its progress."""

from __future__ import annotations


class TrainProgressCategories:
    """Steps of a training, as `self.progress.X`."""

    DATASET = "dataset"
    CONVERT = "convert"
    TRAIN = "train"
    TRIALS = "trials"
    MODEL_UPLOAD = "model_upload"
