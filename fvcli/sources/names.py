"""Names of files, perhaps a million, sorted in little memory."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterator, Sequence

_RUN = 1 << 15  # names sorted together
_PIECE = 1 << 9  # of them compressed together: neighbors in order are alike, so they take a few bytes each


class Names:
    """Takes names, none with a NUL, in any order; iterating gives them ascending, as strings compare."""

    def __init__(self) -> None:
        self._loose: list[str] = []
        self._runs: list[list[bytes]] = []

    def add(self, name: str) -> None:
        self._loose.append(name)
        if len(self._loose) == _RUN:
            self._loose.sort()
            self._runs.append([_packed(self._loose[at : at + _PIECE]) for at in range(0, _RUN, _PIECE)])
            self._loose = []

    def __iter__(self) -> Iterator[str]:
        self._loose.sort()
        return heapq.merge(*map(_unpacked, self._runs), self._loose) if self._runs else iter(self._loose)


def _packed(names: Sequence[str]) -> bytes:
    # Surrogates stand for bytes that are not UTF-8.
    return zlib.compress("\0".join(names).encode("utf-8", "surrogatepass"), 1)


def _unpacked(run: Sequence[bytes]) -> Iterator[str]:
    for piece in run:
        yield from zlib.decompress(piece).decode("utf-8", "surrogatepass").split("\0")
