"""Options after a model's name: ``model.tflite?input-range=-1,1&image-size=224``.

A model file does not always state these. As part of the name they stay with it wherever it goes: the environment, a
manifest, another machine.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, fields
from typing import Final, TypeAlias

from fvcli.errors import ModelError, UsageError
from fvcli.records import InputSpec

Range: TypeAlias = tuple[float, float]
"""The numbers that pixels 0 and 255 become."""

LEAST_SIZE: Final = 32
MOST_SIZE: Final = 4096

_USAGE: Final = (
    "after the ?, write input-range=LOW,HIGH, or mean=M,M,M and std=S,S,S (of pixels from 0 to 1), "
    "image-size=PIXELS or output=NAME, with & between"
)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The options after ``?``; None where one is not given.

    ranges: for each of the three channels, what pixels 0 and 255 become; from ``input-range`` or ``mean`` and ``std``.
    image_size: height and width in pixels. output: the name of one of the model's outputs.
    """

    ranges: tuple[Range, Range, Range] | None = None
    image_size: int | None = None
    output: str | None = None

    def given(self) -> list[str]:
        """The names of the options that are given, as a user writes them."""
        names = {"ranges": "input-range, mean and std", "image_size": "image-size", "output": "output"}
        return [names[field.name] for field in fields(self) if getattr(self, field.name) is not None]


class MissingOptionError(ModelError):
    """A sound model that does not state something its name has to."""


class NormalizationError(ValueError):
    """A mean and a standard deviation that make no ranges; its text says why."""


NO_OPTIONS: Final = SourceOptions()


def split_name(name: str) -> tuple[str, SourceOptions]:
    """The place in a model's name, and the options after ``?``. Raises UsageError for options that are not valid."""
    place, mark, rest = name.rpartition("?")
    if not mark or not rest.startswith(("input-range=", "mean=", "std=", "image-size=", "output=")):
        return name, SourceOptions()
    values: dict[str, str] = {}
    for part in rest.split("&"):
        key, _, value = part.partition("=")
        if key in values or not value:
            raise UsageError(f"{name}: {_USAGE}")
        values[key] = value
    try:
        options = SourceOptions(_ranges(values), _size(values.pop("image-size", None)), values.pop("output", None))
    except NormalizationError as error:
        raise UsageError(f"{name}: {error}") from None
    except ValueError:
        raise UsageError(f"{name}: {_USAGE}") from None
    if values:
        raise UsageError(f"{name}: {_USAGE}")
    return place, options


def float_input(height: int, width: int, ranges: tuple[Range, Range, Range]) -> InputSpec:
    """The InputSpec of images whose pixels become numbers in ``ranges``."""
    if len(set(ranges)) == 1:
        return InputSpec(height, width, value_range=ranges[0])
    return InputSpec(height, width, channel_ranges=ranges)


def normalized_ranges(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Range, Range, Range]:
    """The values of pixels 0 and 255 after (pixel - mean) / std; one or three of each. Raises NormalizationError."""
    if len(mean) not in (1, 3) or len(std) not in (1, 3) or not all(math.isfinite(value) for value in (*mean, *std)):
        raise NormalizationError("mean and std have one or three numbers")
    if min(std) <= 0:
        raise NormalizationError("std is above 0")
    means, stds = (values * (3 // len(values)) for values in (mean, std))
    red, green, blue = ((-middle / width, (255 - middle) / width) for middle, width in zip(means, stds, strict=True))
    return red, green, blue


def input_size(shape: tuple[int | None, int | None], options: SourceOptions, name: str) -> tuple[int, int]:
    """Height and width of the images that a model takes.

    shape: as the model states them, None where it takes any. Raises ModelError where neither the model nor
    ``options`` states a size; UsageError where both do, and differ.
    """
    wanted = options.image_size
    height, width = (side if side is not None else wanted for side in shape)
    if height is None or width is None:
        mark = "&" if "?" in name else "?"
        raise MissingOptionError(
            f"{name}: takes images of any size; add one to its name, most often {mark}image-size=224"
        )
    if wanted is not None and (height, width) != (wanted, wanted):
        raise UsageError(f"{name}: takes images of {height} x {width} pixels only; omit image-size={wanted}")
    return height, width


def asked_range(name: str) -> MissingOptionError:
    """The error for a model whose input range neither its file nor its name states."""
    return MissingOptionError(
        f"{name}: does not state the numbers it takes for pixels; add them to its name, most often as "
        f"--model '{name}{'&' if '?' in name else '?'}input-range=0,1' or input-range=-1,1"
    )


def options_identity(digest: str, options: SourceOptions) -> str:
    """The identity (SHA-256, hex) of a model whose file has the SHA-256 ``digest``.

    The file's own, unless ``options`` change what it computes; then a hash of both.
    """
    if not options.given():
        return digest
    values = json.dumps([digest, options.ranges, options.image_size, options.output])
    return hashlib.sha256(values.encode()).hexdigest()


def _ranges(values: dict[str, str]) -> tuple[Range, Range, Range] | None:
    given, mean, std = (values.pop(key, None) for key in ("input-range", "mean", "std"))
    if given is not None:
        low, high = _numbers(given)
        if mean is not None or std is not None or not low < high:
            raise ValueError
        return (low, high), (low, high), (low, high)
    if mean is None and std is None:
        return None
    means, stds = _numbers(mean or "0"), _numbers(std or "1")
    if max((*means, *stds)) > 1:
        raise NormalizationError(
            "mean and std are of pixels from 0 to 1, such as mean=0.485,0.456,0.406; divide them by 255"
        )
    return normalized_ranges(tuple(255 * value for value in means), tuple(255 * value for value in stds))


def _numbers(text: str) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in text.split(","))
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError
    return numbers


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    size = int(text)
    if not LEAST_SIZE <= size <= MOST_SIZE:
        raise ValueError
    return size
