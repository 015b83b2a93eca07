"""The teacher's depthwise kernels, resampled for the smaller image: where training starts.

At 160 a thing spans fewer cells of every map than the teacher learned at 224, so a kernel's outer taps see too far
from its center. A kernel of reach r < 1 has them r cells away instead of one and reads the map there by linear
interpolation, which is again a 3x3 kernel. One number for each late depthwise layer, found by coordinate descent on
training photographs: too few numbers to overfit the photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import Float32Array
from training import crops, photographs
from training.holdout import FITS, TEACHER_SIZE, run
from training.scores import divergence

SEARCHED = tuple(f"Conv2d_{number}_depthwise" for number in range(13, 6, -1))
"""From the last: the later a layer, the more of its taps lie beyond what it should see."""

STEPS = (0.1, 0.05)
PHOTOGRAPHS = 300


def resampling(reach: float) -> Float32Array:
    """float32 [3, 3]: from taps at -reach, 0, reach (columns) to taps at -1, 0, 1 (rows)."""
    return np.array([[reach, 0, 0], [1 - reach, 1, 1 - reach], [0, 0, reach]], np.float32)


def resampled(network: MobileNetV1, reaches: Mapping[str, float]) -> MobileNetV1:
    """``network`` with the kernels of the named layers at their reach."""
    layers = []
    for layer in network.layers:
        if layer.name in reaches:
            matrix = resampling(reaches[layer.name])
            layer = replace(layer, kernel=np.einsum("ax,by,xyco->abco", matrix, matrix, layer.kernel))
        layers.append(layer)
    return replace(network, layers=tuple(layers))


class Nearness:
    """The nearness of the classes at 160 to the teacher's at 224 for reaches, on training photographs."""

    def __init__(self, teacher: MobileNetV1, data: Path) -> None:
        paths = [path for path in photographs.split(data).train if path.parent.name == "photos"]
        chosen = np.random.default_rng(5).permutation(len(paths))[:PHOTOGRAPHS]
        images = [photographs.load(paths[index]) for index in chosen]
        self._teacher = teacher
        self._classifier = graph.network_arrays(teacher)
        self._views, self._wanted = [], []
        for fit in FITS:
            self._views.append(crops.views(images, crops.STUDENT_SIZE, fit))
            large = crops.views(images, TEACHER_SIZE, fit)
            self._wanted.append(self._classes(run(self._classifier, large)))

    def divergence(self, reaches: Mapping[str, float]) -> float:
        """Of the classes from the teacher's: the mean over photographs, summed over both fits."""
        network = graph.network_arrays(resampled(self._teacher, reaches))
        return sum(
            divergence(wanted, self._classes(run(network, views)))
            for views, wanted in zip(self._views, self._wanted, strict=True)
        )

    def _classes(self, features: Float32Array) -> Float32Array:
        result: Float32Array = graph.logits(self._classifier, tf.constant(features)).numpy()
        return result


def found(
    loss: Callable[[Mapping[str, float]], float], names: Sequence[str], steps: Sequence[float]
) -> dict[str, float]:
    """One number a name, at the least ``loss`` that coordinate descent reaches from 1 everywhere."""
    best = dict.fromkeys(names, 1.0)
    least = loss(best)
    for step in steps:
        for name in names:
            for direction in (-step, step):
                moved = False
                while (result := loss(trial := {**best, name: round(best[name] + direction, 3)})) < least:
                    best, least, moved = trial, result, True
                if moved:
                    break
            print(f"{name}: {best[name]:.2f}, loss {least:.4f}", flush=True)
    return best
