"""A list of files, perhaps a million, sorted without becoming a million Python objects."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fvcli.errors import UsageError
from fvcli.remote import Location, is_remote, local_path, retried

_BLOCK = 1 << 20


def read_listing(files_from: str, null_separated: bool) -> Iterator[tuple[str, bytes | None]]:
    """(path, its bytes where they are not UTF-8) of each name in the list, ascending by path; empty lines are skipped.

    files_from: a file, or "-" for stdin. Raises UsageError if it cannot be read or does not look like such a list.
    """
    try:
        if files_from == "-":
            text = _read(sys.stdin.buffer)
        elif is_remote(files_from):
            location = Location.parse(files_from)
            with retried(lambda: location.filesystem.open_input_file(location.path)) as stream:
                text = _read(stream)
        else:
            with open(local_path(files_from), "rb") as stream:
                text = _read(stream)
    except OSError as error:
        raise UsageError(f"cannot read the list of files {files_from!r}: {error.strerror or error}") from None
    if not text:
        return iter(())
    return _sorted_names(_split(text, null_separated))


def _read(stream: IO[bytes]) -> bytearray:
    text = bytearray()
    while block := stream.read(_BLOCK):
        text += block
    return text


def _split(text: bytearray, null_separated: bool) -> pa.LargeBinaryArray:
    """Each name with one NUL after it, over the memory of ``text``. NUL sorts first, so the order is the names'."""
    if not null_separated:
        if 0 in text:
            raise UsageError("the list of files holds NUL bytes: was it written with -print0? Then add -0")
        if not text.endswith(b"\n"):
            text += b"\n"
    elif not text.endswith(b"\0"):
        text += b"\0"
    codes = np.frombuffer(text, np.uint8)
    separator = 0 if null_separated else ord("\n")
    blocks = [codes[at : at + _BLOCK] for at in range(0, len(codes), _BLOCK)]
    offsets = np.zeros(1 + sum(np.count_nonzero(block == separator) for block in blocks), np.int64)
    number = 1
    for at, block in zip(range(0, len(codes), _BLOCK), blocks, strict=True):
        ends = np.flatnonzero(block == separator)
        block[ends] = 0
        offsets[number : number + len(ends)] = at + ends + 1
        number += len(ends)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _sorted_names(names: pa.LargeBinaryArray) -> Iterator[tuple[str, bytes | None]]:
    order = pc.sort_indices(names)
    odd: list[tuple[str, bytes | None]] = []
    try:
        names.view(pa.large_string()).validate(full=True)
    except pa.ArrowInvalid:
        odd = sorted(
            (name.decode(errors="backslashreplace"), name) for name in _in_order(names, order) if not _is_utf8(name)
        )
    plain: Iterator[tuple[str, bytes | None]] = (
        (name.decode(), None) for name in _in_order(names, order) if not odd or _is_utf8(name)
    )
    return heapq.merge(plain, odd, key=lambda item: item[0]) if odd else plain


def _in_order(names: pa.LargeBinaryArray, order: pa.UInt64Array) -> Iterator[bytes]:
    """The names, ascending, without their NULs; equal ones once, the empty one not at all."""
    before = b"\0"
    for start in range(0, len(order), 4096):
        for name in names.take(order[start : start + 4096]).to_pylist():
            if name != before:
                yield name[:-1]
            before = name


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
