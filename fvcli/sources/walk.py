"""The images below one source folder, in the order of their path strings, whatever holds the folder.

Nothing but one folder's names is held at a time. Each folder's entries are sorted with "/" after the names of
sub-folders: then the order of the walk is the order of the path strings ("a-b.jpg" before "a/b.jpg").
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from fvcli.errors import SourceError
from fvcli.records import ImageRef
from fvcli.sources import archive
from fvcli.sources.archive import SEPARATOR
from fvcli.sources.candidates import (
    LINKED_FOLDER,
    LOST_AND_FOUND,
    SPECIAL,
    Filter,
    Names,
    PassedOver,
    is_archive,
    is_set_aside,
    is_utf8,
    may_be_input,
    readable,
    with_stand_ins,
)
from fvcli.sources.formats import SNIFF_BYTES, has_image_extension, sniff
from fvcli.sources.roots import Root
from fvcli.sources.storage import EntryKind, Folder, Storage


@dataclass(frozen=True, slots=True)
class Search:
    """The rules of a search, and the tally of what it passes over.

    base_folder: see :class:`fvcli.records.ImageRef`. archives: those named one by one.
    """

    wanted: Filter
    follow_symlinks: bool
    passed_over: PassedOver
    base_folder: str = ""
    archives: set[ImageRef] = field(default_factory=set)


@dataclass(slots=True)
class _Level:
    """A folder being walked, its (stand-in, name) still to come, and the identities of the folders that lead to it."""

    folder: Folder
    prefix: str
    raw_prefix: bytes | None
    names: Iterator[tuple[str, str]]
    ancestors: frozenset[tuple[int, int] | None]

    def raw(self, name: str) -> bytes | None:
        """The bytes of a path below the root where they are not UTF-8."""
        if self.raw_prefix is not None:
            return self.raw_prefix + os.fsencode(name)
        return None if is_utf8(name) else os.fsencode(self.prefix + name)


def walk(folder: Root, storage: Storage, search: Search) -> Iterator[ImageRef]:
    """The images below a root. Raises SourceError where the root itself cannot be listed."""
    root, source = folder.name, folder.source
    ref = ImageRef(root, "", base_folder=search.base_folder)
    try:
        top = storage.folder(source)
        stack = [_Level(top, folder.below, None, _entries(top, folder.below, search), frozenset([top.identity]))]
    except OSError as error:
        raise SourceError(f"cannot list the folder {readable(source)!r}: {storage.explain(error, ref)}") from None
    while stack:
        level = stack[-1]
        following = next(level.names, None)
        if following is None:
            stack.pop()
            continue
        shown, name = following
        path = level.prefix + shown
        if shown.endswith(SEPARATOR) and is_archive(name):
            raw = level.raw(name) or (None if shown[:-1] == name else os.fsencode(level.prefix + name))
            packed = ImageRef(root, path[:-1], raw, base_folder=search.base_folder)
            yield from _packed(packed, name, storage, level.folder, search)
        elif not name.endswith("/"):
            found = _file(root, path, name, level, search) if search.wanted.takes(path) else None
            if found is not None:
                yield found
        elif search.wanted.enters(path):
            try:
                inner = _entered(level, path, name, search)
                if inner is not None:
                    stack.append(inner)
            except (FileNotFoundError, NotADirectoryError):
                if not storage.is_folder(source):
                    raise SourceError(f"the folder {readable(source)!r} vanished while it was searched") from None
            except OSError as error:
                closed = ImageRef(root, path, level.raw(name))
                storage.explain(error, closed)  # raises where the whole place is gone
                if name == LOST_AND_FOUND + "/":
                    search.passed_over.add_folder(LOST_AND_FOUND)
                else:
                    yield closed


def _entered(level: _Level, path: str, name: str, search: Search) -> _Level | None:
    """The folder called ``name`` in a level's, None where links lead round to one that is being walked."""
    inner = level.folder.enter(name[:-1])
    ancestors = level.ancestors
    if search.follow_symlinks:
        identity = inner.identity
        if identity is not None and identity in ancestors:
            return None
        ancestors |= {identity}
    return _Level(inner, path, level.raw(name), _entries(inner, path, search), ancestors)


def _entries(folder: Folder, prefix: str, search: Search) -> Iterator[tuple[str, str]]:
    """(stand-in, name) of what may be an image or hold some, ascending by stand-in.

    Names of folders end in "/", stand-ins of archives in "!".
    """
    names = Names()
    plain = True
    for name, kind in folder:
        if kind is EntryKind.FOLDER or (kind is EntryKind.LINKED_FOLDER and search.follow_symlinks):
            if is_set_aside(name):
                search.passed_over.add_folder(name)
                continue
            name += "/"
        elif kind is not EntryKind.FILE or not may_be_input(name):
            _leave_aside(name, kind, prefix, search)
            continue
        plain = plain and is_utf8(name) and not is_archive(name)
        names.add(name)
    folder.expect(name for name in names if name[-1:] != "/" and _is_silent(name, prefix, search))
    if plain:
        return ((name, name) for name in names)
    pairs = with_stand_ins(list(names))
    if any(is_archive(name) for _, name in pairs):
        pairs = archive.with_marks(pairs)
    return iter(sorted(pairs))


def _is_silent(name: str, prefix: str, search: Search) -> bool:
    """Whether only the first bytes of a wanted file tell whether it is an image."""
    return not is_archive(name) and has_image_extension(name) is None and search.wanted.takes(prefix + name)


def _leave_aside(name: str, kind: EntryKind, prefix: str, search: Search) -> None:
    """Counts an entry, unless the user's own patterns leave it out."""
    if kind is EntryKind.LINKED_FOLDER:
        if search.wanted.enters(prefix + name):
            search.passed_over.add(LINKED_FOLDER)
    elif not search.wanted.takes(prefix + name):
        return
    elif kind is EntryKind.SPECIAL:
        search.passed_over.add(SPECIAL)
    else:
        search.passed_over.add_file(name)


def _file(root: str, path: str, name: str, level: _Level, search: Search) -> ImageRef | None:
    """The input for a file in a level's folder, or None if it is not an image."""
    named = has_image_extension(name)
    try:
        found = level.folder.stat(name)
    except OSError:
        return ImageRef(root, path, level.raw(name)) if named else None
    if found is None:
        search.passed_over.add(SPECIAL)
    elif named or sniff(level.folder.start(name, SNIFF_BYTES)) is not None:
        return ImageRef(root, path, level.raw(name), *found)
    else:
        search.passed_over.add_file(name)
    return None


def _packed(ref: ImageRef, name: str, storage: Storage, folder: Folder, search: Search) -> Iterator[ImageRef]:
    """The images in an archive found in a folder; none where it is no regular file or was removed meanwhile."""
    if not search.wanted.enters(ref.path):
        return
    try:
        found = folder.stat(name)
    except OSError:
        return
    if found is None:
        search.passed_over.add(SPECIAL)
    else:
        yield from archive.inputs(
            replace(ref, size_bytes=found[0], mtime_ns=found[1]), storage, search.wanted, search.passed_over
        )
