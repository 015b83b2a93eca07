"""A file inside an archive, whatever kind of archive it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive: its name without leading "./", where its bytes begin, how many there are."""

    name: bytes
    offset: int
    size: int


class DamagedArchiveError(Exception):
    """From ``offset`` on nothing in the archive can be told."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the archive cannot be read beyond byte {offset}")
        self.offset = offset
