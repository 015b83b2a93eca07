"""Sources to inputs: one stream of :class:`ImageRef`, sorted by (root, path), without duplicates.

Nothing but one folder's names is held at a time. Each folder's entries are sorted with "/" after the names of
sub-folders: then the order of the walk is the order of the path strings ("a-b.jpg" before "a/b.jpg").
"""

from __future__ import annotations

import glob
import heapq
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fvcli.errors import UsageError
from fvcli.locations import cut_query, is_remote, local_path
from fvcli.records import ImageRef
from fvcli.sources.archive import inputs
from fvcli.sources.formats import SNIFF_BYTES, has_image_extension, sniff
from fvcli.sources.names import Names
from fvcli.sources.patterns import Filter
from fvcli.sources.tar import EXTENSION, SEPARATOR, is_archive

_EXAMINED_TOGETHER = 1000  # named objects of a store are looked at in one go, each would take a round trip


@dataclass(frozen=True)
class Sources:
    """What the user named.

    paths: folders, files and globs.
    files_from: a file that lists files, one a line (NUL-separated with ``null_separated``); "-" is stdin.
    include, exclude: globs, see :class:`fvcli.sources.patterns.Filter`.
    follow_symlinks: enter folders that are symbolic links (to files they are always followed).
    """

    paths: tuple[str, ...] = ()
    files_from: str | None = None
    null_separated: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False


def discover(sources: Sources) -> Iterator[ImageRef]:
    """Every input that ``sources`` name, strictly ascending by (root, path) as strings.

    A .tar archive, named or found in a folder, stands for the images in it ("a.tar!cat.jpg"). In a folder the inputs
    are the regular files with an image's extension, and those without any extension that start as
    an image does; hidden ones too, but not the "._name" companions that macOS leaves. Pipes, sockets and devices are
    passed over without being opened. What carries an image's name but leads nowhere (a dangling link), and folders
    that cannot be listed (their path ends in "/"), are inputs with size -1: reading them fails and says why. Files
    named one by one are inputs whatever they are. Names that are not UTF-8 get a readable stand-in as path; the rare
    one that would equal another file's name gets a backslash (in a list a NUL) at its end.

    Raises UsageError, before the first item, for a source that does not exist, a glob without a match or a list that
    cannot be read; while iterating, for a source folder that cannot be listed.
    """
    wanted = Filter(sources.include, sources.exclude)
    folders: set[str] = set()
    files: set[bytes] = set()
    for source in sources.paths:
        _resolve(source, folders, files)
    listing: Iterable[tuple[str, bytes | None]] = ()
    if sources.files_from is not None:
        from fvcli.sources.listing import read_listing  # brings pyarrow along, which a walk does not need

        listing = read_listing(sources.files_from, sources.null_separated)
    return _stream(folders, files, listing, wanted, sources.follow_symlinks)


def _resolve(source: str, folders: set[str], files: set[bytes]) -> None:
    """Sort one named source into folders and single files."""
    if not source:
        raise UsageError("an empty name is no source")
    source = local_path(source)
    if is_remote(source):
        from fvcli.sources import buckets

        if buckets.is_folder(source):
            place, query = cut_query(source)
            folders.add(place.rstrip("/") + query)
        else:
            files.add(source.encode())
    elif os.path.isdir(source):
        folders.add(source.rstrip("/") or "/")
    elif os.path.lexists(source):
        files.add(os.fsencode(source))
    elif glob.has_magic(source):
        matches = [name for name in glob.iglob(source, recursive=True) if _may_be_image(name)]
        if not matches:
            raise UsageError(f"no file matches {_readable(source)!r}")
        files.update(map(os.fsencode, matches))
    else:
        raise UsageError(f"no such file or folder: {_readable(source)!r}")


def _may_be_image(name: str) -> bool:
    """A glob's match that is a regular file or a dangling link."""
    try:
        return stat.S_ISREG(os.stat(name).st_mode)
    except OSError:
        return True


def _stream(
    folders: set[str],
    files: set[bytes],
    listing: Iterable[tuple[str, bytes | None]],
    wanted: Filter,
    follow_symlinks: bool,
) -> Iterator[ImageRef]:
    singles = sorted(_named(name) for name in files)
    unreadable_roots = sorted(root for root in folders if not _is_utf8(root))
    streams: list[Iterable[ImageRef]] = [_listed(heapq.merge(singles, listing, key=_path_of), wanted)]
    streams += [
        (_below_unreadable_root(root, ref) for ref in _walk(root, wanted, follow_symlinks)) for root in unreadable_roots
    ]
    before: str | None = None
    for ref in heapq.merge(*streams, key=lambda ref: ref.path) if len(streams) > 1 else streams[0]:
        if ref.path != before:
            yield ref
        before = ref.path
    for root in sorted(folders.difference(unreadable_roots)):
        if is_remote(root):
            from fvcli.sources import buckets

            yield from buckets.walk(root, wanted)
        else:
            yield from _walk(root, wanted, follow_symlinks)


