"""One contestant in a process of its own: told to, it goes once over its images and says what that took.

    python -m benchmarks.child decode|bare|infer|both|tf-hub ARGUMENT ... < lines

reads a line with the names of files (NUL between them) to get ready, answers "ready", and then for every further line
makes one pass and answers with a JSON object: images, seconds (wall), cpu_seconds, peak_mb.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Pass = Callable[[], int]
HUB_BATCH = 32  # of the script on TensorFlow Hub
BATCH = 32  # of fvcli extract


def decode(files: Sequence[str]) -> Pass:
    """Read, SHA-256, decode, resize: what fvcli does with a file before inference, and nothing else."""
    import numpy as np

    from fvcli.errors import ImageError
    from fvcli.images.loader import ImageLoader
    from fvcli.models.loading import embedded_file
    from fvcli.records import ImageRef, Preprocessing

    spec = embedded_file()[0].input_spec
    loader = ImageLoader(spec, Preprocessing())
    out = np.empty((spec.height, spec.width, 3), np.uint8)
    refs = [ImageRef("", file) for file in files]

    def run() -> int:
        done = 0
        for ref in refs:
            try:
                loader.load(ref, out)
                done += 1
            except ImageError as error:
                sys.exit(f"{ref.path}: {error}")
        return done

    return run


def bare(files: Sequence[str]) -> Pass:
    """Decoding straight from libjpeg-turbo into the resizer: no checks, no EXIF, JPEG only."""
    import hashlib

    import numpy as np
    from simplejpeg import decode_jpeg

    from fvcli.images.fit import scale
    from fvcli.models.loading import embedded_file

    spec = embedded_file()[0].input_spec
    out = np.empty((spec.height, spec.width, 3), np.uint8)

    def run() -> int:
        for file in files:
            data = Path(file).read_bytes()
            hashlib.sha256(data).hexdigest()
            pixels = decode_jpeg(data, "RGB", min_height=spec.height, min_width=spec.width, min_factor=1)
            scale(pixels, (0, 0, pixels.shape[1], pixels.shape[0]), "bilinear", out)
        return len(files)

    return run


def _both_halves(slots: int) -> tuple[Any, Callable[[Sequence[str]], Any]]:
    """The embedded model, and a function that loads at most ``slots`` files into images for it."""
    import numpy as np

    from fvcli.images.loader import ImageLoader
    from fvcli.models.loading import load_model
    from fvcli.records import ImageRef, Preprocessing

    model = load_model()
    spec = model.input_spec
    loader = ImageLoader(spec, Preprocessing())
    images = np.empty((slots, spec.height, spec.width, 3), np.uint8)

    def load(files: Sequence[str]) -> Any:
        for file, image in zip(files, images, strict=False):
            loader.load(ImageRef("", file), image)
        return images[: len(files)]

    return model, load


def infer(files: Sequence[str]) -> Pass:
    """The int8 engine over images that are decoded already."""
    model, load = _both_halves(len(files))
    images = load(files)

    def run() -> int:
        for start in range(0, len(images), BATCH):
            model(images[start : start + BATCH])
        return len(images)

    return run


def both(files: Sequence[str]) -> Pass:
    """Both halves in turns, as many images at a time as fvcli takes, and nothing else: no names, results or files."""
    model, load = _both_halves(BATCH)

    def run() -> int:
        for start in range(0, len(files), BATCH):
            model(load(files[start : start + BATCH]))
        return len(files)

    return run


def tf_hub(files: Sequence[str], module: str) -> Pass:
    """The usual script: tf.data reads, decodes and scales; the module from hub.load runs batches of 32."""
    import numpy as np

    from fvcli.models.frameworks import tensorflow, tensorflow_hub

    tf, hub = tensorflow(), tensorflow_hub()

    def load(name: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(name), channels=3)
        return tf.image.resize(tf.image.convert_image_dtype(image, tf.float32), (160, 160))

    features = hub.load(module).signatures["default"]
    dataset = tf.data.Dataset.from_tensor_slices(list(files)).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(HUB_BATCH).prefetch(tf.data.AUTOTUNE)

    def run() -> int:
        vectors = np.concatenate([features(images)["default"].numpy() for images in dataset])
        return len(vectors)

    return run


SUBJECTS: dict[str, Callable[..., Pass]] = {
    "decode": decode,
    "bare": bare,
    "infer": infer,
    "both": both,
    "tf-hub": tf_hub,
}


def peak_mb() -> float:
    """The most memory this process has had, in MB of 2**20 bytes (getrusage would count its parent's, too)."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(subject: str, *arguments: str) -> None:
    run = SUBJECTS[subject](sys.stdin.readline().rstrip("\n").split("\0"), *arguments)
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        cpu, started = cpu_seconds(), time.perf_counter()
        images = run()
        values = {"seconds": time.perf_counter() - started, "cpu_seconds": cpu_seconds() - cpu}
        print(json.dumps({"images": images, **values, "peak_mb": peak_mb()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
