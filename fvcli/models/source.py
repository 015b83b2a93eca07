"""Sources of models: the file, folder, archive, catalog entry or handle that ``--model`` names, and its reading.

Options of the input stand after the name: see :mod:`fvcli.models.source_options`.
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from fvcli.errors import ModelError, UsageError
from fvcli.files import file_sha256
from fvcli.models.cache import cache_folder
from fvcli.models.download import archive_folder
from fvcli.models.hub import GOOGLE, full_handle, resolve_handle
from fvcli.models.mobilenet.catalog import LICENSE, find_entry
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.models.mobilenet.network_file import OtherNetworkError
from fvcli.models.source_options import NO_OPTIONS, SourceOptions, input_size, split_name
from fvcli.models.unpack import unpack

SourceKind = Literal["tflite", "frozen", "checkpoint", "saved-model", "archive", "handle", "onnx", "keras"]

SUFFIXES: Final = (".tar.gz", ".tgz", ".tar", ".tflite", ".pb", ".index", ".meta", ".ckpt", ".onnx", ".keras", ".h5")
_SAVED_MODEL: Final = ("saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb")


@dataclass(frozen=True, slots=True)
class Source:
    """A model's place. name: as the user gave it. license: SPDX, or "unknown". path: unused for a handle."""

    name: str
    kind: SourceKind
    path: Path
    license: str
    handle: str = ""
    options: SourceOptions = NO_OPTIONS

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content and of what else decides the network. Raises ModelError."""
        digest = hashlib.sha256(f"{self.kind}\0{self.options}\0".encode())
        if self.kind == "handle":
            digest.update(self.handle.encode())  # a handle ends in a version, which never changes
            return digest.hexdigest()
        if self.kind == "checkpoint":
            digest.update(self.path.name.encode())  # it may say the image size
        try:
            for path in self._files():
                digest.update(path.name.encode() + b"\0" + bytes.fromhex(file_sha256(path)))
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        return digest.hexdigest()

    def _files(self) -> list[Path]:
        if self.kind == "checkpoint":
            from fvcli.models.mobilenet.checkpoint import checkpoint_prefix

            prefix = checkpoint_prefix(self.path)
            return sorted(prefix.parent.glob(f"{prefix.name}.*"))
        if self.kind == "saved-model":
            return sorted(path for path in self.path.rglob("*") if path.is_file())
        return [self.path]


class UnknownModelError(ModelError):
    """A name that means no model."""


def find_source(name: str) -> Source:
    """The source that a user's name means.

    Raises UnknownModelError if there is none, ModelError if it holds no model; UsageError if the options after ``?``
    are not valid.
    """
    place, options = split_name(name)
    path = Path(place)
    handle = None if path.exists() else full_handle(place)
    if handle is not None:
        license = LICENSE if handle.startswith(GOOGLE) else "unknown"
        return Source(name, "handle", Path(), license, handle, options)
    entry = find_entry(place)
    if entry is not None and not path.exists():
        folder = archive_folder(entry)
        if not folder.is_dir():
            raise ModelError(f"{place}: not on this machine yet; fetch it with `fvcli models pull {place}`")
        return _in_folder(folder, Source(name, "archive", folder, LICENSE, options=options))
    given = Source(name, "archive", path, "unknown", options=options)
    if path.is_dir():
        return _in_folder(path, given)
    if not path.exists():
        if path.with_name(f"{path.name}.index").exists():
            return replace(given, kind="checkpoint")
        raise UnknownModelError(f"{place}: no such file, folder or model; `fvcli models list` shows what there is")
    return replace(given, kind=_kind(path))


def _in_folder(folder: Path, given: Source) -> Source:
    """The source in a folder: a SavedModel, else a .tflite, a frozen graph, a checkpoint, ONNX or Keras."""
    marks = [path.parent for file in _SAVED_MODEL for path in folder.rglob(file)]
    if marks:
        return replace(given, kind="saved-model", path=min(marks, key=lambda path: (len(path.parts), path)))
    for pattern, kind in _IN_FOLDER:
        found = sorted(path for path in folder.rglob(pattern) if path.is_file())
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:4])
            raise ModelError(f"{given.name}: holds several models ({names}); name one of them")
        if found:
            return replace(given, kind=kind, path=found[0])
    raise ModelError(
        f"{given.name}: holds no model: no SavedModel, .tflite, frozen .pb, checkpoint, .onnx, .keras or .h5"
    )


_IN_FOLDER: Final[tuple[tuple[str, SourceKind], ...]] = (
    ("*.tflite", "tflite"),
    ("*frozen*.pb", "frozen"),
    ("*.index", "checkpoint"),
    ("*.onnx", "onnx"),
    ("*.keras", "keras"),
    ("*.h5", "keras"),
)


def read_source(source: Source) -> MobileNetV1 | None:
    """The network in a source, for images of the size that its options ask for; None if it is another network.

    Raises ModelError, naming the file, when it is not what it seems; UsageError for options that do not fit.
    """
    network = _read(source)
    return None if network is None else with_options(network, source.options, source.name)


def with_options(network: MobileNetV1, options: SourceOptions, name: str) -> MobileNetV1:
    """The network for images of another size: its body takes any. Raises UsageError for options it does not have."""
    if options.ranges is not None or options.output is not None:
        given = " and ".join(option for option in options.given() if option != "image-size")
        raise UsageError(f"{name}: a MobileNet V1 states its own input and output; omit {given}")
    if options.image_size is None:
        return network
    height, width = input_size((None, None), options, name)
    return replace(network, input_spec=replace(network.input_spec, height=height, width=width))


def _read(source: Source) -> MobileNetV1 | None:
    if source.kind in ("onnx", "keras"):
        return None
    if source.kind == "tflite":
        from fvcli.models.mobilenet.tflite_reader import read_tflite

        try:
            return read_tflite(source.path)
        except OtherNetworkError:
            return None
    if source.kind == "checkpoint":
        from fvcli.models.mobilenet.checkpoint import read_checkpoint

        return read_checkpoint(source.path, source.options.image_size)
    if source.kind == "saved-model":
        from fvcli.models.mobilenet.saved_model import read_saved_model

        return read_saved_model(source.path)
    from fvcli.models.mobilenet.frozen_graph import read_frozen_graph

    return read_frozen_graph(source.path)


def local_source(source: Source) -> Source:
    """The source itself, or the file or folder that an archive or a handle comes down to.

    Raises ModelError if the archive cannot be unpacked or the handle cannot be resolved.
    """
    if source.kind == "archive":
        folder = cache_folder() / "unpacked" / file_sha256(source.path)
        if not folder.is_dir():
            unpack(source.path, folder)
        return _in_folder(folder, source)
    if source.kind == "handle":
        return _in_folder(resolve_handle(source.handle), source)
    return source


def _kind(path: Path) -> SourceKind:
    """By the first bytes where they tell, else by the name."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    name = path.name
    if start[4:8] == b"TFL3" or name.endswith(".tflite"):
        return "tflite"
    if start[:2] == b"\x1f\x8b" or name.endswith((".tar.gz", ".tgz", ".tar")) or _is_tar(path):
        return "archive"
    if name.endswith(".onnx"):
        return "onnx"
    if name.endswith((".keras", ".h5", ".hdf5")) or start == b"\x89HDF\r\n\x1a\n":
        return "keras"
    if ".ckpt" in name or name.endswith((".index", ".meta")) or ".data-" in name:
        return "checkpoint"
    if name.endswith(".pb"):
        return "frozen"
    raise ModelError(
        f"{path}: not a model that fvcli reads (a SavedModel or hub.Module folder, .tar.gz, .tflite, .onnx, "
        ".keras, .h5, frozen .pb, .ckpt)"
    )


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except OSError:
        return False
