"""How good a network is on the photographs that are never trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.graph import NetworkTensors
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import Float32Array, UInt8Array
from training import photographs

FITS = ("squash", "crop")
TEACHER_BATCH = 32


@dataclass(frozen=True, slots=True)
class Measured:
    """top1: share of photographs named rightly through the teacher's classifier. agreement: the teacher's own answer
    given. cosine: mean between feature vectors. divergence: Kullback-Leibler, of the teacher's classes."""

    top1: float
    agreement: float
    cosine: float
    divergence: float


class Validation:
    """The validation photographs under both fits, with the teacher's answers at 224."""

    def __init__(self, teacher: MobileNetV1, data: Path, labels: Path) -> None:
        paths = photographs.split(data).validation
        self.images = [photographs.load(path) for path in paths]
        self._truth = photographs.true_classes(paths, labels)
        self._teacher = graph.network_arrays(teacher)
        self._views = {fit: photographs.views(self.images, photographs.STUDENT_SIZE, fit) for fit in FITS}
        self._answers = {}
        for fit in FITS:
            views = photographs.views(self.images, 224, fit, Image.Resampling.BOX)
            self._answers[fit] = run(self._teacher, views)

    def views(self, fit: str) -> UInt8Array:
        """uint8 [106, 160, 160, 3]: what the student sees."""
        return self._views[fit]

    def measure(self, network: NetworkTensors) -> dict[str, dict[str, float]]:
        """By fit: the figures of :class:`Measured`."""
        return {fit: self.compare(fit, run(network, self._views[fit])) for fit in FITS}

    def teacher(self) -> dict[str, dict[str, float]]:
        """The figures of the teacher at 224 against itself."""
        return {fit: self.compare(fit, self._answers[fit]) for fit in FITS}

    def over_variants(self, fit: str, features: Callable[[UInt8Array], Float32Array], size: int) -> dict[str, float]:
        """top1 and cross_entropy over many views of each photograph: less a matter of luck than over a single one."""
        right, errors = [], []
        for views in photographs.variants(self.images, size, fit):
            likely = tf.nn.log_softmax(self.classes(features(views))).numpy()
            right.append(np.mean(likely.argmax(1) == self._truth))
            errors.append(-np.mean(likely[np.arange(len(likely)), self._truth]))
        return {"top1": float(np.mean(right)), "cross_entropy": float(np.mean(errors))}

    def classes(self, features: Float32Array) -> Float32Array:
        """float32 [n, 1001]: logits through the teacher's classifier."""
        result: Float32Array = graph.logits(self._teacher, tf.constant(features)).numpy()
        return result

    def compare(self, fit: str, features: Float32Array) -> dict[str, float]:
        """The figures of feature vectors [106, 1024] that came from :meth:`views`."""
        wanted, given = self.classes(self._answers[fit]), self.classes(features)
        return {
            "top1": float(np.mean(given.argmax(1) == self._truth)),
            "agreement": float(np.mean(given.argmax(1) == wanted.argmax(1))),
            "cosine": float(np.mean(cosines(features, self._answers[fit]))),
            "divergence": divergence(wanted, given),
            "cross_entropy": float(-np.mean(tf.nn.log_softmax(given).numpy()[np.arange(len(given)), self._truth])),
        }


def run(network: NetworkTensors, images: UInt8Array) -> Float32Array:
    """uint8 [n, h, w, 3] -> features float32 [n, d], in batches."""
    parts = [
        graph.features(network, tf.cast(images[start : start + TEACHER_BATCH], tf.float32) / 255.0).numpy()
        for start in range(0, len(images), TEACHER_BATCH)
    ]
    return np.concatenate(parts)


def divergence(wanted: Float32Array, given: Float32Array) -> float:
    """Kullback-Leibler, of the classes whose logits are [n, classes]; the mean over the rows."""
    likely = tf.nn.log_softmax(wanted).numpy()
    return float(np.mean(np.sum(np.exp(likely) * (likely - tf.nn.log_softmax(given).numpy()), axis=1)))


def cosines(first: Float32Array, second: Float32Array) -> Any:
    """The cosine of each pair of rows."""
    return np.sum(first * second, axis=1) / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))
