"""Where a dataset lives, whichever kind of place it is, and one place where OSError is translated.

Keys are relative paths with "/" between the parts.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import pyarrow as pa

from fvcli.errors import DatasetError
from fvcli.locations import Location, is_remote, local_path

T = TypeVar("T")

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and repeat the command, it goes on where it stopped",
    errno.EDQUOT: "the disk quota is used up; free some space and repeat the command, it goes on where it stopped",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.ENOENT: "it is not there (was the folder removed or unmounted?)",
    errno.EIO: "the disk reports an input/output error; check it before repeating the command",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
}


@contextmanager
def translated(action: str, place: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an OSError into a DatasetError that names the place and says what to do."""
    try:
        yield
    except OSError as error:
        reason = _ADVICE.get(error.errno or 0) or error.strerror or str(error)
        raise DatasetError(f"cannot {action} {os.fspath(place)}: {reason}") from error


class Store(Protocol):
    """A local folder or a place in an object store. Every method raises DatasetError when the store refuses."""

    @property
    def place(self) -> str:
        """What the user calls it."""
        ...

    def path(self, key: str) -> Path:
        """A local path. Raises DatasetError where the key's content is in an object store."""
        ...

    def describe(self, key: str) -> str:
        """How messages call a key."""
        ...

    def waiting(self, key: str) -> str:
        """The key under which a finished file waits for the end of its run: its own where nothing can be renamed."""
        ...

    def draft(self, key: str) -> Path:
        """Where a large file can be written before ``adopt`` gives it its key."""
        ...

    def adopt(self, draft: Path, key: str) -> None:
        """Puts a flushed file in its place; readers see the old one or the new one."""
        ...

    def using(self, key: str, action: Callable[[pa.NativeFile], T]) -> T:
        """What ``action`` makes of a file, opened for random access; it may be called more than once."""
        ...

    def sha256(self, key: str) -> str:
        """SHA-256 (hex) of a file's bytes."""
        ...

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int | None:
        """Bytes of a regular file, None where there is none."""
        ...

    def make_folder(self, key: str = "") -> None: ...

    def read(self, key: str) -> bytes | None:
        """The whole file, None where there is none."""
        ...

    def replace(self, key: str, data: bytes) -> None:
        """Writes a small file so that readers see the old one or the new one, whole, also after a power cut."""
        ...

    def move(self, source: str, target: str) -> None:
        """Gives a finished file another key; done already counts as done, so that it can be repeated after a crash."""
        ...

    def sync(self, key: str) -> None:
        """Makes the renames in a folder durable."""
        ...

    def remove(self, key: str) -> None: ...

    def names(self, key: str) -> list[str]:
        """Sorted names of the files in a folder; none where the folder is missing."""
        ...


def open_store(place: str | os.PathLike[str]) -> Store:
    """The store behind a path or URI. Raises UsageError for an address that cannot mean anything."""
    name = os.fspath(place)
    if is_remote(name):
        from fvcli.dataset.object_store import ObjectStore

        return ObjectStore(Location.parse(name))
    from fvcli.dataset.local_store import LocalStore

    return LocalStore(local_path(name))


def flush(file: BinaryIO) -> None:
    """Pushes a file's bytes to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have no folder fsync
            raise
    finally:
        os.close(descriptor)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 (hex) of a file's bytes. Raises DatasetError when it cannot be read."""
    with translated("read", path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