def _path_of(item: tuple[str, bytes | None]) -> str:
    return item[0]


def _listed(names: Iterable[tuple[str, bytes | None]], wanted: Filter) -> Iterator[ImageRef]:
    """The named files, ascending; in place of an archive its members, which sort behind some names after its own."""
    streams: list[tuple[str, int, ImageRef, Iterator[ImageRef]]] = []
    _push(streams, 0, _named_files(names, wanted))
    before = ""
    for number in itertools.count(1):
        if not streams:
            return
        _, own, ref, stream = heapq.heappop(streams)
        if ref.offset < 0 and ref.size_bytes >= 0 and is_archive(cut_query(ref.path)[0]):
            if wanted.enters(ref.path):
                _push(streams, number, iter(_inside(ref, wanted)))
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


def _inside(archive: ImageRef, wanted: Filter) -> list[ImageRef]:
    if not is_remote(archive.path):
        return inputs(archive, wanted)
    from fvcli.sources import buckets

    return buckets.inputs(archive, wanted)


def _named_files(names: Iterable[tuple[str, bytes | None]], wanted: Filter) -> Iterator[ImageRef]:
    before: tuple[str, bytes | None] = ("", None)
    chosen: list[tuple[str, bytes | None]] = []
    for path, raw in names:
        if (path, raw) == before:
            continue
        clash = path == before[0]
        before = (path, raw)
        plain = cut_query(path)[0]
        if not (wanted.takes(plain) or is_archive(plain)):
            continue
        if clash:  # a stand-in that reads as the name before it: no name holds a NUL, so it is unique and in order
            path, raw = path + "\0", path.encode() if raw is None else raw
        chosen.append((path, raw))
        if len(chosen) == _EXAMINED_TOGETHER:
            yield from _examined(chosen)
            chosen = []
    yield from _examined(chosen)


def _examined(names: list[tuple[str, bytes | None]]) -> Iterator[ImageRef]:
    distant = [path for path, raw in names if raw is None and is_remote(path)]
    found: dict[str, tuple[int, int]] = {}
    if distant:
        from fvcli.sources import buckets

        found = dict(zip(distant, buckets.examine(distant), strict=True))
    for path, raw in names:
        size, mtime = found.get(path) or _examine(path if raw is None else raw)
        yield ImageRef("", path, raw, size, mtime)


def _below_unreadable_root(root: str, ref: ImageRef) -> ImageRef:
    location = os.path.join(os.fsencode(root), os.fsencode(ref.path) if ref.path_bytes is None else ref.path_bytes)
    return ImageRef(
        "", _readable(root).rstrip("/") + "/" + ref.path, location, ref.size_bytes, ref.mtime_ns, ref.offset
    )


@dataclass(slots=True)
class _Folder:
    """A folder being walked: where it is, its (stand-in, name) still to come, and what leads to it."""

    location: str
    prefix: str
    raw_prefix: bytes | None
    names: Iterator[tuple[str, str]]
    ancestors: frozenset[tuple[int, int]]


def _walk(root: str, wanted: Filter, follow_symlinks: bool) -> Iterator[ImageRef]:
    """The images below one folder, in the order of their path strings."""
    try:
        top = os.stat(root)
        names = _entries(root, follow_symlinks)
    except OSError as error:
        raise UsageError(f"cannot list the folder {_readable(root)!r}: {error.strerror}") from None
    loops = frozenset([(top.st_dev, top.st_ino)])
    stack = [_Folder(root.rstrip("/") + "/", "", None, names, loops)]
    while stack:
        folder = stack[-1]
        following = next(folder.names, None)
        if following is None:
            stack.pop()
            continue
        shown, name = following
        path = folder.prefix + shown
        location = folder.location + name
        if shown.endswith(SEPARATOR) and is_archive(name):
            if wanted.enters(path[:-1]) and not name.startswith("._"):
                raw = _raw(folder, name) or (None if shown[:-1] == name else os.fsencode(folder.prefix + name))
                yield from _archive(ImageRef(root, path[:-1], raw), wanted)
        elif not name.endswith("/"):
            raw = _raw(folder, name)
            if wanted.takes(path) and (ref := _file(root, path, raw, location, name)) is not None:
                yield ref
        elif wanted.enters(path):
            raw = _raw(folder, name)
            try:
                ancestors = folder.ancestors
                if follow_symlinks:
                    found = os.stat(location)
                    key = (found.st_dev, found.st_ino)
                    if key in ancestors:
                        continue
                    ancestors |= {key}
                stack.append(_Folder(location, path, raw, _entries(location, follow_symlinks), ancestors))
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed meanwhile, as its files are
            except OSError:
                yield ImageRef(root, path, raw)


