"""Small pictures of the rows' files, as data URIs, of a bounded total size."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from PIL import Image, WebPImagePlugin  # noqa: F401 (registers WebP, before threads could do so at once)

from fvcli.errors import ImageError
from fvcli.images.decode import decode
from fvcli.images.decoded import DecodedImage
from fvcli.images.estimate import DEFAULT_LIMITS, Limits
from fvcli.images.scale import scale
from fvcli.records import ImageRef
from fvcli.report.facts import PictureState
from fvcli.sources.read import read

_QUALITY = 60
_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row's file, the content its vector was made from, and the picture's longer side in pixels."""

    ref: ImageRef
    sha256: str
    side: int


@dataclass(frozen=True, slots=True)
class Picture:
    state: PictureState
    uri: str = ""


def pictures(
    wanted: Iterable[Wanted],
    budget: int,
    threads: int,
    limits: Limits = DEFAULT_LIMITS,
    seen: Callable[[], None] = lambda: None,
) -> Iterator[Picture]:
    """One for each wanted, in order; "left out" once the URIs so far fill ``budget`` characters.

    seen: called after each. No file of any kind raises here.
    """
    left = budget
    todo = iter(wanted)
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        # A window of tasks, not all at once: what comes after the budget is spent is never read.
        running = [pool.submit(_picture, each, limits) for each in islice(todo, _AHEAD)]
        while running:
            picture = running.pop(0).result()
            spent = left <= 0
            following = next(todo, None)
            if following is not None:
                running.append(pool.submit(_left_out if spent else _picture, following, limits))
            if spent or len(picture.uri) > left:
                picture, left = (Picture("left out") if picture.uri else picture), 0
            left -= len(picture.uri)
            seen()
            yield picture


def _left_out(_: Wanted, __: Limits) -> Picture:
    return Picture("left out")


def _picture(wanted: Wanted, limits: Limits) -> Picture:
    try:
        file = read(wanted.ref)
        if file.sha256 != wanted.sha256:
            return Picture("changed")  # and nothing that no run has decoded before is decoded here
        with decode(file.data, partial(_contained, wanted.side), exact=False, limits=limits) as decoded:
            return Picture("shown", _encoded(decoded, wanted.side))
    except ImageError as error:
        return Picture("gone" if error.kind == "NotFound" else "unreadable")
    except (MemoryError, ValueError, OSError):
        return Picture("unreadable")


def _contained(side: int, width: int, height: int) -> tuple[int, int]:
    factor = min(1.0, side / max(width, height, 1))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _encoded(decoded: DecodedImage, side: int) -> str:
    width, height = _contained(side, decoded.width, decoded.height)
    small = np.empty((height, width, 3), np.uint8)
    scale(decoded.pixels, decoded.region, "area", small)
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
