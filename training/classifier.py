"""Writes the classifier that ships beside the embedded model: ``python -m training.classifier --help``.

It is the 1,001-way classifier of Google's float network, whose features the embedded model is trained to give. So it
names the classes of the embedded model's vectors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fvcli.models.mobilenet.frozen_graph import read_frozen_graph

FOLDER = Path(__file__).resolve().parents[1] / "fvcli" / "models" / "embedded"


def write_classifier(graph: Path, labels: Path, folder: Path) -> None:
    """Writes ``classifier.npz`` (weights float16 [1024, classes], biases float32 [classes]) and ``labels.txt``.

    Raises ValueError if the network has no classifier, or if there is not one label per class.
    """
    logits = read_frozen_graph(graph).logits
    if logits is None:
        raise ValueError(f"{graph} has no classifier")
    names = labels.read_text().splitlines()
    if len(names) != logits.bias.size:
        raise ValueError(f"{labels} has {len(names)} lines for {logits.bias.size} classes")
    weights = logits.kernel[0, 0].astype(np.float16)
    np.savez_compressed(folder / "classifier.npz", weights=weights, biases=logits.bias.astype(np.float32))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.classifier", description=__doc__)
    parser.add_argument("--graph", type=Path, required=True, help="mobilenet_v1_1.0_224_2017_06_14_frozen.pb")
    parser.add_argument("--labels", type=Path, required=True, help="imagenet_labels.txt, 1,001 lines")
    parser.add_argument("--output", type=Path, default=FOLDER)
    values = parser.parse_args()
    write_classifier(values.graph, values.labels, values.output)


if __name__ == "__main__":
    main()
