"""The student, its optimiser and one compiled step of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.graph import NetworkTensors
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import Float32Array
from training import teacher
from training.half_gradients import half_gradients
from training.optimizer import Optimizer
from training.recipe import Stage
from training.student import Student

PARTS = ("features", "last", "hint", "classes")
"""The parts of the loss."""


class Batch(NamedTuple):
    """Rows of chunks: uint8 images or the trunk's maps of them, the teacher's maps and features, the other's logits."""

    student: Any
    hint: Any
    last: Any
    features: Any
    second: Any


class Trainer(tf.Module):
    """Trains ``network`` in float as the stage says; all its state is in variables, for checkpoints.

    factors: by layer name, what equalization multiplied its channels by, so that hints can be compared. original:
    Google's network, whose classifier is used.
    """

    def __init__(
        self,
        stage: Stage,
        network: MobileNetV1,
        factors: Mapping[str, Float32Array],
        original: MobileNetV1,
    ) -> None:
        super().__init__()
        self.stage = stage
        self.student = Student(network)
        trained = slice(stage.frozen, None)
        parts = (self.student.kernels, self.student.gains, self.student.biases)
        self._variables = [variable for part in parts for variable in part[trained]]
        sizes = [float(np.sqrt(np.mean(np.square(layer.kernel)))) for layer in network.layers[trained]]
        self._rates = [stage.kernel_rate * size for size in sizes] + [stage.gain_rate] * 2 * len(sizes)
        self.optimizer = Optimizer(self._variables, pull=stage.pull, average=stage.average)
        self.hint_factors = tf.constant(factors[teacher.HINT])
        self._classifier = graph.network_arrays(original)
        self._directions = class_directions(original)

    def trunk(self, images: Any) -> Any:
        """float16 [n, h, w, channels]: what the frozen layers make of uint8 images [n, 160, 160, 3].

        Outside a tf.function, so that it is computed in float32 whatever the step is computed in.
        """
        part = slice(0, self.stage.frozen)
        maps = graph.partial_endpoints(self.tensors(), tf.cast(images, tf.float32) / 127.5 - 1.0, part)
        return tf.cast(list(maps.values())[-1], tf.float16)

    @tf.function
    def step(self, batch: Batch, schedule: Any) -> tuple[Any, Any]:
        """Returns the loss, and its four parts, unweighted."""
        stage = self.stage
        with half_gradients():
            if stage.frozen:
                part = slice(stage.frozen, None)
                maps = graph.partial_endpoints(self.tensors(), tf.cast(batch.student, tf.float32), part)
            else:
                maps = graph.endpoints(self.tensors(), tf.cast(batch.student, tf.float32) / 255.0)
        last = maps[teacher.LAST]
        seen = graph.pooled(last)
        hint = maps[teacher.HINT] / self.hint_factors
        logits = self._wanted_logits(batch)
        toward = self._toward_classes(batch.features, logits)
        parts = tf.stack(
            [
                relative_error(seen, stage.length * (batch.features + toward)),
                relative_error(last, stage.length * (tf.cast(batch.last, tf.float32) + toward[:, None, None, :])),
                relative_error(hint, tf.cast(batch.hint, tf.float32)),
                self._class_error(seen, logits),
            ]
        )
        weights = [getattr(stage, f"{part}_weight") for part in PARTS]
        loss = tf.reduce_sum(parts * tf.constant(weights))
        gradients = tf.gradients(loss, self._variables)
        self.optimizer.apply(gradients, self._rates, schedule)
        return loss, parts

    def _wanted_logits(self, batch: Batch) -> Any:
        """The weighted mean of both teachers' logits."""
        share = self.stage.second_weight
        first = graph.logits(self._classifier, batch.features)
        return (1 - share) * first + share * tf.cast(batch.second, tf.float32)

    def _toward_classes(self, features: Any, logits: Any) -> Any:
        """float32 [n, 1024]: what moves features to those of their classes, so that these are nearer to one another."""
        length = self.stage.sharpness * tf.norm(features, axis=1, keepdims=True)
        return length * tf.matmul(tf.nn.softmax(logits), self._directions)

    def _class_error(self, seen: Any, logits: Any) -> Any:
        """Divergence of the softened classes from the wanted ones, through the teacher's own classifier."""
        heat = self.stage.temperature
        wanted = tf.nn.log_softmax(logits / heat)
        given = tf.nn.log_softmax(graph.logits(self._classifier, seen) / heat)
        return tf.reduce_mean(tf.reduce_sum(tf.exp(wanted) * (wanted - given), axis=1)) * heat**2

    def tensors(self) -> NetworkTensors:
        """The student as it is trained: in float."""
        return self.student.tensors(quantized=False)

    def swap_average(self) -> None:
        """Exchanges the variables and their moving averages; twice is nothing."""
        for variable, average in zip(self._variables, self.optimizer.averages, strict=True):
            value = tf.identity(variable)
            variable.assign(average)
            average.assign(value)

    def settle(self, share: float) -> None:
        """Puts every variable ``share`` of the way from where the stage began to its moving average.

        Part of the way keeps more of what the start knew of other images (Wortsman et al., 2022).
        """
        for variable, start, average in zip(
            self._variables, self.optimizer.initial, self.optimizer.averages, strict=True
        ):
            variable.assign(start + share * (average - start))


def class_directions(original: MobileNetV1) -> Any:
    """float32 [classes, 1024], rows of length 1: the classifier's weights of each class, less their mean over all."""
    assert original.logits is not None
    weights = original.logits.kernel[0, 0].T
    weights = weights - weights.mean(axis=0)
    return tf.constant(weights / np.linalg.norm(weights, axis=1, keepdims=True))


def relative_error(given: Any, wanted: Any) -> Any:
    """Squared error over the batch as a share of the squares of what was wanted."""
    return tf.reduce_sum(tf.math.squared_difference(given, wanted)) / tf.reduce_sum(tf.square(wanted))
