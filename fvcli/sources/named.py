"""Files named one by one, in arguments or in a list of perhaps ten million: sorted, each once, with what is there.

In place of an archive come the images in it.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import IO, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit

from fvcli.errors import UsageError
from fvcli.locations import Location, cut_query, is_remote, local_path, retried, without_credentials
from fvcli.records import ImageRef
from fvcli.sources import archive
from fvcli.sources.candidates import Names, is_archive
from fvcli.sources.formats import SNIFF_BYTES, sniff
from fvcli.sources.read import storage_of
from fvcli.sources.storage import Storage
from fvcli.sources.walk import Search

#: (readable path, its bytes where they are not UTF-8)
ListedName: TypeAlias = tuple[str, bytes | None]

_EXAMINED_TOGETHER = 1000  # objects of a store are looked at in one go, each would take a round trip


def bytes_of(name: ListedName) -> bytes:
    """The name's bytes."""
    return name[0].encode() if name[1] is None else name[1]


def path_of(name: ListedName) -> str:
    """The key by which names are sorted."""
    return name[0]


def named(names: Iterable[ListedName], search: Search) -> Iterator[ImageRef]:
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
            yield told_apart(ref)
        _push(streams, own, stream)


def told_apart(ref: ImageRef) -> ImageRef:
    """An input whose path reads as that of the one before it, under a path that no file has."""
    path, path_bytes = _apart((ref.path, ref.path_bytes))
    return replace(ref, path=path, path_bytes=path_bytes)


def _apart(name: ListedName) -> ListedName:
    """A name that reads like no other and sorts behind its own: no file's name holds a NUL."""
    return name[0] + "\0", bytes_of(name)


def _push(
    streams: list[tuple[str, int, ImageRef, Iterator[ImageRef]]], number: int, stream: Iterator[ImageRef]
) -> None:
    ref = next(stream, None)
    if ref is not None:
        heapq.heappush(streams, (ref.path, number, ref, stream))


def _files(names: Iterable[ListedName], search: Search) -> Iterator[ImageRef]:
    """Each wanted name once, with what is there under it."""
    before: ListedName = ("", None)
    chosen: list[ListedName] = []
    for path, raw in names:
        if (path, raw) == before:
            continue
        clash = path == before[0]
        before = (path, raw)
        plain = cut_query(path)[0]
        if not (search.wanted.takes(plain) or is_archive(plain)):
            continue
        if clash:  # a stand-in that reads as the name before it
            path, raw = _apart((path, raw))
        chosen.append((path, raw))
        if len(chosen) == _EXAMINED_TOGETHER:
            yield from _examined(chosen, search.base_folder)
            chosen = []
    yield from _examined(chosen, search.base_folder)


def _examined(names: list[ListedName], base_folder: str) -> list[ImageRef]:
    refs = [ImageRef("", path, raw, base_folder=base_folder) for path, raw in names]
    groups: dict[Storage, list[bytes]] = {}
    for ref in refs:
        location = ref.path.encode() if is_remote(ref.path) else ref.location
        groups.setdefault(storage_of(ref.path), []).append(location)
    found = {storage: iter(storage.examine(group)) for storage, group in groups.items()}
    sizes = (next(found[storage_of(ref.path)]) for ref in refs)
    return [replace(ref, size_bytes=size, mtime_ns=mtime_ns) for ref, (size, mtime_ns) in zip(refs, sizes, strict=True)]


_BLOCK = 1 << 20
#: Bytes of one name, far more than any system allows: without a separator this far it is not a list.
_LONGEST_NAME = 1 << 20
#: Bytes of a list, some hundred million names: a longer one has no end.
_LONGEST_LIST = 1 << 34

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def read_listing(files_from: str, null_separated: bool) -> Iterator[ListedName]:
    """(path, its bytes where they are not UTF-8) of each name in the list, ascending by path; empty lines are skipped.

    files_from: a file, or "-" for stdin. Raises UsageError if it cannot be read or does not look like such a list.
    """
    try:
        if files_from == "-":
            # Unbuffered: a buffer that a thread waits in keeps the interpreter from ending after a signal.
            return _collected(getattr(sys.stdin.buffer, "raw", sys.stdin.buffer), null_separated)
        if is_remote(files_from):
            location = Location.parse(files_from)
            with retried(lambda: location.filesystem.open_input_file(location.path)) as stream:
                return _collected(stream, null_separated)
        with open(local_path(files_from), "rb") as stream:
            return _collected(stream, null_separated)
    except OSError as error:
        raise UsageError(f"cannot read the list of files {files_from!r}: {error.strerror or error}") from None


class NameSplitter:
    """Cuts the bytes of a list into names, as they come. Raises UsageError where they are no such list.

    Lines may end in CR LF, the list may begin with a UTF-8 byte order mark, and ``file://`` URIs become paths.
    """

    def __init__(self, null_separated: bool) -> None:
        self._null_separated = null_separated
        self._separator = b"\0" if null_separated else b"\n"
        self._rest = b""
        self._read = 0

    def feed(self, block: bytes) -> list[bytes]:
        """The names that end in ``block``, in order, without empty ones."""
        if not self._read:
            block = self._checked_start(block)
        elif not self._null_separated and b"\0" in block:
            raise UsageError("the list of files holds NUL bytes: was it written with -print0? Then add -0")
        self._read += len(block)
        *names, self._rest = (self._rest + block).split(self._separator)
        if len(self._rest) > _LONGEST_NAME:
            raise UsageError(
                f"the list of files has a name of more than {_LONGEST_NAME:,} bytes: it is not a list of names"
            )
        if self._read > _LONGEST_LIST:
            raise UsageError(f"the list of files has more than {_LONGEST_LIST:,} bytes; split it")
        return [name for name in map(self._cleaned, names) if name]

    def end(self) -> list[bytes]:
        """The name after the last separator, if there is one."""
        name = self._cleaned(self._rest)
        return [name] if name else []

    def _checked_start(self, block: bytes) -> bytes:
        if block.startswith(_UTF16_BOMS):
            raise UsageError("the list of files is in UTF-16; save it as UTF-8")
        block = block.removeprefix(_UTF8_BOM)
        format = sniff(block[:SNIFF_BYTES])
        if not self._null_separated and b"\0" in block:
            if format is not None:
                raise UsageError(f"the list of files is an image ({format}); name images without --files-from")
            raise UsageError("the list of files holds NUL bytes: was it written with -print0? Then add -0")
        return block

    def _cleaned(self, name: bytes) -> bytes:
        if not self._null_separated:
            name = name.removesuffix(b"\r")
        if name.startswith(b"file://"):
            return unquote_to_bytes(urlsplit(name).path)
        return without_credentials(name) if b"://" in name else name


def _collected(stream: IO[bytes], null_separated: bool) -> Iterator[ListedName]:
    names = Names()
    odd: list[tuple[str, bytes]] = []
    for line in _lines(stream, null_separated):
        try:
            names.add(line.decode())
        except UnicodeDecodeError:
            odd.append((line.decode(errors="backslashreplace"), line))
    plain: Iterator[ListedName] = ((name, None) for name in names)
    return _once(heapq.merge(plain, sorted(odd), key=lambda item: item[0]) if odd else plain)


def _lines(stream: IO[bytes], null_separated: bool) -> Iterator[bytes]:
    """The names in the order of the list, but not the empty ones."""
    splitter = NameSplitter(null_separated)
    while block := stream.read(_BLOCK):
        yield from splitter.feed(block)
    yield from splitter.end()


def _once(names: Iterator[ListedName]) -> Iterator[ListedName]:
    before = None
    for name in names:
        if name != before:
            yield name
        before = name
