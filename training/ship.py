"""Turns a finished training into the embedded model and measures it: ``python -m training.ship --help``."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvcli.files import file_sha256
from fvcli.models.litert import LiteRTModel
from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.compile import compile_int8
from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from fvcli.models.mobilenet.network import MobileNetV1, exactness
from fvcli.models.mobilenet.reference import network_model
from fvcli.models.mobilenet.tflite_reader import parse_tflite
from fvcli.models.model_card import ModelCard
from fvcli.records import Fit, Float32Array, Preprocessing, UInt8Array
from training import crops, photographs, work
from training.evaluate import Classifier, teacher_answers
from training.holdout import FITS, TEACHER_SIZE
from training.photographs import loaded
from training.recipe import ROUNDING_VIEWS
from training.scores import NEIGHBORS, cosines, means, scores, standard_errors
from training.student import quantized
from training.train import load_grid
from training.work import Places

FOLDER = Path(__file__).resolve().parents[1] / "fvcli" / "models" / "embedded"
NAME = "mobilenet_v1_1.0_160"
LICENSE = "Apache-2.0"


def card_of(network: MobileNetV1, data: bytes, notes: dict[str, Any]) -> ModelCard:
    """The card that stands beside the compiled file."""
    return ModelCard(
        name="embedded",
        identity=network.identity,
        engine="int8",
        dimension=graph.feature_dimension(network.depth_multiplier),
        license=LICENSE,
        input_spec=network.input_spec,
        file_sha256=hashlib.sha256(data).hexdigest(),
        notes=notes,
    )


def measured(network: MobileNetV1, data: bytes, places: Places) -> dict[str, Any]:
    """Every figure of the card, on photographs that were never trained on."""
    folder = places.data / "validation"
    labeled = photographs.labeled(folder / "labels.tsv", folder, photographs.MISNAMED)
    sets = {"validation": labeled, "aside": (photographs.split(places.data).aside, None)}
    engines: dict[str, Callable[[UInt8Array], Float32Array]] = {
        "tensorflow": network_model(network, "embedded", LICENSE),
        "int8": LiteRTModel(card_of(network, data, {}), data),
    }
    return {
        name: {fit: _figures(engines, network, paths, fit, truth, places) for fit in FITS}
        for name, (paths, truth) in sets.items()
    }


def _figures(
    engines: Mapping[str, Callable[[UInt8Array], Float32Array]],
    network: MobileNetV1,
    paths: Sequence[Path],
    fit: Fit,
    truth: NDArray[np.int64] | None,
    places: Places,
) -> dict[str, Any]:
    """On one set and fit: means and standard errors of both engines and of the teacher, and the engines' likeness."""
    classifier = Classifier()
    preprocessing = Preprocessing(fit=fit)
    images = loaded(paths, network.input_spec, preprocessing)
    answers = {name: classifier(engine(images)) for name, engine in engines.items()}
    answers |= teacher_answers(str(places.graph), paths, preprocessing, images)
    wanted = answers[f"teacher at {TEACHER_SIZE}"]
    values = {name: scores(given, truth, wanted) for name, given in answers.items()}
    first, second = answers["tensorflow"], answers["int8"]
    alike = cosines(first.features, second.features)
    return {
        **{name: {"mean": means(each), "standard_error": standard_errors(each)} for name, each in values.items()},
        "int8_against_tensorflow": {
            "agreement": float(np.mean(first.logits.argmax(1) == second.logits.argmax(1))),
            "cosine_mean": float(alike.mean()),
            "cosine_least": float(alike.min()),
        },
    }


