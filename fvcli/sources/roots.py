"""The folders named as sources: each once, however it is spelled, and none below another."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from fvcli.errors import UsageError
from fvcli.locations import cut_query, is_remote, local_path
from fvcli.sources.candidates import (
    COMPRESSED_ARCHIVES,
    SPECIAL,
    Filter,
    PassedOver,
    is_input,
    is_set_aside,
    is_utf8,
    kind_of,
    may_be_input,
    readable,
)
from fvcli.sources.read import storage_of


@dataclass(frozen=True, slots=True)
class Root:
    """A source folder.

    name: as the dataset calls it. place: where it is, free of links, ending in "/". source: how to open it from here.
    below: the part of the root that is searched, "" for all of it, else ending in "/".
    """

    name: str
    place: str
    source: str
    below: str = ""

    @classmethod
    def of(cls, source: str) -> Root:
        """The root that a source names: ``./photos``, ``photos/.`` and ``x/../photos`` are ``photos``."""
        place, query = cut_query(source)
        if is_remote(source):
            name = place.rstrip("/")
            return cls(name + query, f"{name}{query}/", name + query)
        return cls(normalized(source), _real_folder(source), source)


class KnownRoots:
    """The roots that a dataset has, and how folders named today find them.

    A folder is known by where it is, or else by its device and inode. base_folder: what relative roots count from.
    """

    def __init__(self, base_folder: str = "", names: Iterable[str] = ()) -> None:
        here = _working_folder()
        self.base_folder = base_folder if os.path.isdir(base_folder) else here
        self._real_folder = lru_cache(maxsize=1024)(_real_folder)
        self.is_elsewhere = _real_folder(self.base_folder) != _real_folder(here)
        self._places: dict[str, str] = {}
        self._identities: dict[tuple[int, int], str] = {}
        for name in names:
            if name and not is_remote(name):
                folder = os.path.join(self.base_folder, name)
                self._places.setdefault(_real_folder(folder), name)
                if (identity := _identity(folder)) is not None:
                    self._identities.setdefault(identity, name)

    def called(self, root: Root) -> Root:
        """The root under the name that the dataset has for it, or will have."""
        if is_remote(root.name):
            return root
        known = self.holding(root.place)
        if known is not None and is_utf8(known[1]):
            return replace(root, name=known[0], below=known[1])
        identity = _identity(root.source)
        if identity in self._identities:
            return replace(root, name=self._identities[identity])
        return replace(root, name=self.spelled(root.name))

    def holding(self, place: str) -> tuple[str, str] | None:
        """The known root that a place is in, and the place's path below it; None where it is in none."""
        end = len(place)
        while (end := place.rfind("/", 0, end)) >= 0:
            name = self._places.get(place[: end + 1])
            if name is not None:
                return name, place[end + 1 :]
        return None

    def adopter(self, file: str) -> tuple[str, str] | None:
        """The known root that a local file is in, and the file's path below it; None where it is in none."""
        if not self._places or is_remote(file):
            return None
        folder, _, base = file.rpartition("/")
        place = self._real_folder(folder or ("/" if file.startswith("/") else "."))
        known = self.holding(place)
        return None if known is None or not is_utf8(known[0]) else (known[0], known[1] + base)

    def place_of(self, name: str) -> str:
        """The place of a known root, ending in "/"."""
        return next(place for place, known in self._places.items() if known == name)

    def spelled(self, name: str) -> str:
        """A new name as it is valid from the base folder: relative to it where it is below, else absolute."""
        if not self.is_elsewhere or is_remote(name) or name.startswith("/"):
            return name
        full = os.path.normpath(os.path.join(_working_folder(), name))
        inside = self.base_folder.rstrip("/") + "/"
        return full.removeprefix(inside)


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

    def __init__(self, wanted: Filter, known: KnownRoots) -> None:
        self._wanted = wanted
        self._known = known
        self._roots: dict[str, Root] = {}
        self._real_folder = lru_cache(maxsize=1024)(_real_folder)

    def add(self, source: str) -> None:
        """Takes a folder that is there."""
        root = self._known.called(Root.of(source))
        self._roots.setdefault(root.place, root)

    def __iter__(self) -> Iterator[Root]:
        outer = [root for root in self._roots.values() if not self._reached(root.place, "")]
        return iter(sorted(outer, key=lambda root: (root.name, root.below)))

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
            if root is None:
                continue
            below = root.below + place[end + 1 :]
            if self._enters(below) and (not base or self._wanted.takes(below + base)):
                return True
        return False

    def _enters(self, below: str) -> bool:
        """Whether a walk enters a folder below its root, and all on the way to it."""
        parts = below.split("/")[:-1]
        paths = ("/".join(parts[: end + 1]) for end in range(len(parts)))
        return not any(map(is_set_aside, parts)) and all(map(self._wanted.enters, paths))


def resolve(source: str, roots: Roots, files: set[bytes], passed_over: PassedOver) -> None:
    """Sorts one source that the user named into folders and single files.

    Raises UsageError for one that does not exist and for a glob without a match.
    """
    if not source:
        raise UsageError("an empty name is not a source")
    source = local_path(source)
    found = storage_of(source).is_folder(source)
    if found:
        roots.add(source)
    elif found is False:
        if (kind := kind_of(os.path.basename(source))) in COMPRESSED_ARCHIVES:
            raise UsageError(
                f"{readable(source)!r}: {kind} archives are not read; unpack it, or pack the images as .tar or .zip"
            )
        files.add(os.fsencode(source))
    elif glob.has_magic(source) and not is_remote(source):
        _match(source, roots, files, passed_over)
    else:
        kind = "object" if is_remote(source) else "file"
        raise UsageError(f"no such {kind} or folder: {readable(source)!r}")


def _match(pattern: str, roots: Roots, files: set[bytes], passed_over: PassedOver) -> None:
    """The matches of a glob that the shell did not expand, filtered as a walk filters them."""
    matched = False
    for name in glob.iglob(pattern, recursive=True):
        matched = True
        base = os.path.basename(name)
        if os.path.isdir(name):
            roots.add(name)
        elif os.path.exists(name) and not os.path.isfile(name):
            passed_over.add(SPECIAL)
        elif is_input(name):
            files.add(os.fsencode(name))
        else:
            passed_over.add_file(base)
    if not matched:
        raise UsageError(f"no file matches {readable(pattern)!r}")


def _identity(folder: str) -> tuple[int, int] | None:
    """Device and inode, None where nothing is there."""
    try:
        found = os.stat(folder)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _working_folder() -> str:
    """The working directory; the root of the file system where it was removed, so that absolute names still work."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _real_folder(folder: str) -> str:
    return os.path.realpath(folder).rstrip("/") + "/"
