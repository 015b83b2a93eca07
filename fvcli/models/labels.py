"""Class labels of feature vectors: a network's classifier, run by LiteRT in the arithmetic that its file has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fvcli.errors import ModelError, UsageError
from fvcli.models.litert import new_interpreter
from fvcli.records import Float32Array

Classes: TypeAlias = tuple[tuple[str, ...], tuple[float, ...]]
"""The labels of the best classes, best first, and their probabilities as float32 numbers."""

_IMAGENET_CLASSES: Final = 1001


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier as a .tflite: features [1, 1, 1, d] -> logits [1, 1, 1, classes], both float32 or both uint8.

    positions: pixels of the last map, whose mean the features are.
    """

    name: str
    data: bytes
    positions: int

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of the file and of ImageNet's labels."""
        return hashlib.sha256(self.data + "\n".join(imagenet_labels()).encode()).hexdigest()


class Labeler:
    """The ``count`` best classes of feature vectors. One instance serves one thread.

    Equal logits are in the order of the classes. Raises UsageError for more labels than there are classes.
    """

    def __init__(self, classifier: Classifier, count: int) -> None:
        self._classifier = classifier
        self._count = count
        self._interpreter = new_interpreter(classifier.data, classifier.name)
        source, target = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self._source, self._target = source, target
        classes = int(target["shape"][-1])
        if not 1 <= count <= classes:
            raise UsageError(f"{classifier.name}: its classifier has {classes:,} classes; --labels is 1 to {classes}")
        self._labels = imagenet_labels() if classes == _IMAGENET_CLASSES else tuple(map(str, range(classes)))

    def __call__(self, features: Float32Array) -> list[Classes]:
        """The classes of float32 [n, d]. Raises ModelError if LiteRT fails."""
        return [self._best(row) for row in features]

    def per_thread(self) -> Labeler:
        return Labeler(self._classifier, self._count)

    def _best(self, features: Float32Array) -> Classes:
        logits = self._logits(features)
        best = np.argsort(-logits, kind="stable")[: self._count]
        weights = np.exp(logits - logits[best[0]])
        scores = (weights[best] / weights.sum()).astype(np.float32)
        return tuple(self._labels[number] for number in best), tuple(scores.tolist())

    def _logits(self, features: Float32Array) -> NDArray[np.float64]:
        """float64 [classes]."""
        try:
            self._interpreter.set_tensor(self._source["index"], self._input(features).reshape(1, 1, 1, -1))
            self._interpreter.invoke()
            result: NDArray[Any] = self._interpreter.get_tensor(self._target["index"]).reshape(-1)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self._classifier.name}: LiteRT could not run the classifier: {error}") from error
        if result.dtype == np.float32:
            return result.astype(np.float64)
        scale, zero_point = self._target["quantization"]
        real: NDArray[np.float64] = (result.astype(np.float64) - zero_point) * float(scale)
        return real

    def _input(self, features: Float32Array) -> NDArray[Any]:
        """The features as the classifier takes them: float32, or uint8 codes rounded as AVERAGE_POOL_2D rounds them."""
        if self._source["dtype"] == np.float32:
            return features
        scale, zero_point = self._source["quantization"]
        positions = self._classifier.positions
        # The sum of the map's codes: a whole number, as the features are its mean.
        sums = np.rint(features.astype(np.float64) / float(scale) * positions).astype(np.int64) + zero_point * positions
        codes: NDArray[Any] = np.clip((sums + positions // 2) // positions, 0, 255).astype(np.uint8)
        return codes


def imagenet_labels() -> tuple[str, ...]:
    """The labels of ImageNet's 1,000 classes behind "background", in the order of Google's networks."""
    text = (resources.files("fvcli.models") / "embedded" / "labels.txt").read_text("utf-8")
    return tuple(text.splitlines())
