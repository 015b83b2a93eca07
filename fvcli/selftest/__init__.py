"""Does this installation compute what it should? Known images, known vectors, and the shipped model's identity.

The images are those of ``sample_images``; ``golden.npz`` holds their vectors by both engines and where they were made
(``python -m training.golden`` writes it).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np

from fvcli.errors import ModelError
from fvcli.images.fit import scaled_by_pillow
from fvcli.images.loader import ImageLoader
from fvcli.machine import environment
from fvcli.models.loading import load_model
from fvcli.models.protocol import FeatureModel
from fvcli.records import Engine, Float32Array, ImageRef, Preprocessing

IMAGES = ("cat.jpg", "coffee-exif-3.jpg", "camera-16-bit.png", "cat-alpha.png")

# Another decoder or another CPU's rounding may move single 8-bit steps inside the network.
_TOLERATED_COSINE = 0.999
# Where Pillow scales, pixels differ by a level in places: 0.9987 and more was seen.
_TOLERATED_BY_PILLOW = 0.998


@dataclass(frozen=True, slots=True)
class GoldenComparison:
    """One image. max_difference is absolute."""

    image: str
    equal: bool
    max_difference: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Selftest:
    """The outcome. same_environment: library versions and CPU are those that made the golden vectors."""

    engine: Engine
    identity: str
    identity_expected: str
    same_environment: bool
    comparisons: tuple[GoldenComparison, ...]

    @property
    def tolerated_cosine(self) -> float:
        """The least that is demanded where bytes need not be equal."""
        return _TOLERATED_BY_PILLOW if scaled_by_pillow() else _TOLERATED_COSINE

    @property
    def bit_for_bit(self) -> bool:
        """Whether equal bytes are demanded: the integer engine where nothing else has changed."""
        return self.engine == "int8" and self.same_environment

    @property
    def passed(self) -> bool:
        if self.identity != self.identity_expected:
            return False
        if self.bit_for_bit:
            return all(comparison.equal for comparison in self.comparisons)
        return all(comparison.cosine >= self.tolerated_cosine for comparison in self.comparisons)

    def to_json(self) -> dict[str, object]:
        return {
            "passed": self.passed,
            "engine": self.engine,
            "identity": self.identity,
            "identity_expected": self.identity_expected,
            "same_environment": self.same_environment,
            "images": {
                comparison.image: {
                    "equal": comparison.equal,
                    "max_difference": comparison.max_difference,
                    "cosine": comparison.cosine,
                }
                for comparison in self.comparisons
            },
        }


def vectors_of(model: FeatureModel) -> Float32Array:
    """The vectors of IMAGES with the default preprocessing: float32 [len(IMAGES), d]."""
    spec = model.input_spec
    loader = ImageLoader(spec, Preprocessing())
    images = np.empty((len(IMAGES), spec.height, spec.width, 3), np.uint8)
    with resources.as_file(resources.files("fvcli.selftest")) as folder:
        for image, name in zip(images, IMAGES, strict=True):
            loader.load(ImageRef(str(folder), name), image)
    return model(images)


def selftest(engine: Engine = "int8") -> Selftest:
    """Runs the shipped model on the known images. Raises ModelError where it cannot be run at all."""
    try:
        stored = (resources.files("fvcli.selftest") / "golden.npz").read_bytes()
        golden = np.load(io.BytesIO(stored), allow_pickle=False)
        expected, made = golden[engine], json.loads(str(golden["made"]))
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"the reference vectors cannot be read ({error}); reinstall fvcli") from error
    model = load_model(engine=engine)
    comparisons = tuple(
        GoldenComparison(name, bool(np.array_equal(now, then)), float(np.abs(now - then).max()), _cosine(now, then))
        for name, now, then in zip(IMAGES, vectors_of(model), expected, strict=True)
    )
    return Selftest(engine, model.identity, made["identity"], environment() == made["environment"], comparisons)


def _cosine(a: Float32Array, b: Float32Array) -> float:
    return float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))
