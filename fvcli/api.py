"""fvcli from Python: ``import fvcli``, then ``fvcli.extract``, ``fvcli.open_dataset`` and ``fvcli.load_model``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Unpack

import numpy as np

from fvcli import options
from fvcli.dataset.reader import Dataset, open_dataset
from fvcli.errors import ImageError, UsageError
from fvcli.images.loader import ImageLoader
from fvcli.images.memory import DEFAULT_LIMITS
from fvcli.models import loading
from fvcli.models.protocol import FeatureModel
from fvcli.records import Engine, Float32Array, ImageRef, Preprocessing, UInt8Array
from fvcli.run import extract as run
from fvcli.run.extract import RunSummary
from fvcli.run.request import Observer, PathName, RayOptions, Silent, make_request

__all__ = ["Dataset", "ExtractOptions", "Model", "RunSummary", "extract", "load_model", "open_dataset"]


class ExtractOptions(options.RunOptions, total=False):
    """The options of ``extract``, declared in :mod:`fvcli.options`. ray: a cluster to work on."""

    ray: RayOptions | None


def extract(
    sources: PathName | Iterable[PathName] = (),
    output: PathName = "features",
    *,
    observer: Observer | None = None,
    **given: Unpack[ExtractOptions],
) -> RunSummary:
    """Brings the dataset in the folder ``output`` up to date with ``sources``, as ``fvcli extract`` does.

    sources: folders, files or globs. observer: receives progress; without one nothing is printed.
    Inputs that fail do not raise: they are counted in the summary and listed by the dataset's ``failures()``.
    Raises UsageError, ModelError, DatasetError (LockedError when another run holds the dataset) and
    TooManyFailuresError; what was committed stays, and the same call resumes from there.
    """
    names = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    if not names and given.get("files_from") is None:
        raise UsageError("name a folder, a file or files_from")
    return run.extract(make_request(names, output, **given), observer or Silent())


class Model:
    """A model that takes images from Python. For one thread; ``per_thread()`` gives another for another thread."""

    def __init__(self, inner: FeatureModel) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        height, width = self.input_size
        return f"Model({self.name!r}: uint8 [n, {height}, {width}, 3] -> float32 [n, {self.dimension}])"

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of the model's canonical numbers."""
        return self._inner.identity

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        return self._inner.dimension

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of its images, in pixels."""
        return self._inner.input_spec.height, self._inner.input_spec.width

    def __call__(self, images: UInt8Array) -> Float32Array:
        """uint8 RGB images [n, height, width, 3] -> float32 [n, dimension].

        Raises UsageError for an array of another shape or type, ModelError if the engine fails.
        """
        images = np.asarray(images)
        expected = (*self.input_size, 3)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise UsageError(
                f"{self.name} takes uint8 images [n, {', '.join(map(str, expected))}], "
                f"not {images.dtype} {list(images.shape)}; read() makes such of files"
            )
        return self._inner(images)

    def read(self, files: Iterable[PathName], preprocessing: Preprocessing | None = None) -> UInt8Array:
        """Image files as ``extract`` feeds them to the model: uint8 [n, height, width, 3].

        Raises ImageError, which names the file, for the first one that cannot be used.
        """
        names = [os.fspath(file) for file in files]
        loader = ImageLoader(self._inner.input_spec, preprocessing or Preprocessing(), DEFAULT_LIMITS)
        images = np.empty((len(names), *self.input_size, 3), np.uint8)
        for name, image in zip(names, images, strict=True):
            try:
                loader.load(ImageRef("", name, os.fsencode(name)), image)
            except ImageError as error:
                raise ImageError(error.stage, error.kind, f"{name}: {error}") from None
        return images

    def per_thread(self) -> Model:
        """An independent instance of the same model."""
        return Model(self._inner.per_thread())


def load_model(name: PathName = loading.EMBEDDED, engine: Engine | None = None) -> Model:
    """The model of that name (see ``fvcli models list``), path or TF Hub handle, ready to run.

    engine: None for the model's own, "int8", "float" or "tensorflow". Raises ModelError where there is none or it
    cannot be read, UsageError for an engine that it does not have.
    """
    return Model(loading.load_model(os.fspath(name), engine))
