"""Where training begins: the teacher's weights, with kernels that reach less far, equalized for 8 bits."""

from __future__ import annotations

import json
from dataclasses import dataclass

from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import Float32Array
from training import crops, work
from training.float_network import HINT
from training.reach import SEARCHED, STEPS, Nearness, found, resampled
from training.recipe import Recipe
from training.student import activation_maxima, equalized
from training.work import Places

VIEWS = 10**6
"""The second seed of views that are no chunk; those of chunks are the chunks' numbers."""


@dataclass(frozen=True, slots=True)
class Start:
    """The float network at step 0, and what equalization multiplied the channels of its inner map by [512]."""

    network: MobileNetV1
    factors: Float32Array


def start_of(original: MobileNetV1, recipe: Recipe, places: Places) -> Start:
    """From ``places.work`` where it was made before."""
    path = places.work / work.START
    if not path.exists():
        network = resampled(original, found_reaches(original, places))
        views = crops.draw(places.album(), 1024, (recipe.seed, VIEWS), recipe.drawing).student
        network, factors = equalized(network, activation_maxima(network, views))
        work.save_layers(path, network.layers, factors=factors[HINT])
    network, arrays = work.load_layers(path, original)
    return Start(network, arrays["factors"])


def found_reaches(original: MobileNetV1, places: Places) -> dict[str, float]:
    """By layer name, from ``places.work`` where they were found before."""
    path = places.work / work.REACH
    if not path.exists():
        reaches = found(Nearness(original, places.data).divergence, SEARCHED, STEPS)
        path.write_text(json.dumps(reaches, indent=1) + "\n")
    return dict(json.loads(path.read_text()))
