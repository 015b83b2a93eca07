"""What decoding at reduced scale does to the features, against decoding in full.

    python -m benchmarks.fidelity GRAPH.pb LABELS [FOLDER]

The cosine of each photograph's two vectors, and how many photographs the classifier of Google's frozen GRAPH names
rightly from either (FOLDER's names say what is on them, as those of ../shared/data/photos do).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.speed import PHOTOGRAPHS, heading
from fvcli.images.loader import ImageLoader
from fvcli.models.loading import load_model, load_network
from fvcli.records import Decode, Float32Array, ImageRef, Preprocessing
from training import photographs


def features(paths: list[Path], decode: Decode, fit: str) -> Float32Array:
    """float32 [n, 1024]"""
    model = load_model()
    spec = model.input_spec
    loader = ImageLoader(spec, Preprocessing(decode=decode, fit="crop" if fit == "crop" else "squash"))
    images = np.empty((len(paths), spec.height, spec.width, 3), np.uint8)
    for path, image in zip(paths, images, strict=True):
        loader.load(ImageRef("", str(path)), image)
    return model(images)


def main(graph: str, labels: str, folder: str = str(PHOTOGRAPHS)) -> None:
    classifier = load_network(graph).logits
    if classifier is None:
        sys.exit(f"{graph} has no classifier")
    paths = sorted(Path(folder).iterdir())
    truth = photographs.true_classes(tuple(paths), Path(labels))
    lines = ["| fit | mean cosine | least | top-1 fast | top-1 exact |", "|---|---:|---:|---:|---:|"]
    for fit in ("squash", "crop"):
        fast, exact = (features(paths, decode, fit) for decode in ("fast", "exact"))
        cosines = np.sum(fast * exact, axis=1) / np.linalg.norm(fast, axis=1) / np.linalg.norm(exact, axis=1)
        right = [
            float(np.mean((vectors @ classifier.kernel[0, 0] + classifier.bias).argmax(1) == truth))
            for vectors in (fast, exact)
        ]
        lines.append(f"| {fit} | {cosines.mean():.4f} | {cosines.min():.4f} | {right[0]:.4f} | {right[1]:.4f} |")
    print("\n".join([*heading("benchmarks.fidelity", sys.argv[1:]), f"{len(paths)} photographs", "", *lines]))


if __name__ == "__main__":
    main(*sys.argv[1:])
