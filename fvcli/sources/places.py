"""The storage that holds an input: the one decision between local folders and object stores."""

from __future__ import annotations

from fvcli.locations import is_remote
from fvcli.records import ImageRef
from fvcli.sources.buckets import BucketStorage
from fvcli.sources.folders import LocalStorage
from fvcli.sources.storage import Storage

_LOCAL = LocalStorage()
_BUCKETS = BucketStorage()


def storage_of(name: str) -> Storage:
    """The storage of a source folder or of a file named as a source."""
    return _BUCKETS if "://" in name and is_remote(name) else _LOCAL


def storage_of_input(ref: ImageRef) -> Storage:
    """The storage that an input is read from."""
    return storage_of(ref.root or ref.path)


def is_slow(ref: ImageRef) -> bool:
    """Whether reading an input waits for a network, so that it pays to ask before its turn."""
    return storage_of_input(ref) is not _LOCAL
