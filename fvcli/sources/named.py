"""Files named one by one, ascending by path; in place of an archive, the images in it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from fvcli.locations import cut_query, is_remote
from fvcli.records import ImageRef
from fvcli.sources import archive
from fvcli.sources.archive import is_archive
from fvcli.sources.places import storage_of
from fvcli.sources.storage import Storage
from fvcli.sources.walk import Search

#: (readable path, its bytes where they are not UTF-8)
Name: TypeAlias = tuple[str, bytes | None]

_EXAMINED_TOGETHER = 1000  # objects of a store are looked at in one go, each would take a round trip


def named(names: Iterable[Name], search: Search) -> Iterator[ImageRef]:
    """The inputs that ascending ``names`` stand for. An archive's members sort behind some names after its own."""
    streams: list[tuple[str, int, ImageRef, Iterator[ImageRef]]] = []
    _push(streams, 0, _files(names, search))
    before = ""
    for number in itertools.count(1):
        if not streams:
            return
        _, own, ref, stream = heapq.heappop(streams)
        if ref.offset < 0 and ref.size_bytes >= 0 and is_archive(cut_query(ref.path)[0]):
            if search.wanted.enters(ref.path):
                search.archives.add(ImageRef("", ref.path, ref.path_bytes))
                inside = archive.inputs(ref, storage_of(ref.path), search.wanted, search.passed_over)
                _push(streams, number, iter(inside))
        elif ref.path != before:
            yield ref
            before = ref.path
        else:  # a file called as a member is
            yield replace(ref, path=ref.path + "\0", path_bytes=ref.path_bytes or ref.path.encode())
        _push(streams, own, stream)


def _push(
    streams: list[tuple[str, int, ImageRef, Iterator[ImageRef]]], number: int, stream: Iterator[ImageRef]
) -> None:
    ref = next(stream, None)
    if ref is not None:
        heapq.heappush(streams, (ref.path, number, ref, stream))


def _files(names: Iterable[Name], search: Search) -> Iterator[ImageRef]:
    """Each wanted name once, with what is there under it."""
    before: Name = ("", None)
    chosen: list[Name] = []
    for path, raw in names:
        if (path, raw) == before:
            continue
        clash = path == before[0]
        before = (path, raw)
        plain = cut_query(path)[0]
        if not (search.wanted.takes(plain) or is_archive(plain)):
            continue
        if clash:  # a stand-in that reads as the name before it: no name holds a NUL, so it is unique and in order
            path, raw = path + "\0", path.encode() if raw is None else raw
        chosen.append((path, raw))
        if len(chosen) == _EXAMINED_TOGETHER:
            yield from _examined(chosen, search.base_folder)
            chosen = []
    yield from _examined(chosen, search.base_folder)


def _examined(names: list[Name], base_folder: str) -> list[ImageRef]:
    refs = [ImageRef("", path, raw, base_folder=base_folder) for path, raw in names]
    groups: dict[Storage, list[bytes]] = {}
    for ref in refs:
        location = ref.path.encode() if is_remote(ref.path) else ref.location
        groups.setdefault(storage_of(ref.path), []).append(location)
    found = {storage: iter(storage.examine(group)) for storage, group in groups.items()}
    sizes = (next(found[storage_of(ref.path)]) for ref in refs)
    return [replace(ref, size_bytes=size, mtime_ns=mtime_ns) for ref, (size, mtime_ns) in zip(refs, sizes, strict=True)]
