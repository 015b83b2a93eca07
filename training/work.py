"""The files that training reads, and those that it leaves in its work folder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fvcli.files import replacing
from fvcli.models.mobilenet.network import Layer, MobileNetV1
from training import photographs

RECIPE, REACH = "recipe.json", "reach.json"
"""The recipe, and how far the kernels reach at 160."""

START, CHECKPOINT, LOG = "start.npz", "checkpoint.pt", "log.jsonl"
"""Where training begins, where it was left, and the mean losses of each round."""

TRAINED, MACHINE, GRID = "trained.npz", "machine.json", "rounded.npz"
"""The float network that training ended with, what it was trained with, and what it was rounded to."""


@dataclass(frozen=True, slots=True)
class Places:
    """The files that training reads, and the folder it works in.

    graph: Google's frozen float network. second: Google's quantized MobileNet V2. data: the folder of photos/, bsds500/
    and more/. labels: of the 1,001 classes.
    """

    graph: Path
    second: Path
    data: Path
    labels: Path
    work: Path

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--graph", type=existing, required=True, help="mobilenet_v1_1.0_224_2017_06_14_frozen.pb")
        parser.add_argument("--second", type=existing, required=True, help="mobilenet_v2_1.0_224_quant.tflite")
        parser.add_argument("--data", type=existing, required=True, help="folder with photos/, bsds500/ and more/")
        parser.add_argument("--labels", type=existing, required=True, help="imagenet_labels.txt, 1,001 lines")
        parser.add_argument("--work", type=Path, required=True, help="checkpoints and logs; run again to resume")

    @classmethod
    def of(cls, values: argparse.Namespace) -> Places:
        return cls(values.graph, values.second, values.data, values.labels, values.work)

    def album(self) -> photographs.Album:
        """The photographs that the student is trained on."""
        return photographs.Album(photographs.split(self.data).train)


def existing(text: str) -> Path:
    """A path on the command line that must be there."""
    if not (path := Path(text)).exists():
        raise argparse.ArgumentTypeError(f"{path} does not exist")
    return path


def save_layers(path: Path, layers: Sequence[Layer], **others: Any) -> None:
    """Stores kernels, biases and ``others`` as a .npz file, whole or not at all."""
    arrays = {f"{layer.name}/{part}": getattr(layer, part) for layer in layers for part in ("kernel", "bias")}
    with replacing(path) as file:
        np.savez(file, **arrays, **others)


def load_layers(path: Path, like: MobileNetV1) -> tuple[MobileNetV1, Mapping[str, Any]]:
    """``like`` with the kernels and biases of a file of :func:`save_layers`, and all of the file's arrays by name."""
    with np.load(path) as file:
        arrays = dict(file)
    layers = [
        replace(layer, kernel=arrays[f"{layer.name}/kernel"], bias=arrays[f"{layer.name}/bias"])
        for layer in like.layers
    ]
    return replace(like, layers=tuple(layers)), arrays


def between(first: MobileNetV1, last: MobileNetV1, share: float) -> MobileNetV1:
    """The float network that is ``share`` of the way from ``first`` to ``last``."""
    layers = tuple(
        replace(
            to,
            kernel=start.kernel + np.float32(share) * (to.kernel - start.kernel),
            bias=start.bias + np.float32(share) * (to.bias - start.bias),
        )
        for start, to in zip(first.layers, last.layers, strict=True)
    )
    return replace(last, layers=layers)
