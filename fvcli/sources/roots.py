"""The folders named as sources: each once, however it is spelled, and none below another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from fvcli.locations import cut_query, is_remote
from fvcli.sources.candidates import is_input, may_be_input
from fvcli.sources.passed_over import is_set_aside
from fvcli.sources.patterns import Filter


@dataclass(frozen=True, slots=True)
class Root:
    """A source folder. name: as the dataset calls it; place: where it is, free of links, ending in "/"."""

    name: str
    place: str

    @classmethod
    def of(cls, source: str) -> Root:
        """The root that a source names: ``./photos``, ``photos/.`` and ``x/../photos`` are ``photos``."""
        place, query = cut_query(source)
        if is_remote(source):
            name = place.rstrip("/")
            return cls(name + query, f"{name}{query}/")
        return cls(normalized(source), _real_folder(source))


def normalized(folder: str) -> str:
    """The shortest spelling of a local folder that means the same folder; absolute only where ``folder`` is."""
    short = os.path.normpath(folder)
    if short.startswith("//"):
        short = short[1:]
    try:
        same = ".." not in folder.split("/") or os.path.samefile(folder, short)
    except OSError:
        same = False
    return short if same else folder.rstrip("/") or "/"


class Roots:
    """Source folders in the order of their names. One that the walk of another reaches is part of that one."""

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._roots: dict[str, Root] = {}
        self._real_folder = lru_cache(maxsize=1024)(_real_folder)

    def add(self, source: str) -> None:
        """Takes a folder that is there."""
        root = Root.of(source)
        self._roots.setdefault(root.place, root)

    def __iter__(self) -> Iterator[str]:
        outer = [root for root in self._roots.values() if not self._reached(root.place, "")]
        return iter(sorted(root.name for root in outer))

    def enters(self, path: str) -> bool:
        """Whether the walk of a root enters all folders on the way to a file at this path below it."""
        return self._enters(path[: path.rfind("/") + 1])

    def holds(self, file: bytes) -> bool:
        """Whether the walk of a root finds this file."""
        if not self._roots:
            return False
        name = os.fsdecode(file)
        folder, _, base = name.rpartition("/")
        if not (may_be_input(base) if is_remote(name) else is_input(name)):
            return False
        place = f"{folder}/" if is_remote(name) else self._real_folder(folder or ("/" if name.startswith("/") else "."))
        return self._reached(place, base)

    def _reached(self, place: str, base: str) -> bool:
        """Whether the walk of a root comes to the folder ``place``, and there to the file ``base``, if one is named.

        No root is reached by its own walk, but the files in it are.
        """
        end = len(place) if base else len(place) - 1
        while (end := place.rfind("/", 0, end)) >= 0:
            root = self._roots.get(place[: end + 1])
            below = place[end + 1 :]
            if root is not None and self._enters(below) and (not base or self._wanted.takes(below + base)):
                return True
        return False

    def _enters(self, below: str) -> bool:
        """Whether a walk enters a folder below its root, and all on the way to it."""
        parts = below.split("/")[:-1]
        paths = ("/".join(parts[: end + 1]) for end in range(len(parts)))
        return not any(map(is_set_aside, parts)) and all(map(self._wanted.enters, paths))


def _real_folder(folder: str) -> str:
    return os.path.realpath(folder).rstrip("/") + "/"
