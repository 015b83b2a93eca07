"""A dataset in an object store: whole objects, put once, no renaming.

A finished shard goes straight to its final key; its name carries its hash, so that two attempts at it are one object,
and only the manifest says what counts. What a process needs for itself (a shard being written, the record of inputs in
hand) stays on its own disk, in a folder that belongs to this place in the store.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
from pyarrow import fs

from fvcli.dataset.bucket_lock import BucketLocks
from fvcli.dataset.layout import IN_WORK, LOCK, MANIFEST, STAGING, STATE, permitted
from fvcli.errors import DatasetError
from fvcli.files import temporary_name, translated
from fvcli.locations import Location, is_final, reason, retried

if TYPE_CHECKING:
    from fvcli.dataset.store import LocalStore

T = TypeVar("T")

_MACHINE = f"{STATE}/machine"
_BLOCK = 8 * 1024**2


class ObjectStore:
    """Keys below a location: a :class:`fvcli.dataset.store.Store`. Requests that fail for the moment are made again."""

    def __init__(self, location: Location, notes: LocalStore) -> None:
        """notes: what stays on this machine, in :func:`own_folder`."""
        self._location = location
        self._notes = notes
        self.permit: Callable[[], None] = permitted
        self.unlocked = ""
        self._locks: BucketLocks | None = None

    def bucket_locks(self) -> BucketLocks:
        if self._locks is None:
            self._locks = BucketLocks(self._location, self._machine())
        return self._locks

    def _machine(self) -> str:
        """A name for this machine, that is, for the folder where its own locks are."""
        name = self._notes.read(_MACHINE)
        if name is None:
            self._notes.make_folder(STATE)
            self._notes.replace(_MACHINE, name := os.urandom(8).hex().encode())
        return name.decode("utf-8", "replace")

    @property
    def place(self) -> str:
        return str(self._location)

    def path(self, key: str) -> Path:
        if not _stays_here(key):
            raise DatasetError(f"{self.place} is in an object store; copy the dataset to a disk for this command")
        return self._notes.path(key)

    def describe(self, key: str) -> str:
        return self._notes.describe(key) if _stays_here(key) else str(self._location.below(key))

    def waiting(self, key: str) -> str:
        return key

    def draft(self, key: str) -> Path:
        self._notes.make_folder(STAGING)
        return self._notes.path(f"{STAGING}/{temporary_name(key.replace('/', '-'))}")

    def adopt(self, draft: Path, key: str) -> None:
        self.permit()
        self._do("write", key, lambda: self._put(draft, key))
        with translated("remove", draft):
            draft.unlink(missing_ok=True)

    def using(self, key: str, action: Callable[[pa.NativeFile], T]) -> T:
        location = self._location.below(key)

        def attempt() -> T:
            with location.filesystem.open_input_file(location.path) as file:
                return action(file)

        return self._do("read", key, attempt)

    def sha256(self, key: str) -> str:
        def digest(file: pa.NativeFile) -> str:
            hashed = hashlib.sha256()
            while block := file.read(_BLOCK):
                hashed.update(block)
            return hashed.hexdigest()

        return self.using(key, digest)

    def exists(self, key: str) -> bool:
        if _stays_here(key):
            return self._notes.exists(key)
        return bool(self._info(key).type != fs.FileType.NotFound)

    def size(self, key: str) -> int | None:
        if _stays_here(key):
            return self._notes.size(key)
        info = self._info(key)
        return int(info.size) if info.is_file else None

    def modified(self, key: str) -> float | None:
        if _stays_here(key):
            return self._notes.modified(key)
        info = self._info(key)
        return info.mtime_ns / 1e9 if info.is_file and info.mtime_ns is not None else None

    def make_folder(self, key: str = "") -> None:
        self._notes.make_folder(key)

    def read(self, key: str) -> bytes | None:
        if _stays_here(key):
            return self._notes.read(key)

        try:
            return self.using(key, lambda file: bytes(file.read()))
        except DatasetError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def replace(self, key: str, data: bytes) -> None:
        self.permit()
        if _stays_here(key):
            self._notes.replace(key, data)
            return
        if key == MANIFEST and self._locks is not None and self._locks.replace_manifest(data):
            return

        def put() -> None:
            with self._sink(key) as sink:
                sink.write(data)

        self._do("write", key, put)

    def move(self, source: str, target: str) -> None:
        if _stays_here(source) and not _stays_here(target):
            self.adopt(self._notes.path(source), target)
        elif source != target:
            raise DatasetError(f"{self.describe(source)} cannot be renamed in an object store")

    def sync(self, key: str) -> None:
        """Nothing to do: an object that was accepted is durable."""

    def remove(self, key: str) -> None:
        self.permit()
        if _stays_here(key):
            self._notes.remove(key)
            return

        def delete() -> None:
            location = self._location.below(key)
            try:
                location.filesystem.delete_file(location.path)
            except FileNotFoundError:
                pass

        self._do("remove", key, delete)

    def names(self, key: str) -> list[str]:
        if _stays_here(key):
            return self._notes.names(key)
        location = self._location.below(key)
        selector = fs.FileSelector(location.path, allow_not_found=True)
        infos = self._do("list", key, lambda: location.filesystem.get_file_info(selector))
        here = (name for name in self._notes.names(key) if _stays_here(f"{key}/{name}"))
        return sorted({info.base_name for info in infos if info.is_file}.union(here))

    def _info(self, key: str) -> fs.FileInfo:
        location = self._location.below(key)
        return self._do("examine", key, lambda: location.filesystem.get_file_info(location.path))

    def _put(self, source: Path, key: str) -> None:
        with open(source, "rb") as file, self._sink(key) as sink:
            shutil.copyfileobj(file, sink, _BLOCK)

    @contextmanager
    def _sink(self, key: str) -> Iterator[pa.NativeFile]:
        location = self._location.below(key)
        with location.filesystem.open_output_stream(location.path) as sink:
            yield sink

    def _do(self, action: str, key: str, request: Callable[[], T]) -> T:
        try:
            return retried(request)
        except OSError as error:
            advice = "" if is_final(error) else "; finished shards are saved; run the same command to resume"
            raise DatasetError(f"cannot {action} {self.describe(key)}: {reason(error)}{advice}") from error


def _stays_here(key: str) -> bool:
    """Whether a key is this machine's own matter: shards being written, inputs in hand, what keeps its runs apart."""
    return f"{key}/".startswith(f"{STAGING}/") or key in (IN_WORK, LOCK) or key.endswith((".in-work", ".lock"))


def own_folder(location: Location) -> Path:
    """A folder for one place in a store, below one that is this user's alone."""
    top = Path(tempfile.gettempdir()) / f"fvcli-{os.getuid()}"
    with translated("create the folder", top):
        top.mkdir(mode=0o700, exist_ok=True)
        if top.is_symlink() or top.stat().st_uid != os.getuid():
            raise DatasetError(f"{top} is not yours; set TMPDIR to a folder that is")
        folder = top / hashlib.sha256(str(location).encode()).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
    return folder
