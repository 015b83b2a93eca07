"""Runs a function of TensorFlow's on images: a graph of fvcli's own, a SavedModel or a Keras model.

Images go through one at a time on one thread of TensorFlow's: its convolutions sum in another order in another batch
or with more threads, and FakeQuant turns the last bit of such a sum into a whole step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fvcli.errors import ModelError, first_line
from fvcli.models.frameworks import tensorflow
from fvcli.models.protocol import look_up
from fvcli.records import Engine, Float32Array, InputSpec, UInt8Array

tf = tensorflow()

ENGINE: Final[Engine] = "tensorflow"


@dataclass(frozen=True, slots=True)
class TensorFlowModel:
    """A FeatureModel whose function takes float32 [1, h, w, 3] and returns float32 [1, d].

    pixel_values: float32 [256, 3], what the function takes for each pixel value and channel.
    """

    name: str
    input_spec: InputSpec
    dimension: int
    identity: str
    license: str
    function: Callable[[Any], Any]
    pixel_values: Float32Array

    @property
    def engine(self) -> Engine:
        return ENGINE

    def __call__(self, images: UInt8Array) -> Float32Array:
        """uint8 RGB [n, height, width, 3] -> float32 [n, dimension]. Raises ModelError if TensorFlow fails."""
        features = np.empty((len(images), self.dimension), np.float32)
        values = np.empty((1, *images.shape[1:]), np.float32)
        try:
            for image, row in zip(images, features, strict=True):
                look_up(self.pixel_values, image, values[0])
                row[:] = self.function(tf.constant(values))[0]
        except (tf.errors.OpError, ValueError) as error:
            raise ModelError(f"{self.name}: TensorFlow could not run the model: {first_line(error)}") from error
        return features

    def per_thread(self) -> TensorFlowModel:
        """Itself: TensorFlow's functions may be called from many threads."""
        return self


def single_thread() -> None:
    """Set TensorFlow to one thread per op, if it has not started yet."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow already runs; what it was started with stays
        pass
