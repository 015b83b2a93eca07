"""Sources to inputs: one stream of :class:`ImageRef`, sorted by (root, path), without duplicates."""

from __future__ import annotations

import glob
import heapq
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fvcli.errors import UsageError
from fvcli.locations import cut_query, is_remote, local_path
from fvcli.records import ImageRef
from fvcli.sources.listing import read_listing
from fvcli.sources.named import Name, named
from fvcli.sources.passed_over import PassedOver
from fvcli.sources.patterns import Filter
from fvcli.sources.places import storage_of
from fvcli.sources.stand_ins import decoded, is_utf8, readable
from fvcli.sources.walk import Search, walk


@dataclass(frozen=True)
class Sources:
    """What the user named.

    paths: folders, files and globs.
    files_from: a file that lists files, one per line (NUL-separated with ``null_separated``); "-" is stdin.
    include, exclude: globs, see :class:`fvcli.sources.patterns.Filter`.
    follow_symlinks: enter folders that are symbolic links (to files they are always followed).
    """

    paths: tuple[str, ...] = ()
    files_from: str | None = None
    null_separated: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False


def discover(sources: Sources, passed_over: PassedOver | None = None) -> Iterator[ImageRef]:
    """Every input that ``sources`` name, strictly ascending by (root, path) as strings.

    passed_over: counts what is left aside; complete once the stream has ended.

    An archive, named or found in a folder, stands for the images in it ("a.tar!cat.jpg"). In a folder the inputs
    are the regular files with an image's extension, and those without any extension that start as
    an image does; hidden ones too, but not the "._name" companions that macOS leaves. Pipes, sockets and devices are
    passed over without being opened. What carries an image's name but leads nowhere (a dangling link), and folders
    that cannot be listed (their path ends in "/"), are inputs with size -1: reading them fails and says why. Files
    named one by one are inputs whatever they are. Names that are not UTF-8 get a readable stand-in as path; the rare
    one that would equal another file's name gets a backslash (in a list a NUL) at its end.

    Raises UsageError, before the first item, for a source that does not exist, a glob without a match or a list that
    cannot be read; while iterating, for a source folder that cannot be listed.
    """
    search = Search(Filter(sources.include, sources.exclude), sources.follow_symlinks, passed_over or PassedOver())
    folders: set[str] = set()
    files: set[bytes] = set()
    for source in sources.paths:
        _resolve(source, folders, files)
    listing: Iterable[Name] = ()
    if sources.files_from is not None:
        listing = read_listing(sources.files_from, sources.null_separated)
    return _stream(folders, files, listing, search)


def _resolve(source: str, folders: set[str], files: set[bytes]) -> None:
    """Sort one named source into folders and single files."""
    if not source:
        raise UsageError("an empty name is no source")
    source = local_path(source)
    found = storage_of(source).is_folder(source)
    if found:
        place, query = cut_query(source)
        folders.add((place.rstrip("/") or "/") + query)
    elif found is False:
        files.add(os.fsencode(source))
    elif glob.has_magic(source) and not is_remote(source):
        matches = [name for name in glob.iglob(source, recursive=True) if _may_be_image(name)]
        if not matches:
            raise UsageError(f"no file matches {readable(source)!r}")
        files.update(map(os.fsencode, matches))
    else:
        kind = "object" if is_remote(source) else "file"
        raise UsageError(f"no such {kind} or folder: {readable(source)!r}")


def _may_be_image(name: str) -> bool:
    """A glob's match that is a regular file or a dangling link."""
    try:
        return stat.S_ISREG(os.stat(name).st_mode)
    except OSError:
        return True


def _stream(folders: set[str], files: set[bytes], listing: Iterable[Name], search: Search) -> Iterator[ImageRef]:
    singles = sorted(decoded(name) for name in files)
    unreadable_roots = sorted(root for root in folders if not is_utf8(root))
    streams: list[Iterable[ImageRef]] = [named(heapq.merge(singles, listing, key=_path_of), search)]
    streams += [
        (_below_unreadable_root(root, ref) for ref in walk(root, storage_of(root), search)) for root in unreadable_roots
    ]
    before: str | None = None
    for ref in heapq.merge(*streams, key=lambda ref: ref.path) if len(streams) > 1 else streams[0]:
        if ref.path != before:
            yield ref
        before = ref.path
    for root in sorted(folders.difference(unreadable_roots)):
        yield from walk(root, storage_of(root), search)


def _path_of(item: Name) -> str:
    return item[0]


def _below_unreadable_root(root: str, ref: ImageRef) -> ImageRef:
    location = os.path.join(os.fsencode(root), os.fsencode(ref.path) if ref.path_bytes is None else ref.path_bytes)
    return ImageRef("", readable(root).rstrip("/") + "/" + ref.path, location, ref.size_bytes, ref.mtime_ns, ref.offset)
