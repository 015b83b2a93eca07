"""Makes the first embedded model: Google's float MobileNet V1 1.00, at 160x160, as int8 after calibration.

    python training/first_form.py GRAPH.pb PHOTOS LABELS [MORE_PHOTOS ...]

GRAPH.pb is the frozen graph mobilenet_v1_1.0_224_2017_06_14 (or the sdist that holds it, unpacked). Activation ranges
are the extremes over the calibration photographs: PHOTOS (named <synset>_<label>.JPEG) and MORE_PHOTOS, less the 106
of PHOTOS with the smallest SHA-256 of their names, on which the card's accuracy is measured. Weights are rounded per
channel, symmetric. The input code is the pixel: real = (pixel - 127.5) / 127.5, where the half stands in the first
layer's bias.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fvcli.models import mobilenet_v1
from fvcli.models.card import ModelCard
from fvcli.models.compile import Int8Layer, Int8Weights, write_int8
from fvcli.models.frozen_graph import read_frozen_graph
from fvcli.models.litert import LiteRTModel
from fvcli.models.weights import ActivationRange, Layer, MobileNetV1, channel_axis
from fvcli.records import InputSpec, UInt8Array

SIZE = 160
HELD_OUT = 106
FOLDER = Path(__file__).resolve().parents[1] / "fvcli" / "models" / "embedded"
NAME = "mobilenet_v1_1.0_160"


def main(graph: str, photos: str, labels: str, *more: str) -> None:
    network = read_frozen_graph(Path(graph))
    named = sorted(Path(photos).iterdir(), key=lambda path: hashlib.sha256(path.name.encode()).hexdigest())
    held_out, calibration = named[:HELD_OUT], named[HELD_OUT:]
    calibration += sorted(path for folder in more for path in Path(folder).iterdir())
    maxima = calibrate(network, calibration)
    spec = InputSpec(SIZE, SIZE, pixel_table=tuple(range(256)))
    pixels = ActivationRange(np.float32(1 / 127.5), 128)
    layers, before = [], pixels
    for row, layer in zip(mobilenet_v1.convolutions(network.depth_multiplier), network.layers, strict=True):
        output = ActivationRange(np.float32(maxima[layer.name] / 255), 0)
        layers.append(Int8Layer(layer.name, row.stride, rounded(layer, before), output))
        before = output
    data = write_int8(spec, pixels, layers, {})
    digest = hashlib.sha256(data).hexdigest()
    card = ModelCard("embedded", digest, "int8", 1024, "Apache-2.0", spec, digest)
    truth = np.array([class_of(path, photos, labels) for path in held_out])
    accuracy = {}
    for fit in ("squash", "crop"):
        images = np.stack([load(path, fit) for path in held_out])
        engines = {"float32": float_features(network, images), "int8": LiteRTModel(card, data)(images)}
        accuracy[fit] = {name: round(top1(network, features, truth), 4) for name, features in engines.items()}
    notes = {
        "description": "MobileNet V1 1.00, 160x160, ImageNet; int8 weights per channel, float mean",
        "origin": {
            "network": "MobileNet_v1_1.0_224 (2017_06_14), Google, TF-Slim",
            "file": Path(graph).name,
            "sha256": hashlib.sha256(Path(graph).read_bytes()).hexdigest(),
        },
        "how_made": "training/first_form.py: BatchNorm folded, input 160x160, body only; activation ranges from "
        f"{len(calibration)} calibration photographs; weights rounded per channel",
        "input_meaning": "pixel p stands for (p - 127.5) / 127.5",
        "accuracy_top1": {"photographs": len(held_out), "through": "the original classifier", **accuracy},
    }
    (FOLDER / f"{NAME}.tflite").write_bytes(data)
    card = ModelCard("embedded", digest, "int8", 1024, "Apache-2.0", spec, digest, notes)
    (FOLDER / f"{NAME}.json").write_text(json.dumps(card.to_json(), indent=2) + "\n", "utf-8")
    print(json.dumps(accuracy))


def calibrate(network: MobileNetV1, paths: list[Path]) -> dict[str, float]:
    """The largest activation of each layer over the photographs, at most 6."""
    arrays = mobilenet_v1.network_arrays(network)
    maxima: dict[str, float] = {}
    for start in range(0, len(paths), 16):
        images = np.stack([load(path, "squash") for path in paths[start : start + 16]])
        for name, values in mobilenet_v1.endpoints(arrays, (images / 255).astype(np.float32)).items():
            maxima[name] = max(maxima.get(name, 0.0), float(np.max(values)))
    return maxima


def rounded(layer: Layer, before: ActivationRange) -> Int8Weights:
    """Symmetric int8 weights, one scale a channel; the bias also holds what the input's zero point leaves out."""
    kernel = np.moveaxis(layer.kernel, channel_axis(layer), -1)
    half = 0.5 / 127.5 if layer.name == "Conv2d_0" else 0.0
    bias = layer.bias + half * kernel.sum(axis=(0, 1, 2))
    # A channel whose weights all but vanish takes a scale at which its bias still fits in 32 bits.
    room_for_bias = np.abs(bias) / (float(before.scale) * 2**30)
    scales = np.maximum(np.abs(kernel).max(axis=(0, 1, 2)) / 127, room_for_bias).astype(np.float32)
    return Int8Weights(
        codes=np.moveaxis(np.rint(kernel / scales).astype(np.int8), -1, channel_axis(layer)),
        scales=scales,
        bias=np.rint(bias / (np.float64(before.scale) * scales)).astype(np.int32),
        exact=np.zeros(scales.shape, np.bool_),
    )


def load(path: Path, fit: str) -> UInt8Array:
    """The photograph as RGB [160, 160, 3]: squashed whole, or its centre square of 0.875."""
    image = Image.open(path).convert("RGB")
    if fit == "crop":
        side = 0.875 * min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX, (left, top, left + side, top + side)))
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))


def float_features(network: MobileNetV1, images: UInt8Array) -> NDArray[np.float32]:
    arrays = mobilenet_v1.network_arrays(network)
    return np.concatenate(
        [np.asarray(mobilenet_v1.features(arrays, (image[None] / 255).astype(np.float32))) for image in images]
    )


def top1(network: MobileNetV1, features: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    assert network.logits is not None
    logits = features @ network.logits.kernel[0, 0] + network.logits.bias
    return float(np.mean(logits.argmax(axis=1) == truth))


def class_of(path: Path, photos: str, labels: str) -> int:
    """The class number (of 1,001) of a photograph. Names that two classes share are settled by the synsets' order."""
    classes = [[plain(name) for name in line.split(",")] for line in Path(labels).read_text("utf-8").splitlines()]
    last = 0
    for photo in sorted(Path(photos).iterdir()):
        name = plain(photo.stem.split("_", 1)[1])
        choices = [number for number, names in enumerate(classes) if name in names and number > last]
        last = min(choices, key=lambda number: (classes[number][0] != name, number))
        if photo == path:
            return last
    raise ValueError(f"{path} is not in {photos}")


def plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


if __name__ == "__main__":
    main(*sys.argv[1:])
