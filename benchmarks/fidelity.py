"""The effect of decoding at reduced scale on the features, compared with decoding in full.

    python -m benchmarks.fidelity [FOLDER]

Prints the cosine of each photograph's two vectors, and the share of photographs that the embedded model's classifier
names rightly from either. The names of FOLDER's files tell their classes, as those of ../shared/data/photos do.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.speed import PHOTOGRAPHS, heading
from fvcli.models.loading import load_model
from fvcli.records import Preprocessing
from training import photographs
from training.classifier import FOLDER as EMBEDDED
from training.evaluate import Classifier
from training.holdout import FITS
from training.photographs import loaded
from training.scores import cosines

#: A cosine above which two vectors are hardly different.
NEAR = 0.98


def main(folder: str = str(PHOTOGRAPHS)) -> None:
    paths = sorted(Path(folder).iterdir())
    truth = photographs.true_classes(tuple(paths), EMBEDDED / "labels.txt")
    model, classifier = load_model(), Classifier()
    lines = [
        "| fit | mean cosine | least | share >= 0.98 | top-1 fast | top-1 exact |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for fit in FITS:
        fast, exact = (
            classifier(model(loaded(paths, model.input_spec, Preprocessing(decode, fit))))
            for decode in ("fast", "exact")
        )
        alike = cosines(fast.features, exact.features)
        right = [float(np.mean(answers.logits.argmax(1) == truth)) for answers in (fast, exact)]
        values = (alike.mean(), alike.min(), float(np.mean(alike >= NEAR)), *right)
        lines.append(f"| {fit} | {' | '.join(f'{value:.4f}' for value in values)} |")
    print("\n".join([*heading("benchmarks.fidelity", sys.argv[1:]), f"{len(paths)} photographs", "", *lines]))


if __name__ == "__main__":
    main(*sys.argv[1:])
