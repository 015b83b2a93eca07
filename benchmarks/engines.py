"""The accuracy and speed of the engines against Google's files.

    python benchmarks/engines.py accuracy FILE.tflite ... --photos PHOTOS [--head HEAD.tflite]
    python benchmarks/engines.py speed FILE.tflite ...

accuracy: features of the int8 and the tensorflow engine against the pooled tensor of Google's uint8 file run by
LiteRT, and top-1 through the file's own classifier (its last layers, or HEAD), where a tie in its uint8 logits counts
as agreement. speed: inference alone, one interpreter with one thread (and two of each on two threads), the file as it
is and the int8 engine in turn, the median over many turns.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from fvcli.images.loader import ImageLoader
from fvcli.models.loading import load_model
from fvcli.models.mobilenet.network import Layer, exactness
from fvcli.models.mobilenet.tflite_reader import read_tflite
from fvcli.models.protocol import FeatureModel
from fvcli.records import ImageRef, Preprocessing


class GoogleFile:
    """A uint8 .tflite as it is, one image at a time on one thread."""

    def __init__(self, path: Path, *, keep_tensors: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of the memory that kept tensors take
            self._interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=keep_tensors)
        self._interpreter.allocate_tensors()
        self._image = self._interpreter.get_input_details()[0]["index"]
        self._end = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, images: NDArray[np.uint8]) -> None:
        for image in images:
            self._interpreter.set_tensor(self._image, image[None])
            self._interpreter.invoke()
            self._interpreter.get_tensor(self._end)

    def output_codes(self, operator: str, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The output of the first operator of that kind for each image, as uint8 codes [n, d]."""
        tensor = next(
            each["outputs"][0] for each in self._interpreter._get_ops_details() if each["op_name"] == operator
        )
        codes = []
        for image in images:
            self(image[None])
            codes.append(self._interpreter.get_tensor(tensor).ravel().copy())
        return np.stack(codes)


def accuracy(photos: Path, files: list[Path], head: Path | None, count: int | None) -> None:
    names = sorted(path for path in photos.iterdir() if path.is_file())[:count]
    print(f"{len(names)} photographs of {photos}, --fit squash; cosine: mean, least; top-1: agreement with the file")
    print(f"{'network':48} {'pair':22} {'mean':>8} {'least':>8} {'top-1':>7}")
    for path in files:
        network = read_tflite(path)
        images = load(names, load_model(str(path)))
        google = GoogleFile(path, keep_tensors=True)
        pooled = google.output_codes("AVERAGE_POOL_2D", images)
        last = network.layers[-1].output
        assert last is not None
        features = {"google": (pooled.astype(np.float32) - last.zero_point) * last.scale}
        features |= {engine: load_model(str(path), engine)(images) for engine in ("int8", "tensorflow")}
        if network.logits is not None:
            weights, logits = network.logits, google.output_codes("RESHAPE", images)
        elif head is not None:
            weights = read_classifier(head)
            logits = GoogleFile(head, keep_tensors=True).output_codes("RESHAPE", pooled[:, None, None, :])
        else:
            weights = None
        for first, second in (("tensorflow", "google"), ("int8", "google"), ("int8", "tensorflow")):
            cosine = cosines(features[first], features[second])
            agreement = ""
            if weights is not None and second == "google":
                best = (features[first] @ weights.kernel[0, 0] + weights.bias).argmax(axis=1)
                agreement = f"{np.mean(logits[np.arange(len(best)), best] == logits.max(axis=1)):7.2%}"
            print(
                f"{path.stem:48} {first + ' to ' + second:22} {cosine.mean():8.5f} {cosine.min():8.5f} {agreement:>7}"
            )
        reports = exactness(network)
        print(f"{'':48} channels exact in int8: {sum(r.exact for r in reports)} of {sum(r.channels for r in reports)}")


def load(names: list[Path], model: FeatureModel) -> NDArray[np.uint8]:
    """uint8 [n, h, w, 3], as extract feeds them to the model."""
    spec = model.input_spec
    loader = ImageLoader(spec, Preprocessing())
    images = np.empty((len(names), spec.height, spec.width, 3), np.uint8)
    for name, image in zip(names, images, strict=True):
        loader.load(ImageRef("", str(name)), image)
    return images


def cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def read_classifier(path: Path) -> Layer:
    """The one convolution of Google's classifier head."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    operator = next(each for each in interpreter._get_ops_details() if each["op_name"] == "CONV_2D")
    details = {each["index"]: each for each in interpreter.get_tensor_details()}
    real = []
    for number in operator["inputs"][1:]:
        scale, zero_point = details[number]["quantization"]
        real.append((interpreter.get_tensor(number).astype(np.float32) - zero_point) * np.float32(scale))
    return Layer("Logits/Conv2d_1c_1x1", real[0].transpose(1, 2, 3, 0), real[1])


def speed(files: list[Path], turns: int, images: int) -> None:
    print(f"{'file':50} {'threads':>7} {'google ms':>10} {'int8 ms':>8} {'ratio':>6}  (least to most)")
    for path in files:
        model = load_model(str(path))
        size = model.input_spec.height
        batch = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), np.uint8)
        for threads in (1, 2):
            google = [GoogleFile(path) for _ in range(threads)]
            ours = [model.per_thread() for _ in range(threads)]
            ratios, times = [], []
            for turn in range(turns + 1):
                pair = (together(google, batch), together(ours, batch))
                if turn:  # the first warms the caches
                    ratios.append(pair[0] / pair[1])
                    times.append(pair)
            first, second = (statistics.median(column) / images / threads * 1000 for column in zip(*times, strict=True))
            print(
                f"{path.stem:50} {threads:7} {first:10.3f} {second:8.3f} {statistics.median(ratios):6.2f}  "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


def together(models: list[Any], batch: NDArray[np.uint8]) -> float:
    """Seconds until each model has run the batch on a thread of its own."""
    threads = [threading.Thread(target=model, args=(batch,)) for model in models]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "speed"))
    parser.add_argument("files", nargs="+", type=Path, help="Google's uint8 .tflite files")
    parser.add_argument("--photos", type=Path, help="folder of photographs (accuracy)")
    parser.add_argument("--head", type=Path, help="classifier of a file that ends at the features (accuracy)")
    parser.add_argument("--count", type=int, help="take that many photographs (accuracy)")
    parser.add_argument("--turns", type=int, default=15, help="turns (speed)")
    parser.add_argument("--images", type=int, default=24, help="images in a turn (speed)")
    arguments = parser.parse_args()
    if arguments.what == "speed":
        speed(arguments.files, arguments.turns, arguments.images)
    elif arguments.photos is None:
        parser.error("accuracy needs --photos")
    else:
        accuracy(arguments.photos, arguments.files, arguments.head, arguments.count)


if __name__ == "__main__":
    main()
