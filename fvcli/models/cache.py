"""The user's cache folder: compiled models, and which file or handle gives which of them.

    compiled/IDENTITY-ENGINE-COMPILER.tflite, .json   a model ready to run, and its card
    classifiers/KEY.tflite, .json                     a source's classifier, for labels
    sources/KEY.json                                  a source's fingerprint -> identity and the engine it runs with
    archives/NAME/                                    an official archive, unpacked
    unpacked/SHA256/                                  an archive given as a file, unpacked

Everything is written whole under another name first, and everything may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fvcli.errors import ModelError
from fvcli.files import replace_file
from fvcli.models.model_card import CompiledEngine, ModelCard
from fvcli.records import Engine

COMPILER: Final = "fvcli-1"
"""Changes when the same network would give another compiled file."""

CACHE_VARIABLE: Final = "FVCLI_CACHE"


@dataclass(frozen=True, slots=True)
class KnownSource:
    """The content of a source when it was last read; ``engine`` is the one it runs with by default."""

    identity: str
    engine: Engine


def cache_folder() -> Path:
    """``$FVCLI_CACHE``, else ``fvcli`` in ``$XDG_CACHE_HOME``, else ``~/.cache/fvcli``."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fvcli"


def compiled_path(identity: str, engine: CompiledEngine) -> Path:
    """The path of a model's compiled file, which may be missing."""
    return cache_folder() / "compiled" / f"{identity}-{engine}-{COMPILER}.tflite"


def read_compiled(identity: str, engine: CompiledEngine, name: str, license: str) -> tuple[ModelCard, bytes] | None:
    """A compiled model under the name and license it has here; None if it is not cached, or damaged."""
    path = compiled_path(identity, engine)
    try:
        data = path.read_bytes()
        card = ModelCard.parse(path.with_suffix(".json").read_text("utf-8"))
    except (OSError, ModelError, UnicodeError):
        return None
    if card.file_sha256 != hashlib.sha256(data).hexdigest() or (card.identity, card.engine) != (identity, engine):
        return None
    return replace(card, name=name, license=license), data


def write_compiled(card: ModelCard, data: bytes) -> None:
    """Keeps a compiled model. Raises ModelError if the cache cannot be written."""
    path = compiled_path(card.identity, card.engine)
    write_whole(path, data)
    write_whole(path.with_suffix(".json"), json.dumps(card.to_json(), indent=2).encode())


def read_known(fingerprint: str) -> KnownSource | None:
    """The cached knowledge of a source, or None."""
    try:
        values = json.loads(_source_path(fingerprint).read_text("utf-8"))
        return KnownSource(identity=values["identity"], engine=values["engine"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_known(fingerprint: str, known: KnownSource) -> None:
    """Keeps what a source was found to be. Raises ModelError if the cache cannot be written."""
    values = {"identity": known.identity, "engine": known.engine}
    write_whole(_source_path(fingerprint), json.dumps(values).encode())


def read_classifier(fingerprint: str) -> tuple[bytes, int] | None:
    """The classifier of a source and the positions of its last map; None if it is not cached, or damaged."""
    path = _classifier_path(fingerprint)
    try:
        data = path.read_bytes()
        values = json.loads(path.with_suffix(".json").read_text("utf-8"))
        return (data, int(values["positions"])) if values["sha256"] == hashlib.sha256(data).hexdigest() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_classifier(fingerprint: str, data: bytes, positions: int) -> None:
    """Keeps a source's classifier. Raises ModelError if the cache cannot be written."""
    path = _classifier_path(fingerprint)
    write_whole(path, data)
    values = {"positions": positions, "sha256": hashlib.sha256(data).hexdigest()}
    write_whole(path.with_suffix(".json"), json.dumps(values).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that no reader ever sees part of it. Raises ModelError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as error:
        raise ModelError(
            f"{path}: the cache cannot be written ({error.strerror or error}); set {CACHE_VARIABLE} to another folder"
        ) from error


def _classifier_path(fingerprint: str) -> Path:
    return cache_folder() / "classifiers" / f"{fingerprint}-{COMPILER}.tflite"


def _source_path(fingerprint: str) -> Path:
    return cache_folder() / "sources" / f"{fingerprint}-{COMPILER}.json"
