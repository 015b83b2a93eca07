"""A list of files, perhaps a million, sorted without becoming a million Python objects."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from typing import IO

from fvcli.errors import UsageError
from fvcli.locations import Location, is_remote, local_path, retried
from fvcli.sources.names import Names

_BLOCK = 1 << 20


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
    separator = b"\0" if null_separated else b"\n"
    rest = b""
    while block := stream.read(_BLOCK):
        if not null_separated and b"\0" in block:
            raise UsageError("the list of files holds NUL bytes: was it written with -print0? Then add -0")
        *lines, rest = (rest + block).split(separator)
        yield from filter(None, lines)
    if rest:
        yield rest


def _once(names: Iterator[tuple[str, bytes | None]]) -> Iterator[tuple[str, bytes | None]]:
    before = None
    for name in names:
        if name != before:
            yield name
        before = name
