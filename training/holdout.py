"""Photographs set aside, and how near a network in training comes to the teacher on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.graph import NetworkTensors
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import Fit, Float32Array, InputSpec, Preprocessing, UInt8Array
from training import crops
from training.photographs import loaded
from training.scores import Answers, scores

FITS: tuple[Fit, ...] = ("squash", "crop")
TEACHER_SIZE = 224
BATCH = 32


class Holdout:
    """Photographs under both fits, read as ``fvcli extract`` reads them, with the teacher's answers at 224.

    truth: int [n], their classes, if they are known.
    """

    def __init__(self, teacher: MobileNetV1, paths: Sequence[Path], truth: NDArray[np.int64] | None = None) -> None:
        self._truth = truth
        self._teacher = graph.network_arrays(teacher)
        self._views = {fit: loaded(paths, input_of(crops.STUDENT_SIZE), Preprocessing(fit=fit)) for fit in FITS}
        large = {fit: loaded(paths, input_of(TEACHER_SIZE), Preprocessing(fit=fit)) for fit in FITS}
        self._wanted = {fit: self._answers(run(self._teacher, large[fit])) for fit in FITS}

    def scores(self, fit: Fit, network: NetworkTensors) -> dict[str, NDArray[np.float64]]:
        """By name one number per photograph; see :func:`training.scores.scores`."""
        return self.scores_of(fit, partial(run, network))

    def scores_of(self, fit: Fit, model: Callable[[UInt8Array], Float32Array]) -> dict[str, NDArray[np.float64]]:
        """The scores of anything that makes features [n, 1024] of uint8 images [n, 160, 160, 3]."""
        return scores(self._answers(model(self._views[fit])), self._truth, self._wanted[fit])

    def _answers(self, features: Float32Array) -> Answers:
        return Answers(features, graph.logits(self._teacher, tf.constant(features)).numpy())


def input_of(size: int) -> InputSpec:
    """The input of a float network at ``size``."""
    return InputSpec(size, size, value_range=(0.0, 1.0))


def run(network: NetworkTensors, images: UInt8Array) -> Float32Array:
    """uint8 [n, h, w, 3] -> features float32 [n, d], in batches."""
    parts = [
        graph.features(network, tf.cast(images[start : start + BATCH], tf.float32) / 255.0).numpy()
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)
