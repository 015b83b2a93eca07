"""The contract of the places where a dataset can live, and the one behind an address.

Keys are relative paths with "/" between the parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from fvcli.dataset.bucket_lock import BucketLocks
from fvcli.dataset.local_store import LocalStore
from fvcli.errors import UsageError
from fvcli.locations import STORES, Location, is_remote, local_path

T = TypeVar("T")


class Store(Protocol):
    """A local folder or a place in an object store. Every method raises DatasetError when the store refuses."""

    permit: Callable[[], None]
    """Called before each change; the holder of a lock that can be lost sets it. Raises LockedError where it is lost."""

    unlocked: str
    """Why runs on other hosts are not kept away, empty where they are."""

    def bucket_locks(self) -> BucketLocks | None:
        """The locks between hosts of a dataset in a bucket, None elsewhere. Raises UnavailableError without them."""
        ...

    @property
    def place(self) -> str:
        """The name that the user gave."""
        ...

    def path(self, key: str) -> Path:
        """A local path. Raises DatasetError where the key's content is in an object store."""
        ...

    def describe(self, key: str) -> str:
        """The name of a key in messages."""
        ...

    def waiting(self, key: str) -> str:
        """The key under which a finished file waits for the end of its run: its own where nothing can be renamed."""
        ...

    def draft(self, key: str) -> Path:
        """A place to write a large file before ``adopt`` gives it its key."""
        ...

    def adopt(self, draft: Path, key: str) -> None:
        """Puts a flushed file in its place; readers see the old one or the new one."""
        ...

    def using(self, key: str, action: Callable[[pa.NativeFile], T]) -> T:
        """Returns the result of ``action`` on a file, opened for random access; it may be called more than once."""
        ...

    def sha256(self, key: str) -> str:
        """SHA-256 (hex) of a file's bytes."""
        ...

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int | None:
        """Bytes of a regular file, None where there is none."""
        ...

    def modified(self, key: str) -> float | None:
        """Unix time of the last change of a regular file, None where there is none."""
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
    """The store behind a path or URI. Raises UsageError for an invalid address."""
    name = os.fspath(place)
    if is_remote(name):
        from fvcli.dataset.object_store import ObjectStore  # brings pyarrow's file systems along

        location = Location.parse(name)
        if location.scheme not in STORES:
            raise UsageError(f"a dataset is kept on a disk or in s3://, gs:// or az://, not in {location.scheme}://")
        return ObjectStore(location)
    return LocalStore(local_path(name))
