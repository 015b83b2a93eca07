"""Runs the quantops graph itself (the reference), or any SavedModel, with TensorFlow.

Images go through one at a time on one thread of TensorFlow's: its convolutions sum in another order in another batch
or with more threads, and FakeQuant turns the last bit of such a sum into a whole step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fvcli.errors import ModelError
from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.models.stderr_filter import tensorflow
from fvcli.records import Engine, Float32Array, InputSpec, UInt8Array

tf = tensorflow()

ENGINE: Engine = "tensorflow"


@dataclass(frozen=True, slots=True)
class TensorFlowModel:
    """A FeatureModel whose function takes float32 [1, h, w, 3] and gives float32 [1, d].

    pixel_values: float32 [256], what the function takes for each pixel value.
    """

    name: str
    input_spec: InputSpec
    dimension: int
    identity: str
    licence: str
    function: Callable[[Any], Any]
    pixel_values: Float32Array

    @property
    def engine(self) -> Engine:
        return ENGINE

    def __call__(self, images: UInt8Array) -> Float32Array:
        """uint8 RGB [n, height, width, 3] -> float32 [n, dimension]. Raises ModelError if TensorFlow fails."""
        features = np.empty((len(images), self.dimension), np.float32)
        try:
            for image, row in zip(images, features, strict=True):
                row[:] = self.function(tf.constant(self.pixel_values[image][np.newaxis]))[0]
        except (tf.errors.OpError, ValueError) as error:
            raise ModelError(f"{self.name}: TensorFlow could not run the model: {_first_line(error)}") from error
        return features

    def per_thread(self) -> TensorFlowModel:
        """Itself: TensorFlow's functions may be called from many threads."""
        return self


def network_model(network: MobileNetV1, name: str, licence: str) -> TensorFlowModel:
    """The network's own graph, plain or quantops, with weights and ranges as variables."""
    single_thread()
    variables = graph.network_variables(graph.network_arrays(network))
    spec = network.input_spec

    def run(images: Any) -> Any:
        return graph.features(variables, images)

    shape = tf.TensorSpec([1, spec.height, spec.width, 3], tf.float32)
    function = tf.function(run, input_signature=[shape], autograph=False)
    return TensorFlowModel(
        name, spec, network.layers[-1].bias.size, network.identity, licence, function, unit_values(network)
    )


def unit_values(network: MobileNetV1) -> Float32Array:
    """float32 [256]: what the graph takes in [0, 1] for each pixel value, so that FakeQuant gives the table's code."""
    spec = network.input_spec
    if network.input is None or spec.pixel_table is None:
        return np.arange(256, dtype=np.float32) / np.float32(255)
    codes = np.array(spec.pixel_table, np.float32) - np.float32(network.input.zero_point)
    return (codes * network.input.scale + np.float32(1)) / np.float32(2)


def range_values(value_range: tuple[float, float]) -> Float32Array:
    """float32 [256]: pixels 0 to 255 spread evenly over a range."""
    low, high = (np.float32(value) for value in value_range)
    return np.arange(256, dtype=np.float32) / np.float32(255) * (high - low) + low


def single_thread() -> None:
    """Asks TensorFlow for one thread in each op, as far as it has not started yet."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow already runs; what it was started with stays
        pass


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