def notes(network: MobileNetV1, places: Places, figures: dict[str, Any]) -> dict[str, Any]:
    """The notes on the card besides the model's contract."""
    reports = exactness(network)
    return {
        "description": "MobileNet V1 1.00 at 160x160, ImageNet features, with 8-bit weights and activations",
        "what_it_is": (
            "fvcli's own instance of the network of google/imagenet/mobilenet_v1_100_160/quantops/feature_vector/3: "
            "Google's float MobileNet_v1_1.0_224 (2017_06_14), fine-tuned at 160x160 to give the features and answers "
            "of that same network at a larger input size, with classes of a second network, then rounded layer by "
            "layer to the grid of its FakeQuant ops (per tensor, narrow range, ReLU6 outputs on [0, 6])."
        ),
        "what_it_is_not": (
            "Not Google's module: its vectors are not those of the TF Hub module. To run the module itself, give its "
            "handle, archive or checkpoint to --model."
        ),
        "origin": {
            "network": "MobileNet_v1_1.0_224 (2017_06_14), Google, TF-Slim, Apache-2.0",
            "file": places.graph.name,
            "sha256": file_sha256(places.graph),
        },
        "second_teacher": {
            "network": "MobileNet V2 1.0 at 224, quantized, Google, Apache-2.0; for the classes alone",
            "file": places.second.name,
            "sha256": file_sha256(places.second),
        },
        "trained": {
            "command": "python -m training.train (see training/README.md)",
            "recipe": json.loads((places.work / work.RECIPE).read_text()),
            "reach_of_kernels": json.loads((places.work / work.REACH).read_text()),
            "views_for_the_grid": ROUNDING_VIEWS,
            "images": f"{len(photographs.split(places.data).train):,} photographs, without labels",
            **json.loads((places.work / work.MACHINE).read_text()),
        },
        "exact_channels": {
            "exact": sum(report.exact for report in reports),
            "channels": sum(report.channels for report in reports),
        },
        "measured": measured_notes(figures),
    }


def measured_notes(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures, and what they mean."""
    return {
        "on": (
            "validation: photographs of ImageNet's validation set, except for those of 224x224 pixels, which carry the "
            "names of others in the copy used. aside: unlabeled photographs that training sets aside. No training saw "
            "either. Images are read as fvcli extract reads them; classes come from the teacher's own classifier."
        ),
        "agreement": "share of photographs for which the answer is that of the teacher at 224",
        "retrieval": f"share of photographs with one of their class among the {NEIGHBORS} nearest, if there is another",
        "neighbors": f"share of the {NEIGHBORS} nearest by the teacher at 224 that are among the own ones",
        **_rounded(figures),
    }


def _rounded(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _rounded(value) for name, value in values.items()}
    return round(values, 5) if isinstance(values, float) else values


def measure_again(places: Places, folder: Path) -> dict[str, Any]:
    """Renews the figures in the card of the file in ``folder``; returns them."""
    data = (folder / f"{NAME}.tflite").read_bytes()
    figures = measured(parse_tflite(data), data, places)
    path = folder / f"{NAME}.json"
    card = json.loads(path.read_text())
    card["measured"] = measured_notes(figures)
    path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return figures


def ship(network: MobileNetV1, places: Places, folder: Path) -> dict[str, Any]:
    """Writes the compiled file and its card into ``folder``; returns the figures."""
    data = compile_int8(network)
    figures = measured(network, data, places)
    card = card_of(network, data, notes(network, places, figures))
    (folder / f"{NAME}.tflite").write_bytes(data)
    (folder / f"{NAME}.json").write_text(json.dumps(card.to_json(), indent=1, ensure_ascii=False) + "\n")
    return figures


def trained(places: Places) -> MobileNetV1:
    """The network that the training in ``places.work`` ended with, as integers."""
    grid = load_grid(places.work / work.GRID, read_frozen_graph(places.graph))
    return quantized(grid.network, grid.limits, crops.STUDENT_SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.ship", description=__doc__)
    Places.add_arguments(parser)
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--only-measure", action="store_true", help="measure the file in OUTPUT again, for its card")
    values = parser.parse_args()
    places = Places.of(values)
    if values.only_measure:
        figures = measure_again(places, values.output)
    else:
        figures = ship(trained(places), places, values.output)
    print(json.dumps(_rounded(figures), indent=1))


if __name__ == "__main__":
    main()
