"""Files inside archives, and the contract of the kinds of archives that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from fvcli.errors import ImageError

#: The offset of a member that has no bytes of its own, such as a link.
NO_BYTES = -1


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive, or a row of a table.

    name: without leading "./". offset: where it begins: a byte, or a row's number. size: in bytes, -1 where only
    reading tells.
    """

    name: bytes
    offset: int
    size: int


class DamagedArchiveError(Exception):
    """From ``offset`` on nothing in the archive can be told."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the archive cannot be read beyond byte {offset}")
        self.offset = offset


class NoImagesError(Exception):
    """A table without a column of images: a file of another kind."""


class Archive(Protocol):
    """An archive that is open. Every method raises OSError where its file cannot be read.

    only_images: all members are images, whatever their names say.
    """

    only_images: bool

    def members(self) -> Iterator[Member]:
        """Every regular file, in the archive's order; the last of two with one name is the valid one.

        Raises DamagedArchiveError where the rest cannot be told, NoImagesError for a table without images.
        """
        ...

    def start(self, member: Member, length: int) -> bytes:
        """A member's first bytes; empty where they cannot be told. For members in the archive's order."""
        ...

    def read(self, member: Member) -> bytes:
        """A member's bytes. Raises ImageError."""
        ...


def changed() -> ImageError:
    """The failure of a member that is not where it was."""
    return ImageError("read", "Changed", "the archive changed after its members were listed; run again")


def cut_off() -> ImageError:
    """The failure of a member that the end of its archive cuts off."""
    return ImageError("read", "Truncated", "the archive ends in the middle of this member")
