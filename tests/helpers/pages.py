"""Reports and what is in their pages."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

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
