"""From what the user names to a model that runs.

What was compiled once is found again by the source's fingerprint, so that later runs start without TensorFlow.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Final

from fvcli.errors import ModelError, UsageError
from fvcli.models.model_card import CompiledEngine, ModelCard
from fvcli.models.protocol import FeatureModel
from fvcli.records import Engine

if TYPE_CHECKING:
    from fvcli.models.download import Progress
    from fvcli.models.mobilenet.network import MobileNetV1
    from fvcli.models.source import Source

EMBEDDED: Final = "embedded"
_EMBEDDED_FILE: Final = "mobilenet_v1_1.0_160"


def load_model(name: str = EMBEDDED, engine: Engine | None = None) -> FeatureModel:
    """The model called ``name``, ready to run on one thread (``per_thread`` gives more).

    name: ``embedded``, a catalogue name, a path, or a TF Hub handle; see :mod:`fvcli.models.source`.
    engine: None takes the model's own: int8 for quantops networks, float for plain ones, tensorflow for any other
        SavedModel.
    Raises ModelError if there is no such model or it cannot be read; UsageError for an engine it does not have.
    """
    if name == EMBEDDED:
        return _embedded(engine)
    # Kept off the way of the embedded model, which starts at once: network, archives, flatbuffers.
    from fvcli.models.cache import KnownSource, read_compiled, read_known, write_known
    from fvcli.models.source import find_source, local_source, read_source

    source = find_source(name)
    fingerprint = source.fingerprint()
    known = read_known(fingerprint)
    if known is not None:
        chosen = engine or known.engine
        if chosen != "tensorflow":
            cached = read_compiled(known.identity, chosen, name, source.licence)
            if cached is not None:
                return _litert(*cached)
    local = local_source(source)
    network = read_source(local)
    if network is None:
        return _foreign(local, engine, fingerprint)
    default: Engine = "int8" if network.quantized else "float"
    chosen = engine or default
    write_known(fingerprint, KnownSource(network.identity, default))
    if chosen == "tensorflow":
        from fvcli.models.tensorflow import network_model

        return network_model(network, name, source.licence)
    return _litert(*compiled(network, chosen, name, source.licence))


def load_network(name: str) -> MobileNetV1:
    """The network called ``name`` in memory. Raises ModelError if it is not a MobileNet V1 with its own numbers."""
    if name == EMBEDDED:
        from fvcli.models.mobilenet.tflite_reader import parse_tflite

        try:
            return parse_tflite(embedded_file()[1])
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error
    from fvcli.models.source import find_source, local_source, read_source

    network = read_source(local_source(find_source(name)))
    if network is None:
        raise ModelError(f"{name}: not a MobileNet V1; fvcli runs it as it is and knows nothing of its inside")
    return network


def pull_model(name: str, progress: Progress | None = None) -> FeatureModel:
    """Fetches a catalogue entry's archive, checks it and compiles what it holds; returns the model.

    Raises ModelError if there is no such entry, its server cannot be reached, or the archive is not the published one.
    """
    from fvcli.models.download import pull
    from fvcli.models.mobilenet.catalog import catalog_entry

    pull(catalog_entry(name), progress)
    return load_model(name)


def short_name(name: str) -> str:
    """A file name for what a model is called: its last part, without ending."""
    from fvcli.models.source import SUFFIXES

    if name == EMBEDDED:
        return f"{_EMBEDDED_FILE}_quant"
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


def compiled(network: MobileNetV1, engine: CompiledEngine, name: str, licence: str) -> tuple[ModelCard, bytes]:
    """The network compiled for LiteRT, from the cache or into it. Raises UsageError for the other kind's engine."""
    from fvcli.models.cache import read_compiled, write_compiled

    if engine == "int8" and not network.quantized:
        raise UsageError(f"{name}: a plain network has no 8-bit ranges; use --engine float or --engine tensorflow")
    if engine == "float" and network.quantized:
        raise UsageError(f"{name}: a quantops network runs with --engine int8 or --engine tensorflow")
    cached = read_compiled(network.identity, engine, name, licence)
    if cached is not None:
        return cached
    from fvcli.models.mobilenet.compile import compile_float, compile_int8

    data = compile_int8(network) if engine == "int8" else compile_float(network)
    card = ModelCard(
        name=name,
        identity=network.identity,
        engine=engine,
        dimension=network.layers[-1].bias.size,
        licence=licence,
        input_spec=network.input_spec,
        file_sha256=hashlib.sha256(data).hexdigest(),
    )
    write_compiled(card, data)
    return card, data


def _embedded(engine: Engine | None) -> FeatureModel:
    card, data = embedded_file()
    if engine == "tensorflow":
        from fvcli.models.tensorflow import network_model

        return network_model(load_network(EMBEDDED), EMBEDDED, card.licence)
    if engine not in (None, "int8"):
        raise UsageError(f"the model {EMBEDDED} runs with --engine int8 or --engine tensorflow, not {engine}")
    return _litert(card, data)


def _foreign(source: Source, engine: Engine | None, fingerprint: str) -> FeatureModel:
    """A SavedModel of some other network."""
    from fvcli.models.cache import KnownSource, write_compiled, write_known
    from fvcli.models.mobilenet.saved_model import foreign_litert, foreign_tensorflow_model, load_foreign

    if engine == "int8":
        raise UsageError(f"{source.name}: runs with --engine tensorflow or --engine float; int8 needs a MobileNet V1")
    model = load_foreign(source.path, source.name, source.said.value_range, source.said.image_size)
    write_known(fingerprint, KnownSource(model.identity, "tensorflow"))
    if engine == "float":
        card, data = foreign_litert(model)
        write_compiled(card, data)
        return _litert(card, data)
    return foreign_tensorflow_model(model)


def _litert(card: ModelCard, data: bytes) -> FeatureModel:
    from fvcli.models.litert import LiteRTModel

    return LiteRTModel(card, data)
