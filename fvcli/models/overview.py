"""The list of models, the description of one, and the check of what is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fvcli.errors import ModelError
from fvcli.models.cache import cache_folder
from fvcli.models.download import archive_folder
from fvcli.models.loading import EMBEDDED, embedded_file, load_model
from fvcli.models.mobilenet.catalog import CATALOG, LICENSE, PublishedNetwork, find_entry
from fvcli.models.mobilenet.network import MobileNetV1, exactness
from fvcli.models.model_card import ModelCard, input_spec_to_json
from fvcli.models.source import Source, UnknownModelError, find_source, local_source, read_source
from fvcli.models.source_options import MissingOptionError

Place = Literal["embedded", "cached", "not here"]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A line of the list. top1: published accuracy on ImageNet in percent, None where none was published."""

    name: str
    size: int
    multiplier: float
    quantized: bool
    top1: float | None
    place: Place


@dataclass(frozen=True, slots=True)
class Checked:
    """A stored model that was checked; problem is None where it is sound."""

    name: str
    path: Path
    problem: str | None


def list_models() -> list[ListedModel]:
    """The embedded model, then the catalog."""
    card, _ = embedded_file()
    listed = [ListedModel(EMBEDDED, card.input_spec.height, 1.0, True, None, "embedded")]
    for entry in CATALOG:
        place: Place = "cached" if archive_folder(entry).is_dir() else "not here"
        listed.append(ListedModel(entry.name, entry.size, entry.multiplier, entry.quantized, entry.top1, place))
    return listed


def describe_model(name: str) -> dict[str, Any]:
    """All that is known of a model, as JSON values. Raises ModelError if there is no such model or it is damaged."""
    if name == EMBEDDED:
        return _embedded_values()
    entry = find_entry(name)
    if entry is not None and not Path(name).exists() and not archive_folder(entry).is_dir():
        return {**_entry_values(entry), "place": "not here"}
    source = local_source(find_source(name))
    found = read_source(source)
    values: dict[str, Any] = {"name": name, "license": source.license, "source": str(source.path)}
    if entry is not None:
        values = {**_entry_values(entry), **values, "place": "cached"}
    if found is None:
        return {**values, **_foreign_values(source)}
    return {**values, **_network_values(found), "engines": ["int8" if found.quantized else "float", "tensorflow"]}


def _embedded_values() -> dict[str, Any]:
    from fvcli.models.labels import imagenet_labels
    from fvcli.models.mobilenet.tflite_reader import parse_tflite

    card, data = embedded_file()
    values: dict[str, Any] = card.to_json()
    try:
        values |= _network_values(parse_tflite(data))
    except ModelError:  # weights rounded after training have no other form
        pass
    engines = ["int8", "tensorflow"]
    return {**values, "name": EMBEDDED, "place": "embedded", "engines": engines, "classes": len(imagenet_labels())}


def _foreign_values(source: Source) -> dict[str, Any]:
    """A network that is run as it is: what its file says without TensorFlow."""
    values: dict[str, Any] = {"form": f"another network ({source.kind}), run as it is"}
    if source.kind in ("tflite", "onnx"):
        model = load_model(source.name)
        engines = [model.engine]
        values |= {"input": input_spec_to_json(model.input_spec), "output": {"dimension": model.dimension}}
        return {**values, "identity": model.identity, "engines": engines}
    return {**values, "engines": ["tensorflow"] if source.kind == "keras" else ["tensorflow", "float"]}


def verify_models(names: list[str] | None = None) -> Iterator[Checked]:
    """Reads models and checks them: those named, else the embedded one, every compiled one and every archive pulled.

    Raises UnknownModelError for a name that means no model.
    """
    if names:
        for name in names:
            yield _checked(name, Path(name))
        return
    yield _checked(EMBEDDED, Path(EMBEDDED))
    for path in sorted((cache_folder() / "compiled").glob("*.tflite")):
        yield Checked(path.stem, path, _compiled_problem(path))
    for entry in CATALOG:
        if archive_folder(entry).is_dir():
            yield _checked(entry.name, archive_folder(entry))


def _checked(name: str, path: Path) -> Checked:
    problem: str | None = None
    try:
        if name == EMBEDDED:
            card, data = embedded_file()
            if not _is_described(card, data):
                problem = f"{name}: the .tflite is not the one its card describes; install fvcli again"
        else:
            source = local_source(find_source(name))
            if read_source(source) is None and source.kind in ("tflite", "onnx"):
                load_model(name)
    except MissingOptionError:  # a sound file that is used with an option after its name
        pass
    except UnknownModelError:
        raise
    except ModelError as error:
        problem = str(error)
    return Checked(name, path, problem)


def _compiled_problem(path: Path) -> str | None:
    reason: object = "not the file that its card describes"
    try:
        card = ModelCard.parse(path.with_suffix(".json").read_text("utf-8"))
        if _is_described(card, path.read_bytes()):
            return None
    except (OSError, ModelError, UnicodeError) as error:
        reason = error
    return f"{path}: {reason}; delete it, and it is compiled again when needed"


def _is_described(card: ModelCard, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == card.file_sha256


def _entry_values(entry: PublishedNetwork) -> dict[str, Any]:
    return {
        "name": entry.name,
        "multiplier": entry.multiplier,
        "size": entry.size,
        "license": LICENSE,
        "published_top1": entry.top1,
        "published_top5": entry.top5,
        "archive": entry.url,
        "archive_sha256": entry.sha256,
        "hub_handle": entry.handle,
    }


def _network_values(network: MobileNetV1) -> dict[str, Any]:
    values: dict[str, Any] = {
        "form": "quantops" if network.quantized else "plain",
        "multiplier": network.depth_multiplier,
        "input": input_spec_to_json(network.input_spec),
        "output": {"dimension": network.layers[-1].bias.size},
        "classes": None if network.logits is None else network.logits.bias.size,
        "identity": network.identity,
    }
    if network.quantized:
        reports = exactness(network)
        values["exact_channels"] = sum(report.exact for report in reports)
        values["channels"] = sum(report.channels for report in reports)
    return values