def _raw(folder: _Folder, name: str) -> bytes | None:
    """The path's bytes below the root where it or a folder on the way is not UTF-8."""
    if folder.raw_prefix is not None:
        return folder.raw_prefix + os.fsencode(name)
    return None if _is_utf8(name) else os.fsencode(folder.prefix + name)


def _entries(location: str, follow_symlinks: bool) -> Iterator[tuple[str, str]]:
    """(stand-in, name) of what may be an image or hold some, ascending by stand-in.

    Names of folders end in "/", stand-ins of archives in "!".
    """
    names = Names()
    plain = True
    with os.scandir(location) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                name += "/"
            elif entry.is_symlink() and _is_folder(entry):
                if not follow_symlinks:
                    continue
                name += "/"
            elif not (entry.is_symlink() or entry.is_file(follow_symlinks=False)) or not _may_be_input(name):
                continue
            plain = plain and _is_utf8(name) and not is_archive(name)
            names.add(name)
    if plain:
        return ((name, name) for name in names)
    pairs = _with_stand_ins(list(names))
    if any(is_archive(name) for _, name in pairs):
        pairs = _with_archives(pairs)
    return iter(sorted(pairs))


def _may_be_input(name: str) -> bool:
    return has_image_extension(name) is not False or is_archive(name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _with_stand_ins(names: list[str]) -> list[tuple[str, str]]:
    """Each name with its readable form, which is unique among them."""
    pairs = [(name, name) for name in names if _is_utf8(name)]
    if len(pairs) == len(names):
        return pairs
    taken = {shown for shown, _ in pairs}
    for name in sorted(name for name in names if not _is_utf8(name)):
        shown = _readable(name)
        while shown in taken:
            shown = shown[:-1] + "\\/" if shown.endswith("/") else shown + "\\"
        taken.add(shown)
        pairs.append((shown, name))
    return pairs


def _with_archives(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Archives sort as their members' paths do; no other name may begin as those."""
    similar = [shown for shown, _ in pairs if not is_archive(shown) and EXTENSION in shown.lower()]
    result = []
    for shown, name in pairs:
        if is_archive(name):
            while any(other.startswith(shown + SEPARATOR) for other in similar):
                shown += "\\"
            shown += SEPARATOR
        result.append((shown, name))
    return result


def _file(root: str, path: str, raw: bytes | None, location: str, name: str) -> ImageRef | None:
    """The input that a file in a folder is, or None for one that is no image's file."""
    if name.startswith("._"):
        return None
    named = has_image_extension(name)
    try:
        found = os.stat(location)
    except OSError:
        return ImageRef(root, path, raw) if named else None
    if not stat.S_ISREG(found.st_mode) or not (named or _starts_as_image(location)):
        return None
    return ImageRef(root, path, raw, found.st_size, found.st_mtime_ns)


def _archive(ref: ImageRef, wanted: Filter) -> Iterator[ImageRef]:
    """The images in an archive found in a folder, unless it is no regular file."""
    try:
        if stat.S_ISREG(os.stat(ref.location).st_mode):
            yield from inputs(ref, wanted)
    except OSError:
        pass  # removed meanwhile, as files are


def _starts_as_image(location: str) -> bool:
    try:
        descriptor = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return False
            return sniff(os.read(descriptor, SNIFF_BYTES)) is not None
        finally:
            os.close(descriptor)
    except OSError:
        return False


def _examine(name: str | bytes) -> tuple[int, int]:
    try:
        found = os.stat(name)
    except (OSError, ValueError):
        return -1, -1
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (-1, -1)


def _named(name: bytes) -> tuple[str, bytes | None]:
    try:
        return name.decode(), None
    except UnicodeDecodeError:
        return name.decode(errors="backslashreplace"), name


def _is_utf8(name: str) -> bool:
    """False for names whose bytes are not UTF-8 (the interpreter shows those bytes as surrogates)."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _readable(name: str) -> str:
    return name if _is_utf8(name) else os.fsencode(name).decode(errors="backslashreplace")
