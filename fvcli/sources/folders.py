"""Local folders and files as a :class:`fvcli.sources.storage.Storage`."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from types import TracebackType

from fvcli.errors import ImageError
from fvcli.records import ImageRef
from fvcli.sources.storage import EntryKind, ReadAt

#: One input may take this long to read (checked between blocks); a stuck network mount must not stop a run forever.
MAX_READ_SECONDS = 120.0
_BLOCK = 16 * 1024**2
#: A pipe is never waited for, a terminal never becomes the process's own.
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_LATEST_NS = 2**63 - 1

_REASONS = {
    errno.ENOENT: ("NotFound", "the file does not exist (anymore)"),
    errno.ENOTDIR: ("NotFound", "the file does not exist: a part of its path is not a folder"),
    errno.EACCES: ("PermissionDenied", "permission denied"),
    errno.EPERM: ("PermissionDenied", "permission denied"),
    errno.ELOOP: ("NotFound", "a symbolic link that leads round in a circle"),
    errno.ENAMETOOLONG: ("NotFound", "the path is longer than the system allows"),
    errno.ENXIO: ("NotRegular", "not a regular file (a socket or a pipe)"),
    errno.EMFILE: ("IOError", "too many open files in this process (see ulimit -n)"),
    errno.ENFILE: ("IOError", "too many open files on this system"),
}


class LocalFile:
    """An open regular file, closed on leaving the context. Implements :class:`fvcli.sources.storage.OpenFile`."""

    __slots__ = ("_descriptor", "_inode", "mtime_ns", "size")

    def __init__(self, location: bytes | str) -> None:
        """Raises OSError, or ImageError NotRegular."""
        self._descriptor = os.open(location, _OPEN_FLAGS)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(self._descriptor)
            kind = "a folder, not a file" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device, not a file"
            raise ImageError("read", "NotRegular", kind)
        self.size = found.st_size
        self.mtime_ns = clamped(found.st_mtime_ns)
        self._inode = found.st_dev, found.st_ino

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        os.close(self._descriptor)

    @property
    def identity(self) -> Hashable:
        return self._inode, self.size, self.mtime_ns

    def read_at(self, offset: int, length: int) -> bytes:
        if length <= _BLOCK:
            data = os.pread(self._descriptor, length, offset)
            if len(data) == length or not data:
                return data
            blocks, total = [data], len(data)
        else:
            blocks, total = [], 0
        deadline = time.monotonic() + MAX_READ_SECONDS
        while total < length:
            block = os.pread(self._descriptor, min(length - total, _BLOCK), offset + total)
            if not block:
                break
            blocks.append(block)
            total += len(block)
            if time.monotonic() > deadline:
                raise ImageError("read", "TimedOut", f"reading took longer than {MAX_READ_SECONDS:.0f} s")
        return b"".join(blocks)

    def scanner(self) -> ReadAt:
        return self.read_at

    def require_unchanged(self) -> None:
        found = os.fstat(self._descriptor)
        if (found.st_size, clamped(found.st_mtime_ns)) != (self.size, self.mtime_ns):
            raise ImageError("read", "Changed", "the file changed while it was being read; run again")


class LocalFolder:
    """A folder on a disk. Implements :class:`fvcli.sources.storage.Folder`."""

    __slots__ = ("_location",)

    def __init__(self, location: str) -> None:
        """location: ends in "/"."""
        self._location = location

    @property
    def identity(self) -> tuple[int, int]:
        found = os.stat(self._location)
        return found.st_dev, found.st_ino

    def __iter__(self) -> Iterator[tuple[str, EntryKind]]:
        with os.scandir(self._location) as entries:
            for entry in entries:
                yield entry.name, _kind(entry)

    def enter(self, name: str) -> LocalFolder:
        return LocalFolder(f"{self._location}{name}/")

    def stat(self, name: str) -> tuple[int, int] | None:
        return _size_and_time(self._location + name)

    def expect(self, names: Iterable[str]) -> None:
        """Nothing: a disk answers at once."""

    def start(self, name: str, length: int) -> bytes:
        try:
            with LocalFile(self._location + name) as file:
                return file.read_at(0, length)
        except (OSError, ImageError):
            return b""


class LocalStorage:
    """This machine's file system. Implements :class:`fvcli.sources.storage.Storage`."""

    def is_folder(self, name: str) -> bool | None:
        if os.path.isdir(name):
            return True
        return False if os.path.lexists(name) else None

    def folder(self, root: str) -> LocalFolder:
        return LocalFolder(root.rstrip("/") + "/")

    def examine(self, names: Sequence[bytes]) -> list[tuple[int, int]]:
        return [_examined(name) for name in names]

    def open(self, ref: ImageRef, shared: bool = False) -> LocalFile:
        try:
            return LocalFile(ref.location)
        except ValueError:  # a NUL in the name
            raise ImageError("read", "NotFound", "no file can have this name") from None

    def explain(self, error: OSError, ref: ImageRef) -> ImageError:
        kind, message = _REASONS.get(error.errno or 0, ("IOError", error.strerror or str(error)))
        if error.errno == errno.ENOENT and os.path.islink(ref.location):
            message = "a symbolic link to a file that does not exist"
        return ImageError("read", kind, message)


def clamped(time_ns: int) -> int:
    """A time in nanoseconds that fits 64 bits: file systems know years that such a number does not reach."""
    if -_LATEST_NS <= time_ns <= _LATEST_NS:
        return time_ns
    return _LATEST_NS if time_ns > 0 else -_LATEST_NS


def _kind(entry: os.DirEntry[str]) -> EntryKind:
    if entry.is_file(follow_symlinks=False):
        return EntryKind.FILE
    if entry.is_dir(follow_symlinks=False):
        return EntryKind.FOLDER
    if not entry.is_symlink():
        return EntryKind.SPECIAL
    try:
        return EntryKind.LINKED_FOLDER if entry.is_dir() else EntryKind.FILE
    except OSError:
        return EntryKind.FILE  # a link that leads nowhere


def _size_and_time(name: str | bytes) -> tuple[int, int] | None:
    found = os.stat(name)
    return (found.st_size, clamped(found.st_mtime_ns)) if stat.S_ISREG(found.st_mode) else None


def _examined(name: bytes) -> tuple[int, int]:
    try:
        return _size_and_time(name) or (-1, -1)
    except (OSError, ValueError):
        return -1, -1
