"""The contract between inputs and the places that hold them: folders on a disk and object stores."""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import Protocol, TypeAlias

from fvcli.errors import ImageError
from fvcli.records import ImageRef

#: (offset, length) -> the bytes there; fewer at the end of the file. Raises OSError.
ReadAt: TypeAlias = Callable[[int, int], bytes]


class EntryKind(Enum):
    """Kinds of entries in a folder. A link to a file counts as a file; SPECIAL is a pipe, socket or device."""

    FILE = auto()
    FOLDER = auto()
    LINKED_FOLDER = auto()
    SPECIAL = auto()


class OpenFile(Protocol):
    """A file that is open for reading; several threads may read it. size: bytes. mtime_ns: -1 where unknown."""

    @property
    def size(self) -> int: ...

    @property
    def mtime_ns(self) -> int: ...

    @property
    def identity(self) -> Hashable:
        """A value that changes with the file's content, as far as its place tells."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes from ``offset`` on, fewer at the end of the file. Raises OSError, or ImageError TimedOut."""
        ...

    def scanner(self) -> ReadAt:
        """``read_at`` for many small pieces in ascending order."""
        ...

    def require_unchanged(self) -> None:
        """Raises ImageError Changed where the file is no longer as it was when it was opened."""
        ...


class Folder(Protocol):
    """One folder: the names in it and what they are. Every method raises OSError where the place refuses."""

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode, None where there are no links and so no loops."""
        ...

    def __iter__(self) -> Iterator[tuple[str, EntryKind]]:
        """Base names in any order."""
        ...

    def enter(self, name: str) -> Folder:
        """The folder called ``name`` in this one."""
        ...

    def stat(self, name: str) -> tuple[int, int] | None:
        """(size, mtime in ns) of a regular file, None for anything else."""
        ...

    def expect(self, names: Iterable[str]) -> None:
        """Announces names, in this order, whose first bytes will be requested; optional."""
        ...

    def start(self, name: str, length: int) -> bytes:
        """The first bytes of a regular file; empty for anything else and where they cannot be read."""
        ...


class Storage(Protocol):
    """A kind of place that holds inputs."""

    def is_folder(self, name: str) -> bool | None:
        """Whether a source is a folder; None where there is nothing. Raises SourceError where the place refuses."""
        ...

    def folder(self, root: str) -> Folder:
        """A source folder. Raises OSError where it cannot be opened."""
        ...

    def examine(self, names: Sequence[bytes]) -> list[tuple[int, int]]:
        """(size, mtime in ns) of each regular file, (-1, -1) for anything else."""
        ...

    def open(self, ref: ImageRef, shared: bool = False) -> AbstractContextManager[OpenFile]:
        """A regular file. shared: it is opened again and again, ``ref`` has its time. Raises OSError or ImageError."""
        ...

    def explain(self, error: OSError, ref: ImageRef) -> ImageError:
        """The failure that an error means for ``ref``. Raises UnreachableError where the whole place is gone."""
        ...


class SeekableFile(io.RawIOBase):
    """A read-only file object over an :class:`OpenFile`, which it does not close."""

    def __init__(self, file: OpenFile, largest: int) -> None:
        """largest: bytes that one read may ask for, whatever the file announces."""
        self._file = file
        self._largest = largest
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Raises ValueError for a place before the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning of the file")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Raises ValueError where too much is asked for."""
        left = max(self._file.size - self._at, 0)
        size = left if size is None or size < 0 else min(size, left)
        if size > self._largest:
            raise ValueError(f"{size:,} bytes at once")
        data = self._file.read_at(self._at, size)
        self._at += len(data)
        return data
