"""The values that pass between rooms. Frozen, without behavior beyond naming what they hold."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fvcli.errors import Stage, UsageError

if TYPE_CHECKING:  # the options of a command need the names below, and must not wait for numpy
    import numpy as np
    from numpy.typing import NDArray

Fit: TypeAlias = Literal["squash", "crop", "pad"]
Resize: TypeAlias = Literal["area", "bilinear", "bicubic", "lanczos", "tf1-bilinear"]
Decode: TypeAlias = Literal["fast", "exact"]
Engine: TypeAlias = Literal["int8", "float", "tensorflow", "litert", "onnx"]

UInt8Array: TypeAlias = "NDArray[np.uint8]"
Float32Array: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True, slots=True, order=True)
class ImageRef:
    """One input. (``root``, ``path``) names it in the dataset and orders it there.

    root: the source folder as given, "" for files named one by one.
    path: below its root with "/" between the parts; as given for listed files. Always valid Unicode.
    path_bytes: the name's bytes where they are not UTF-8 (``path`` is then a readable stand-in), else None.
    size_bytes, mtime_ns: as found on discovery; -1 where the input could not be examined.
    offset: where a member's bytes begin in its archive; -1 for files, and as long as it is unknown.
    base_folder: what a relative root or path counts from, "" for the working directory.
    """

    root: str
    path: str
    path_bytes: bytes | None = None
    size_bytes: int = -1
    mtime_ns: int = -1
    offset: int = field(default=-1, compare=False)
    base_folder: str = field(default="", compare=False, kw_only=True)

    @property
    def name(self) -> str:
        """The input as messages and lists call it: its root and path, joined."""
        return display_name(self.root, self.path)

    @property
    def location(self) -> bytes:
        """The file-system path to open."""
        name = os.fsencode(self.path) if self.path_bytes is None else self.path_bytes
        return os.path.join(_folder(self.base_folder, self.root), name)


@lru_cache(maxsize=64)
def _folder(base_folder: str, root: str) -> bytes:
    return os.path.join(os.fsencode(base_folder), os.fsencode(root))


def usable_folder(base_folder: str) -> str:
    """A dataset's base folder as names are to be opened from here: "" where it is the working directory, or is gone.

    A dataset that was moved, with its images, is used from the folder where they now are.
    """
    try:
        return "" if os.path.samefile(base_folder, ".") else base_folder
    except OSError:
        return ""


def display_name(root: str, path: str) -> str:
    """A row or input as messages and lists call it."""
    return f"{root.rstrip('/')}/{path}" if root else path


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input of a model: uint8 RGB images [n, height, width, 3], and how each pixel becomes a number.

    value_range: the floats that pixels 0 and 255 become, None where one of the others is given.
    pixel_table: 256 input codes, one per pixel value, for models whose input is quantized.
    channel_ranges: the ranges of red, green and blue where they differ.
    """

    height: int
    width: int
    value_range: tuple[float, float] | None = None
    pixel_table: tuple[int, ...] | None = None
    channel_ranges: tuple[tuple[float, float], ...] | None = None


#: The version of the rules that are not options: value ranges, cropping, what is averaged before scaling.
PIXEL_RULES = 2


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The way from a file to pixels: DCT-scaled or full decoding, what of the image is kept, the resize kernel.

    rules: the version of the rules that are not options.
    """

    decode: Decode = "fast"
    fit: Fit = "squash"
    crop_fraction: float = 0.875
    resize: Resize = "bilinear"
    rules: int = PIXEL_RULES


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what a row holds of its image. A dataset has exactly one.

    model: the model's identity (SHA-256, hex). resizer, decoder: the libraries that scale images and decode ordinary
    JPEGs. normalize: vectors have unit length. labels: how many classes are written per image, 0 for none;
    classifier: the identity (SHA-256, hex) of the classifier that chooses them, None without labels.
    """

    model: str
    engine: Engine
    preprocessing: Preprocessing
    resizer: str = "cykooz-resizer"
    decoder: str = "simplejpeg"
    normalize: bool = False
    labels: int = 0
    classifier: str | None = None

    def to_json(self) -> dict[str, object]:
        """The recipe as JSON values. What is not asked for has no entry."""
        values = asdict(self)
        values |= values.pop("preprocessing")
        if self.preprocessing.fit != "crop":
            del values["crop_fraction"]
        if not self.normalize:
            del values["normalize"]
        if not self.labels:
            del values["labels"], values["classifier"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of ``to_json``. Raises KeyError or TypeError for the values of something else."""
        preprocessing = dict(values)
        own = {each.name: preprocessing.pop(each.name) for each in fields(cls) if each.name in preprocessing}
        return cls(**own, preprocessing=Preprocessing(**preprocessing))

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of the canonical JSON form."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on how many of some things may be affected: a number, or a percentage of all of them."""

    number: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str, option: str) -> Limit:
        """From "20" or "2.5%". Raises UsageError, which names the option."""
        percent = text.endswith("%")
        try:
            number = float(text.removesuffix("%")) if percent else int(text)
        except ValueError:
            number = -1
        if not 0 <= number <= (100 if percent else float("inf")):
            raise UsageError(f"{option} takes a number or a percentage such as 2%, not {text!r}")
        return cls(number, percent)

    def __str__(self) -> str:
        return f"{self.number:g}{'%' if self.percent else ''}"

    def exceeded(self, affected: int, total: int) -> bool:
        return affected > (self.number * total / 100 if self.percent else self.number)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file's bytes as read once, with what identifies them. sha256 is hexadecimal."""

    data: bytes
    sha256: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The fields of a row besides its vector. width and height are the upright image's, in pixels.

    labels: the best classes, best first, and scores: their probabilities (float32); empty where none are asked for.
    """

    sha256: str
    size_bytes: int
    mtime_ns: int
    width: int
    height: int
    format: str
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why an input gave no vector."""

    stage: Stage
    error: str
    message: str
