"""Measures a model on photographs that no training saw: ``python -m training.evaluate --help``.

Images are read as ``fvcli extract`` reads them. Classes come from the classifier that ships beside the embedded model,
so the model has to give the features of the same network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from fvcli.models.loading import load_model, load_network
from fvcli.models.mobilenet import graph
from fvcli.records import Fit, Float32Array, Preprocessing, Resize, UInt8Array
from training import photographs
from training.holdout import FITS, TEACHER_SIZE, input_of, run
from training.photographs import loaded
from training.scores import Answers, means, scores, standard_errors

COLUMNS = ("top1", "top5", "retrieval", "average_precision", "agreement", "divergence", "neighbors")


class Classifier:
    """The classifier that ships beside the embedded model: float32 features [n, 1024] -> logits [n, 1001]."""

    def __init__(self) -> None:
        file = resources.files("fvcli.models") / "embedded" / "classifier.npz"
        with resources.as_file(file) as path, np.load(path) as arrays:
            self._weights, self._biases = arrays["weights"].astype(np.float32), arrays["biases"]

    def __call__(self, features: Float32Array) -> Answers:
        return Answers(features, features @ self._weights + self._biases)


def teacher_answers(
    teacher: str, paths: Sequence[Path], preprocessing: Preprocessing, images: UInt8Array
) -> dict[str, Answers]:
    """By name what the float network ``teacher`` makes of the photographs at 224, and of ``images``, made of them."""
    network = graph.network_arrays(load_network(teacher))
    large = loaded(paths, input_of(TEACHER_SIZE), preprocessing)
    classifier = Classifier()
    return {
        f"teacher at {TEACHER_SIZE}": classifier(run(network, large)),
        f"teacher at {images.shape[1]}": classifier(run(network, images)),
    }


@dataclass(frozen=True, slots=True)
class Photographs:
    """The photographs to measure on, and how they are resized. truth: int [n], their classes, if they are known."""

    paths: Sequence[Path]
    truth: NDArray[np.int64] | None
    resize: Resize


def table(model: str, measured: Photographs, teacher: str | None, against: str | None = None) -> list[str]:
    """Markdown: a row per network and fit, a column per figure, each with its standard error.

    against: another model; a row has the figures' differences from its own, with the error of the paired difference.
    """
    classifier = Classifier()
    models = {name: load_model(name) for name in (model, against) if name is not None}
    lines = [f"| network | fit | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    for fit in FITS:
        preprocessing = Preprocessing(fit=fit, resize=measured.resize)
        images = loaded(measured.paths, models[model].input_spec, preprocessing)
        answers = {name: classifier(each(images)) for name, each in models.items()}
        if teacher is not None:
            answers |= teacher_answers(teacher, measured.paths, preprocessing, images)
        wanted = answers.get(f"teacher at {TEACHER_SIZE}")
        values = {name: scores(given, measured.truth, wanted) for name, given in answers.items()}
        lines += [row(name, fit, each) for name, each in values.items()]
        if against is not None:
            paired = {key: each - values[against][key] for key, each in values[model].items()}
            lines.append(row(f"{model} - {against}", fit, paired))
    return lines


def row(name: str, fit: Fit, values: dict[str, NDArray[np.float64]]) -> str:
    """Markdown: the means of some of the scores, with their standard errors."""
    mean, error = means(values), standard_errors(values)
    cells = [f"{mean[key]:.3f} ± {error[key]:.3f}" if key in mean else "" for key in COLUMNS]
    return f"| {name} | {fit} | {' | '.join(cells)} |"


def size(text: str) -> tuple[int, int]:
    """Width and height of "224x224"."""
    width, height = text.split("x")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", help="as for fvcli extract --model")
    parser.add_argument("--photographs", type=Path, required=True, help="the folder")
    parser.add_argument("--labels", type=Path, help="tab-separated: file, class (0 to 1000); without it all files")
    parser.add_argument(
        "--without", type=size, metavar="WIDTHxHEIGHT", help="leave out labeled photographs of this size"
    )
    parser.add_argument("--teacher", help="mobilenet_v1_1.0_224_2017_06_14_frozen.pb: for agreement and divergence")
    parser.add_argument("--first", type=int, help="only so many files, by the SHA-256 of their names")
    parser.add_argument("--resize", choices=get_args(Resize), default="bilinear", help="as for fvcli extract")
    parser.add_argument("--against", metavar="MODEL", help="another model of that input: for paired differences")
    values = parser.parse_args()
    if not values.labels and not values.teacher:
        parser.error("give --labels or --teacher: without either there is nothing to compare with")
    truth = None
    if values.labels:
        paths, truth = photographs.labeled(values.labels, values.photographs, values.without)
    else:
        files = (path for path in values.photographs.iterdir() if path.suffix != ".tsv")
        paths = tuple(photographs.by_hash(files)[: values.first])
    print(
        "\n".join(
            [
                f"{len(paths)} photographs of {values.photographs}",
                "",
                *table(values.model, Photographs(paths, truth, values.resize), values.teacher, values.against),
            ]
        )
    )


if __name__ == "__main__":
    main()
