"""The bytes of inputs, read once, with what identifies them, from the storage that holds them.

What is slow to reach is read before its turn, so that the CPUs do not wait for a network or a slow disk.
"""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections.abc import Container, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace

from fvcli.errors import ImageError
from fvcli.locations import is_remote
from fvcli.records import ImageFile, ImageRef
from fvcli.sources import archive
from fvcli.sources.buckets import BucketStorage
from fvcli.sources.folders import LocalStorage
from fvcli.sources.member import Archive, Member, changed
from fvcli.sources.storage import OpenFile, Storage

#: Larger files are refused: no photograph is, and all of it would have to fit into memory.
MAX_FILE_BYTES = 2 * 1024**3

#: Requests under way at once: at 50 ms each this keeps up with some 600 images per second.
REQUESTS = 32
#: Bytes that are being read or wait for their worker, in all processes of a run.
PREFETCH_BYTES = 256 * 1024**2
_UNKNOWN_SIZE = 1024**2
_PATIENCE_SECONDS = 0.5

#: Files of a local folder are read ahead once reading one makes its worker wait so long on average, CPU time apart,
#: and no longer once it does not: files in the page cache are not worth a change of threads.
_SLOW_SECONDS, _FAST_SECONDS = 0.001, 0.0003
_SMOOTHING = 1 / 32

_LOCAL = LocalStorage()
_BUCKETS = BucketStorage()


def storage_of(name: str) -> Storage:
    """The storage of a source folder or of a file named as a source: the one decision between disks and buckets."""
    return _BUCKETS if "://" in name and is_remote(name) else _LOCAL


def storage_of_input(ref: ImageRef) -> Storage:
    """The storage that an input is read from."""
    return storage_of(ref.root or ref.path)


def is_slow(ref: ImageRef) -> bool:
    """Whether reading an input waits for a network, so that it pays to ask before its turn."""
    return storage_of_input(ref) is not _LOCAL


def read(ref: ImageRef) -> ImageFile:
    """All bytes of ``ref``'s file with their SHA-256, and the size and time of the file that they came from.

    Of an archive's member these are its own bytes and size, and the archive's time. Only a regular file is read; a
    pipe or device is never waited for. Raises ImageError (stage "read") with kind NotFound, PermissionDenied,
    NotRegular, Empty, TooLarge, Changed, Truncated, DamagedArchive, TimedOut or IOError; UnreachableError where an
    object store has gone.
    """
    storage = storage_of_input(ref)
    try:
        if ref.offset < 0:
            try:
                return _whole(ref, storage.open(ref))
            except (FileNotFoundError, NotADirectoryError):
                if archive.SEPARATOR not in ref.path:
                    raise
        return _packed(ref, storage)
    except OSError as error:
        raise storage.explain(error, ref) from None


def _whole(ref: ImageRef, opened: AbstractContextManager[OpenFile]) -> ImageFile:
    with opened as file:
        _check_size(file.size)
        return _identified(ref, file, file.read_at(0, file.size), file.size)


def _packed(ref: ImageRef, storage: Storage) -> ImageFile:
    """A member of whichever archive its path names."""
    for container, name in archive.split(ref):
        try:
            opened = storage.open(replace(container, mtime_ns=ref.mtime_ns), shared=True)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except ImageError:  # a folder that is called as an archive
            continue
        with opened as file:
            if not name:
                raise _damaged(ref.offset)
            inside = archive.opened(container, file)
            member = _member(ref, file, inside, name)
            _check_size(member.size)
            data = inside.read(member)
            _check_size(len(data))
            return _identified(ref, file, data, len(data) if member.size < 0 else member.size)
    raise FileNotFoundError(errno.ENOENT, "no such file")


def _member(ref: ImageRef, file: OpenFile, inside: Archive, name: bytes) -> Member:
    if ref.offset < 0:
        member = archive.locate(file, inside, name)
        if member is None:
            raise ImageError("read", "NotFound", "the archive has no such member (anymore)")
        return member
    if file.mtime_ns not in (-1, ref.mtime_ns):
        raise changed()
    return Member(name, ref.offset, ref.size_bytes)


def _damaged(offset: int) -> ImageError:
    text = (
        f"cut off, damaged or far too large: the archive cannot be read beyond byte {offset:,}; what follows is missing"
    )
    return ImageError("read", "DamagedArchive", text)


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ImageError("read", "TooLarge", f"{size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}")
    if not size:
        raise ImageError("read", "Empty", "the file is empty")


def _identified(ref: ImageRef, file: OpenFile, data: bytes, size: int) -> ImageFile:
    file.require_unchanged()
    if len(data) != size:
        raise ImageError("read", "Changed", "the file changed while it was being read; run again")
    mtime_ns = file.mtime_ns if file.mtime_ns != -1 else ref.mtime_ns
    return ImageFile(data, hashlib.sha256(data).hexdigest(), size, mtime_ns)


class Prefetch:
    """Workers ask with ``begin`` and fetch with ``read``.

    left_out: inputs that no worker fetches. limit: bytes that are being read or wait. patience: seconds that ``begin``
    waits for room, 0 where the thread that asks is the one that fetches.
    """

    def __init__(
        self,
        left_out: Container[ImageRef] = (),
        limit: int = PREFETCH_BYTES,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._left_out = left_out
        self._limit = limit
        self._patience = patience
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[ImageRef, Future[ImageFile]] = {}
        self._bytes = 0
        self._changed = threading.Condition()
        self._wait = 0.0
        self._ahead = False

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, refs: Iterable[ImageRef]) -> None:
        """Asks for the inputs that are slow to reach, as far as there is room; a worker reads the rest itself."""
        for ref in refs:
            if (self._ahead or is_slow(ref)) and ref not in self._left_out:
                self._begin(ref)

    def _begin(self, ref: ImageRef) -> None:
        cost = _cost(ref)
        with self._changed:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="read")
            if self._bytes and self._bytes + cost > self._limit:
                self._changed.wait(timeout=self._patience)  # not forever: no worker has this batch yet
                if self._bytes + cost > self._limit:
                    return
            self._bytes += cost
            self._under_way[ref] = self._pool.submit(self._read, ref)

    def read(self, ref: ImageRef) -> ImageFile:
        """Returns what :func:`read` does."""
        future = None
        if self._pool is not None:
            with self._changed:
                future = self._under_way.pop(ref, None)
        if future is None:
            return self._read(ref)
        try:
            return future.result()
        finally:
            with self._changed:
                self._bytes -= _cost(ref)
                self._changed.notify()

    def _read(self, ref: ImageRef) -> ImageFile:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return read(ref)
        finally:
            waited = time.perf_counter() - wall - (time.thread_time() - cpu)
            self._wait += (waited - self._wait) * _SMOOTHING  # threads may overwrite each other: it is an estimate
            self._ahead = self._wait > (_FAST_SECONDS if self._ahead else _SLOW_SECONDS)


def _cost(ref: ImageRef) -> int:
    return ref.size_bytes if ref.size_bytes >= 0 else _UNKNOWN_SIZE
