"""The way from a model's name, or from a recipe, to a model that runs.

A recipe may ask for more than a model's features: class labels, and vectors of unit length.

A network that was compiled once is found again by its source's fingerprint, so that later runs need no TensorFlow.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

import numpy as np

from fvcli.errors import DatasetError, ModelError, UsageError
from fvcli.models.labels import Classes, Classifier, Labeler
from fvcli.models.model_card import CompiledEngine, ModelCard
from fvcli.models.protocol import FeatureModel
from fvcli.records import Engine, Float32Array, InputSpec, Recipe, UInt8Array

if TYPE_CHECKING:
    from fvcli.models.download import Progress
    from fvcli.models.mobilenet.network import MobileNetV1
    from fvcli.models.source import Source

EMBEDDED: Final = "embedded"
EXPORTED_NAME: Final = "fvcli_embedded_160"
"""The embedded model's name in exports: its weights are fvcli's own, not Google's."""

_EMBEDDED_FILE: Final = "mobilenet_v1_1.0_160"


def load_model(name: str = EMBEDDED, engine: Engine | None = None) -> FeatureModel:
    """The model called ``name``, ready to run on one thread (``per_thread`` gives more).

    name: ``embedded``, a catalog name, a path, or a handle; see :mod:`fvcli.models.source`.
    engine: None takes the model's own: int8 for quantops networks, float for plain ones, litert for other .tflite
        files, onnx for ONNX, tensorflow for all others.
    Raises ModelError if there is no such model or it cannot be read; UsageError for an engine it does not have.
    """
    if name == EMBEDDED and engine in (None, "int8"):
        return _litert(*embedded_file())
    # Imported lazily: the embedded model needs none of these.
    from fvcli.models.cache import read_compiled, read_known
    from fvcli.models.source import find_source
    from fvcli.models.source_options import split_name

    if split_name(name)[0] == EMBEDDED:
        return _network_model(load_network(name), name, engine, embedded_file()[0].license)
    source = find_source(name)
    fingerprint = source.fingerprint()
    known = read_known(fingerprint)
    if known is not None:
        chosen = engine or known.engine
        if chosen in ("int8", "float"):
            cached = read_compiled(known.identity, chosen, name, source.license)
            if cached is not None:
                return _litert(*cached)
    return _read_model(source, engine, fingerprint)


def _read_model(source: Source, engine: Engine | None, fingerprint: str) -> FeatureModel:
    """The model from its source's files."""
    from fvcli.models.cache import KnownSource, write_known
    from fvcli.models.source import local_source, read_source

    local = local_source(source)
    network = read_source(local)
    if network is None:
        return _foreign(local, engine, fingerprint)
    write_known(fingerprint, KnownSource(network.identity, _default_engine(network)))
    return _network_model(network, source.name, engine, source.license)


def _default_engine(network: MobileNetV1) -> CompiledEngine:
    return "int8" if network.quantized else "float"


def _network_model(network: MobileNetV1, name: str, engine: Engine | None, license: str) -> FeatureModel:
    if engine == "tensorflow":
        from fvcli.models.mobilenet.reference import network_model

        return network_model(network, name, license)
    return _litert(*compiled(network, engine or _default_engine(network), name, license))


def load_classifier(name: str) -> Classifier:
    """The classifier of the model called ``name``. Raises UsageError for a model without one, ModelError otherwise."""
    from fvcli.models.cache import read_classifier, write_classifier
    from fvcli.models.mobilenet.classifier_file import compile_classifier, embedded_classifier
    from fvcli.models.mobilenet.graph import endpoint_shapes
    from fvcli.models.source import find_source, local_source, read_source
    from fvcli.models.source_options import split_name

    if split_name(name)[0] == EMBEDDED:
        return Classifier(name, embedded_classifier(), 0)
    source = find_source(name)
    fingerprint = source.fingerprint()
    cached = read_classifier(fingerprint)
    if cached is not None:
        return Classifier(name, *cached)
    network = read_source(local_source(source))
    data = None if network is None else compile_classifier(network)
    if network is None or data is None:
        raise UsageError(
            f"{name}: has no classifier, so no labels; labels need a MobileNet V1 with its 1,001 outputs, such as "
            "Google's whole .tflite, a checkpoint, a classification module, or the embedded model"
        )
    *_, (height, width, _) = endpoint_shapes(
        network.depth_multiplier, network.input_spec.height, network.input_spec.width
    ).values()
    write_classifier(fingerprint, data, height * width)
    return Classifier(name, data, height * width)


