"""Small pictures and folders of them, the same for the same numbers."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

#: A fixed time for files, so that folders made twice are the same to an update.
SOME_TIME_NS = 1_700_000_000_000_000_000


@functools.lru_cache(maxsize=4096)
def picture(number: int, side: int = 32) -> bytes:
    """A PNG of its own for each number: coarse noise, so that vectors differ too."""
    coarse = np.random.default_rng(number).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse.repeat(4, axis=0).repeat(4, axis=1)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def broken(number: int) -> bytes:
    """A PNG that ends too early."""
    return picture(number)[:-40]


def put(folder: Path, name: str, data: bytes, time_ns: int = SOME_TIME_NS) -> Path:
    """Writes a file with a modification time of its own."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, ns=(time_ns, time_ns))
    return file


def make_folder(folder: Path, numbers: Iterable[int], name: str = "{:04d}.png") -> Path:
    """A folder with one picture for each number, named after it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        put(folder, name.format(number), picture(number))
    return folder


def linked(folder: Path, copies: int) -> Path:
    """A new folder of 8 pictures of 256 x 256 pixels and so many hard links to each: much to do from few files."""
    folder.mkdir()
    for number in range(8):
        put(folder, f"{number}.png", picture(number, side=256))
        for copy in range(copies):
            os.link(folder / f"{number}.png", folder / f"{number}-{copy:04d}.png")
    return folder
