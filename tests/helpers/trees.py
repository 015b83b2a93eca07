"""Helpers for tests of sources: folders of small files, and what a search finds in them."""

from __future__ import annotations

import os
from pathlib import Path

from fvcli.records import ImageRef
from fvcli.sources.candidates import PassedOver
from fvcli.sources.discover import Sources, discover

JPEG_START = b"\xff\xd8\xff\xe0" + b"\0" * 40


def make(folder: Path, *files: str | bytes, content: bytes = JPEG_START) -> Path:
    """Writes files of one content below ``folder``."""
    for name in files:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)
    return folder


def found(*paths: str | Path, **options: object) -> list[ImageRef]:
    """The inputs that ``paths`` and the options of :class:`Sources` name; they ascend and are unique."""
    refs = list(discover(Sources(tuple(map(str, paths)), **options)))  # type: ignore[arg-type]
    keys = [(ref.root, ref.path) for ref in refs]
    assert keys == sorted(set(keys))
    return refs


def names(*paths: str | Path, **options: object) -> list[str]:
    """The paths of these inputs."""
    return [ref.path for ref in found(*paths, **options)]


def passed_over(*paths: str | Path, **options: object) -> dict[str, int]:
    """The counts of what a search passes over, by kind."""
    tally = PassedOver()
    for _ in discover(Sources(tuple(map(str, paths)), **options), tally):  # type: ignore[arg-type]
        pass
    return tally.to_json()