def load_network(name: str) -> MobileNetV1:
    """The network called ``name`` in memory. Raises ModelError if it is not a MobileNet V1 with its own numbers."""
    from fvcli.models.source import find_source, local_source, read_source, with_options
    from fvcli.models.source_options import split_name

    place, options = split_name(name)
    if place == EMBEDDED:
        from fvcli.models.mobilenet.tflite_reader import parse_tflite

        try:
            return with_options(parse_tflite(embedded_file()[1]), options, name)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error
    network = read_source(local_source(find_source(name)))
    if network is None:
        raise ModelError(f"{name}: not a MobileNet V1; fvcli runs it as it is and cannot export it")
    return network


def pull_model(name: str, progress: Progress | None = None) -> FeatureModel:
    """Fetches a catalog entry's archive, checks it and compiles what it holds; returns the model.

    Raises ModelError if there is no such entry, its server cannot be reached, or the archive is not the published one.
    """
    from fvcli.models.download import pull
    from fvcli.models.mobilenet.catalog import catalog_entry

    pull(catalog_entry(name), progress)
    return load_model(name)


def short_name(name: str) -> str:
    """A file name for what a model is called: its last part, without ending."""
    from fvcli.models.source import SUFFIXES

    if name.partition("?")[0] == EMBEDDED:
        return EXPORTED_NAME
    parts = name.partition("?")[0].rstrip("/").split("/")
    last = "_".join(parts[-4:]) if name.startswith(("https://", "http://")) else parts[-1]
    for suffix in SUFFIXES:
        last = last.removesuffix(suffix)
    return last or "model"


def embedded_file() -> tuple[ModelCard, bytes]:
    """The model that ships: its card and its .tflite."""
    folder = resources.files("fvcli.models") / "embedded"
    card = ModelCard.parse((folder / f"{_EMBEDDED_FILE}.json").read_text("utf-8"))
    return card, (folder / f"{_EMBEDDED_FILE}.tflite").read_bytes()


def compiled(network: MobileNetV1, engine: Engine, name: str, license: str) -> tuple[ModelCard, bytes]:
    """The network compiled for LiteRT, from the cache or into it. Raises UsageError for the other kind's engine."""
    from fvcli.models.cache import read_compiled, write_compiled

    if network.quantized and engine != "int8":
        raise UsageError(f"{name}: a quantops network runs with --engine int8 or --engine tensorflow")
    if not network.quantized and engine != "float":
        raise UsageError(f"{name}: a plain network runs with --engine float or --engine tensorflow")
    assert engine in ("int8", "float")
    cached = read_compiled(network.identity, engine, name, license)
    if cached is not None:
        return cached
    from fvcli.models.mobilenet.compile import compile_float, compile_int8

    data = compile_int8(network) if engine == "int8" else compile_float(network)
    card = ModelCard(
        name=name,
        identity=network.identity,
        engine=engine,
        dimension=network.layers[-1].bias.size,
        license=license,
        input_spec=network.input_spec,
        file_sha256=hashlib.sha256(data).hexdigest(),
    )
    write_compiled(card, data)
    return card, data


def _foreign(source: Source, engine: Engine | None, fingerprint: str) -> FeatureModel:
    """Another network, run as it is."""
    if source.kind == "tflite":
        _check_engine(source, engine, ("litert",))
        from fvcli.models.tflite_embedder import load_embedder

        return load_embedder(source.path, source.name, source.license, source.options)
    if source.kind == "onnx":
        _check_engine(source, engine, ("onnx",))
        from fvcli.models.onnx import load_onnx

        return load_onnx(source.path, source.name, source.license, source.options)
    _check_engine(source, engine, ("tensorflow",) if source.kind == "keras" else ("tensorflow", "float"))
    from fvcli.models.cache import KnownSource, write_compiled, write_known
    from fvcli.models.foreign import converted, load_keras, load_saved_model, tensorflow_model

    load = load_keras if source.kind == "keras" else load_saved_model
    model = load(source.path, source.name, source.license, source.options)
    write_known(fingerprint, KnownSource(model.identity, "tensorflow"))
    if engine == "float":
        card, data = converted(model)
        write_compiled(card, data)
        return _litert(card, data)
    return tensorflow_model(model)


def _check_engine(source: Source, engine: Engine | None, has: tuple[Engine, ...]) -> None:
    if engine is not None and engine not in has:
        raise UsageError(f"{source.name}: runs with --engine {' or '.join(has)}; {engine} is for other models")


def _litert(card: ModelCard, data: bytes) -> FeatureModel:
    from fvcli.models.litert import LiteRTModel

    return LiteRTModel(card, data)


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
