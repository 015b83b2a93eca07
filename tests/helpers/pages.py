"""Reports and what is in their pages."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from fvcli.dataset.columns import Rows
from fvcli.dataset.reader import Dataset
from fvcli.records import ImageInfo, ImageRef
from tests.helpers.synthetic import write_dataset

FVCLI = Path(sys.executable).with_name("fvcli")

#: Below a folder named "odd"; the first holds "</script>", cut into folders.
HOSTILE_NAMES = (
    "x<" + "/script><script>document.title='owned'<" + "/script>.jpg",
    "<img src=x onerror=document.title='owned'>.jpg",
    "\"quotes\" & 'apostrophes' {{facts}} ${title}.jpg",
    "line\nbreak \x1b[31m.jpg",
    "emoji 👩‍🔬 🌼.jpg",
    "turned \u202egpj.exe.jpg",
    "long " + "x" * 230 + ".jpg",
    "separated\u2028by\u2029lines.jpg",
)


@dataclass(frozen=True)
class Case:
    """photos: the images' folder. dataset: made from them in two runs, before some were removed and replaced.

    smaller: near-duplicates of cat.jpg with fewer pixels.
    """

    photos: Path
    dataset: Path
    gone: str
    changed: str
    smaller: tuple[str, ...]


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # One thread for the linear algebra: on a busy machine its threads wait for each other longer than they work.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [FVCLI, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )


class Parts(HTMLParser):
    """A page's elements as (tag, attributes), the text of its style and scripts, and its facts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw.append((self._inside, data))

    @property
    def facts(self) -> dict[str, Any]:
        [text] = [text for tag, text in self.raw if tag == "script" and text.startswith("{")]
        return json.loads(text)  # type: ignore[no-any-return]


def unpacked(text: str, dtype: str, *shape: int) -> np.ndarray:
    """The numbers that facts.packed() packed."""
    return np.frombuffer(base64.b64decode(text), "<" + dtype).reshape(shape or (-1,)).astype(np.int64)


def paths(facts: dict[str, Any]) -> list[str]:
    """The path of every page row, as the page shows it."""
    rows = facts["rows"]
    folders = [rows["folders"][folder] for folder, length in rows["runs"] for _ in range(length)]
    return [folder + name for folder, name in zip(folders, rows["names"], strict=True)]


def many_rows(
    folder: Path, count: int, with_pictures: Iterable[int], sources: Sequence[Path], dimension: int
) -> Dataset:
    """A dataset of ``count`` rows in bunches of similar vectors, below ``folder``/features.

    Only the rows ``with_pictures`` have files: copies of ``sources`` in turn, each with a content of its own.
    """
    generator = np.random.default_rng(0)
    contents = [source.read_bytes() for source in sources]
    pictured = set(with_pictures)
    centers = generator.normal(0, 1, (200, dimension))

    def part(start: int, size: int) -> Rows:
        vectors = centers[generator.integers(len(centers), size=size)] + generator.normal(0, 0.35, (size, dimension))
        refs, infos = [], []
        for number in range(start, start + size):
            data = number.to_bytes(8)
            path = f"album {number // 400:03d}/IMG_2024{number:06d}.jpg"
            if number in pictured:
                data = contents[number % len(contents)] + data
                (folder / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / "photos" / path).write_bytes(data)
            refs.append(ImageRef("photos", path))
            infos.append(ImageInfo(hashlib.sha256(data).hexdigest(), len(data), 1, 600, 400, "JPEG"))
        return Rows(refs, infos, vectors.astype(np.float32))

    size = 5000
    return write_dataset(
        folder / "features", (part(start, min(size, count - start)) for start in range(0, count, size))
    )


class Silent:
    """An observer of a report that keeps the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, what: str) -> None:
        self.steps.append(what)

    def share(self, done: float) -> None: ...

    def reading(self, pictures: int) -> None: ...

    def read(self) -> None: ...
