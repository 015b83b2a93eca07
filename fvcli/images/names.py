"""A folder's names, perhaps a million, sorted in little memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

_RUN = 1 << 15  # names sorted together; as one string of bytes they take a third of the memory of as many str
_PIECE = 1 << 12  # bytes of a run that are names again at a time


class Names:
    """Takes names, none with a NUL, in any order; iterating gives them ascending, as strings compare."""

    def __init__(self) -> None:
        self._loose: list[str] = []
        self._runs: list[bytes] = []

    def add(self, name: str) -> None:
        self._loose.append(name)
        if len(self._loose) == _RUN:
            self._loose.sort()
            # Bytes of UTF-8 keep the order of the characters; surrogates stand for bytes that are not UTF-8.
            self._runs.append("\0".join(self._loose).encode("utf-8", "surrogatepass"))
            self._loose = []

    def __iter__(self) -> Iterator[str]:
        self._loose.sort()
        return heapq.merge(*map(_unpacked, self._runs), self._loose) if self._runs else iter(self._loose)


def _unpacked(run: bytes) -> Iterator[str]:
    start = 0
    while start < len(run):
        end = run.find(b"\0", start + _PIECE)
        end = len(run) if end < 0 else end
        yield from run[start:end].decode("utf-8", "surrogatepass").split("\0")
        start = end + 1
