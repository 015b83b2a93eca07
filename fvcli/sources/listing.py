"""A list of files, perhaps ten million, sorted without becoming as many Python objects."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from typing import IO
from urllib.parse import unquote_to_bytes, urlsplit

from fvcli.errors import UsageError
from fvcli.locations import Location, is_remote, local_path, without_credentials
from fvcli.retries import retried
from fvcli.sources.formats import SNIFF_BYTES, sniff
from fvcli.sources.names import Names

_BLOCK = 1 << 20
#: Bytes of one name, far more than any system allows: without a separator this far it is not a list.
_LONGEST_NAME = 1 << 20
#: Bytes of a list, some hundred million names: a longer one has no end.
_LONGEST_LIST = 1 << 34

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def read_listing(files_from: str, null_separated: bool) -> Iterator[tuple[str, bytes | None]]:
    """(path, its bytes where they are not UTF-8) of each name in the list, ascending by path; empty lines are skipped.

    files_from: a file, or "-" for stdin. Raises UsageError if it cannot be read or does not look like such a list.
    """
    try:
        if files_from == "-":
            return _collected(sys.stdin.buffer, null_separated)
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


def _collected(stream: IO[bytes], null_separated: bool) -> Iterator[tuple[str, bytes | None]]:
    names = Names()
    odd: list[tuple[str, bytes]] = []
    for line in _lines(stream, null_separated):
        try:
            names.add(line.decode())
        except UnicodeDecodeError:
            odd.append((line.decode(errors="backslashreplace"), line))
    plain: Iterator[tuple[str, bytes | None]] = ((name, None) for name in names)
    return _once(heapq.merge(plain, sorted(odd), key=lambda item: item[0]) if odd else plain)


def _lines(stream: IO[bytes], null_separated: bool) -> Iterator[bytes]:
    """The names in the order of the list, but not the empty ones."""
    splitter = NameSplitter(null_separated)
    while block := stream.read(_BLOCK):
        yield from splitter.feed(block)
    yield from splitter.end()


def _once(names: Iterator[tuple[str, bytes | None]]) -> Iterator[tuple[str, bytes | None]]:
    before = None
    for name in names:
        if name != before:
            yield name
        before = name
