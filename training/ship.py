"""Turns a finished training into the embedded model and measures it: ``python -m training.ship --help``."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fvcli.models.litert import LiteRTModel
from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.compile import compile_int8
from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from fvcli.models.mobilenet.network import MobileNetV1, exactness
from fvcli.models.mobilenet.reference import network_model
from fvcli.models.model_card import ModelCard
from fvcli.records import Float32Array, UInt8Array
from training import photographs
from training.holdout import FITS, Validation, cosines, run
from training.recipe import FLOAT_SHARE, ROUNDING_VIEWS, Recipe
from training.train import Places, checkpoints_of, float_trainer, quantized_trainer

FOLDER = Path(__file__).resolve().parents[1] / "fvcli" / "models" / "embedded"
NAME = "mobilenet_v1_1.0_160"
LICENCE = "Apache-2.0"
LIBRARIES = ("tensorflow", "ai-edge-litert", "numpy", "pillow")


def card_of(network: MobileNetV1, data: bytes, notes: dict[str, Any]) -> ModelCard:
    """The card that stands beside the compiled file."""
    return ModelCard(
        name="embedded",
        identity=network.identity,
        engine="int8",
        dimension=graph.feature_dimension(network.depth_multiplier),
        licence=LICENCE,
        input_spec=network.input_spec,
        file_sha256=hashlib.sha256(data).hexdigest(),
        notes=notes,
    )


def measured(network: MobileNetV1, data: bytes, places: Places) -> dict[str, Any]:
    """Every figure of the card, on the validation photographs alone."""
    original = read_frozen_graph(places.graph)
    validation = Validation(original, places.data, places.labels)
    teacher = graph.network_arrays(original)
    at_160 = validation.measure(teacher)
    engines: dict[str, Callable[[UInt8Array], Float32Array]] = {
        "tensorflow": network_model(network, "embedded", LICENCE),
        "int8": LiteRTModel(card_of(network, data, {}), data),
    }
    result: dict[str, Any] = {}
    for fit in FITS:
        features = {name: engine(validation.views(fit)) for name, engine in engines.items()}
        classes = {name: validation.classes(vectors).argmax(1) for name, vectors in features.items()}
        alike = cosines(features["tensorflow"], features["int8"])
        result[fit] = {
            "teacher_224": validation.teacher()[fit],
            "float_160": at_160[fit],
            **{name: validation.compare(fit, vectors) for name, vectors in features.items()},
            "int8_against_tensorflow": {
                "agreement": float(np.mean(classes["tensorflow"] == classes["int8"])),
                "cosine_mean": float(alike.mean()),
                "cosine_least": float(alike.min()),
            },
            "over_14_views_of_each": {
                "teacher_224": validation.over_variants(fit, partial(run, teacher), photographs.TEACHER_SIZES[1]),
                "float_160": validation.over_variants(fit, partial(run, teacher), photographs.STUDENT_SIZE),
                "int8": validation.over_variants(fit, engines["int8"], photographs.STUDENT_SIZE),
            },
        }
    return result


def notes(network: MobileNetV1, places: Places, figures: dict[str, Any]) -> dict[str, Any]:
    """What the card says besides the model's contract."""
    reports = exactness(network)
    return {
        "description": "MobileNet V1 1.00 at 160x160, ImageNet features, trained with simulated 8-bit quantisation",
        "what_it_is": (
            "fvcli's own instance of the network of google/imagenet/mobilenet_v1_100_160/quantops/feature_vector/3: "
            "Google's float MobileNet_v1_1.0_224 (2017_06_14), fine-tuned at 160x160 through FakeQuant ops (per "
            "tensor, narrow range, ReLU6 outputs on [0, 6]) to give the features and answers of that same network at "
            "a larger input size."
        ),
        "what_it_is_not": (
            "Not Google's module: its vectors are not those of the TF Hub module. To run the module itself, give its "
            "handle, archive or checkpoint to --model."
        ),
        "origin": {
            "network": "MobileNet_v1_1.0_224 (2017_06_14), Google, TF-Slim, Apache-2.0",
            "file": places.graph.name,
            "sha256": hashlib.sha256(places.graph.read_bytes()).hexdigest(),
        },
        "trained": {
            "command": "python -m training.train (see training/README.md)",
            "stages": json.loads((places.work / "recipe.json").read_text()),
            "reach_of_kernels": json.loads((places.work / "reach.json").read_text()),
            "kept_of_the_float_stage": FLOAT_SHARE,
            "views_for_the_grid": ROUNDING_VIEWS,
            "images": "600 photographs of ImageNet samples and the 500 of BSDS500, without labels",
            "python": platform.python_version(),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        },
        "exact_channels": {
            "exact": sum(report.exact for report in reports),
            "channels": sum(report.channels for report in reports),
        },
        "measured": {
            "on": (
                f"{photographs.VALIDATION} photographs of ImageNet samples that training never saw; classes "
                "through the teacher's own classifier on the feature vectors"
            ),
            "mind": (
                "Google's network has probably seen these photographs in its own training: the figures compare models "
                "with each other and say nothing of validation accuracy on ImageNet."
            ),
            "agreement": "share of photographs for which the answer is that of the teacher at 224",
            **_rounded(figures),
        },
    }


def _rounded(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _rounded(value) for name, value in values.items()}
    return round(values, 5) if isinstance(values, float) else values


def ship(network: MobileNetV1, places: Places, folder: Path) -> dict[str, Any]:
    """Writes the compiled file and its card into ``folder``; returns the figures."""
    data = compile_int8(network)
    figures = measured(network, data, places)
    card = card_of(network, data, notes(network, places, figures))
    (folder / f"{NAME}.tflite").write_bytes(data)
    (folder / f"{NAME}.json").write_text(json.dumps(card.to_json(), indent=1, ensure_ascii=False) + "\n")
    return figures


def trained(places: Places) -> MobileNetV1:
    """The averaged weights that the training in ``places.work`` ended with, as integers."""
    stages = [Recipe(**values) for values in json.loads((places.work / "recipe.json").read_text())]
    first = float_trainer(stages[0], places)
    checkpoints_of(first, places)
    last = quantized_trainer(stages[1], places, first)
    checkpoints_of(last, places)
    last.swap_average()
    return last.student.network(photographs.STUDENT_SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.ship", description=__doc__)
    Places.add_arguments(parser)
    parser.add_argument("--output", type=Path, default=FOLDER)
    values = parser.parse_args()
    places = Places(values.graph, values.data, values.labels, values.work)
    print(json.dumps(_rounded(ship(trained(places), places, values.output)), indent=1))


if __name__ == "__main__":
    main()
