"""Small pictures of the rows' files: squares for the wall's sprite, and larger previews."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from PIL import Image, WebPImagePlugin  # noqa: F401 (registers WebP, before threads could do so at once)

from fvcli.errors import ImageError
from fvcli.images.decode import decode
from fvcli.images.fit import scale
from fvcli.images.memory import DEFAULT_LIMITS, DecodedImage, Limits
from fvcli.records import ImageRef, UInt8Array
from fvcli.report.facts import PictureState
from fvcli.sources.read import read

_QUALITY = 60
_SPRITE_QUALITY = 55
_AHEAD = 64
_GRAY = 128
_LIGHTNESS = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma

#: A preview of area a takes about _HEADER + a * _PER_PIXEL bytes; photographs of the usual shapes fill _FILLED of the
#: square of their longer side.
_HEADER, _PER_PIXEL, _FILLED = 120, 0.17, 0.7
_SMALLEST, _LARGEST = 96, 512


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row's file, and the content its vector was made from."""

    ref: ImageRef
    sha256: str


@dataclass(frozen=True, slots=True)
class Sides:
    """preview: of the longer side, in pixels. tile: of the square, cut from the middle."""

    preview: int
    tile: int


@dataclass(frozen=True, slots=True)
class Picture:
    """preview: a data URI. tile: uint8 [side, side, 3]. lightness: the mean, 0 to 1. All only where one is shown."""

    state: PictureState
    preview: str = ""
    tile: UInt8Array | None = None
    lightness: float | None = None


def sides(count: int, budget: int) -> Sides:
    """The sizes of ``count`` previews and tiles for ``budget`` bytes of base64 in all."""
    tile = next((side for most, side in ((400, 96), (1500, 72)) if count <= most), 56)
    each = budget * 3 / 4 / max(1, count) - _HEADER - _PER_PIXEL * tile**2
    preview = (max(0.0, each) / _PER_PIXEL / _FILLED) ** 0.5
    return Sides(int(np.clip(preview, _SMALLEST, _LARGEST)), tile)


def pictures(
    wanted: Iterable[Wanted],
    sides: Sides,
    threads: int,
    limits: Limits = DEFAULT_LIMITS,
    seen: Callable[[], None] = lambda: None,
) -> Iterator[Picture]:
    """One per wanted, in order. seen: called after each. No file of any kind raises here."""
    todo = iter(wanted)
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        running = [pool.submit(_picture, each, sides, limits) for each in islice(todo, _AHEAD)]
        while running:
            picture = running.pop(0).result()
            following = next(todo, None)
            if following is not None:
                running.append(pool.submit(_picture, following, sides, limits))
            seen()
            yield picture


def sprite(tiles: Sequence[UInt8Array | None], side: int) -> tuple[str, int]:
    """One image of all tiles as a data URI, and the tiles per line; gray where there is no tile."""
    across = max(1, int(np.ceil(len(tiles) ** 0.5)))
    lines = -(-len(tiles) // across)
    sheet = np.full((lines * side, across * side, 3), _GRAY, np.uint8)
    for place, tile in enumerate(tiles):
        if tile is not None:
            top, left = place // across * side, place % across * side
            sheet[top : top + side, left : left + side] = tile
    return _uri(Image.fromarray(sheet), _SPRITE_QUALITY), across


def _picture(wanted: Wanted, sides: Sides, limits: Limits) -> Picture:
    try:
        file = read(wanted.ref)
        if file.sha256 != wanted.sha256:
            return Picture("changed")  # and nothing that no run has decoded before is decoded here
        with decode(file.data, partial(_needed, sides), exact=False, limits=limits) as decoded:
            return _shown(decoded, sides)
    except ImageError as error:
        return Picture("gone" if error.kind == "NotFound" else "unreadable")
    except (MemoryError, ValueError, OSError):
        return Picture("unreadable")


def _needed(sides: Sides, width: int, height: int) -> tuple[int, int]:
    """The size to decode at: enough for the preview, and for the tile where the file has it."""
    factor = min(1.0, max(sides.preview / max(width, height, 1), sides.tile / max(1, min(width, height))))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _contained(side: int, width: int, height: int) -> tuple[int, int]:
    factor = min(1.0, side / max(width, height, 1))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _shown(decoded: DecodedImage, sides: Sides) -> Picture:
    width, height = _contained(sides.preview, decoded.width, decoded.height)
    small = np.empty((height, width, 3), np.uint8)
    scale(decoded.pixels, decoded.region, "area", small)
    left, top, right, bottom = decoded.region
    square = min(right - left, bottom - top)
    middle = (left + right - square) / 2, (top + bottom - square) / 2
    tile = np.empty((sides.tile, sides.tile, 3), np.uint8)
    scale(decoded.pixels, (*middle, middle[0] + square, middle[1] + square), "bilinear", tile)
    lightness = float((small.mean((0, 1)) @ _LIGHTNESS) / 255)
    return Picture("shown", _uri(Image.fromarray(small), _QUALITY), tile, lightness)


def _uri(image: Image.Image, quality: int) -> str:
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
