"""The model of a recipe, and what the recipe asks for beyond its features: class labels and unit length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fvcli.errors import DatasetError
from fvcli.models.labels import Classes, Labeler
from fvcli.models.loading import load_classifier, load_model
from fvcli.models.protocol import FeatureModel
from fvcli.records import Float32Array, InputSpec, Recipe, UInt8Array


def load_recipe_model(name: str, recipe: Recipe) -> FeatureModel:
    """The model called ``name``, from wherever it is on this machine.

    Raises ModelError, DatasetError where it is not the recipe's.
    """
    model = load_model(name, recipe.engine)
    if model.identity != recipe.model:
        raise DatasetError(
            f"the model {model.name} here ({model.identity[:12]}) is not the one the dataset is made with "
            f"({recipe.model[:12]}); use the fvcli or the model file that planned it"
        )
    return model


def embedder_of(name: str, recipe: Recipe, model: FeatureModel) -> Embedder:
    """The model with what the recipe asks for. Raises ModelError, DatasetError where the classifier is another."""
    if not recipe.labels:
        return Embedder(model, normalize=recipe.normalize)
    classifier = load_classifier(name)
    if classifier.identity != recipe.classifier:
        raise DatasetError(
            f"the classifier of {model.name} here is not the one the dataset is made with; "
            "use the fvcli or the model file that planned it"
        )
    return Embedder(model, Labeler(classifier, recipe.labels), normalize=recipe.normalize)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors, float32 [n, d], and the classes of each image; None where no labels are asked for."""

    vectors: Float32Array
    classes: list[Classes] | None


class Embedder:
    """Turns images into what rows hold. One instance serves one thread."""

    def __init__(self, model: FeatureModel, labeler: Labeler | None = None, *, normalize: bool = False) -> None:
        self._model = model
        self._labeler = labeler
        self._normalize = normalize

    @property
    def input_spec(self) -> InputSpec:
        return self._model.input_spec

    def __call__(self, images: UInt8Array) -> Embeddings:
        """uint8 RGB [n, height, width, 3] -> the embeddings of n images. Raises ModelError if the engine fails."""
        vectors = self._model(images)
        classes = None if self._labeler is None else self._labeler(vectors)
        return Embeddings(unit_length(vectors) if self._normalize else vectors, classes)

    def per_thread(self) -> Embedder:
        labeler = None if self._labeler is None else self._labeler.per_thread()
        return Embedder(self._model.per_thread(), labeler, normalize=self._normalize)


def unit_length(vectors: Float32Array) -> Float32Array:
    """The vectors divided by their Euclidean length, float32 [n, d]; a zero vector stays zero.

    Each is computed by itself in float64, so that its bytes do not depend on those beside it.
    """
    result = np.zeros_like(vectors)
    for vector, row in zip(vectors, result, strict=True):
        wide = vector.astype(np.float64)
        length = math.sqrt(float(wide @ wide))
        if length > 0:
            row[:] = wide / length
    return result
