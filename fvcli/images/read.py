"""A file's bytes, read once, with what identifies them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time

from fvcli.errors import ImageError
from fvcli.records import ImageFile, ImageRef

#: Larger files are refused: no photograph is, and all of it would have to fit into memory.
MAX_FILE_BYTES = 2 * 1024**3
#: One input may take this long to read (checked between blocks); a stuck network mount must not stop a run for ever.
MAX_READ_SECONDS = 120.0
_BLOCK = 16 * 1024**2

_REASONS = {
    errno.ENOENT: ("NotFound", "the file does not exist (any more)"),
    errno.ENOTDIR: ("NotFound", "the file does not exist: a part of its path is not a folder"),
    errno.EACCES: ("PermissionDenied", "permission denied"),
    errno.EPERM: ("PermissionDenied", "permission denied"),
    errno.ELOOP: ("NotFound", "a symbolic link that leads round in a circle"),
    errno.ENAMETOOLONG: ("NotFound", "the path is longer than the system allows"),
    errno.ENXIO: ("NotRegular", "not a regular file (a socket or a pipe)"),
    errno.EMFILE: ("IOError", "too many open files in this process (see ulimit -n)"),
    errno.ENFILE: ("IOError", "too many open files on this system"),
}


def read(ref: ImageRef) -> ImageFile:
    """All bytes of ``ref``'s file with their SHA-256, and the size and time of the file that they came from.

    Only a regular file is read; a pipe or device is never waited for. Raises ImageError (stage "read") with kind
    NotFound, PermissionDenied, NotRegular, Empty, TooLarge, Changed, TimedOut or IOError.
    """
    location = ref.location
    try:
        descriptor = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            return _read_open(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _explain(error, location) from None
    except ValueError:  # a NUL in the name
        raise ImageError("read", "NotFound", "no file can have this name") from None


def _read_open(descriptor: int) -> ImageFile:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        kind = "a folder" if stat.S_ISDIR(before.st_mode) else "not a regular file (a pipe, socket or device)"
        raise ImageError("read", "NotRegular", kind)
    size = before.st_size
    if size > MAX_FILE_BYTES:
        raise ImageError("read", "TooLarge", f"{size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}")
    data = _read_all(descriptor, size)
    after = os.fstat(descriptor)
    if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns) or len(data) != size:
        raise ImageError("read", "Changed", "the file changed while it was being read; run again")
    if not data:
        raise ImageError("read", "Empty", "the file is empty")
    return ImageFile(data, hashlib.sha256(data).hexdigest(), size, before.st_mtime_ns)


def _read_all(descriptor: int, size: int) -> bytes:
    """Up to one byte more than ``size``, so that a file that grew is noticed."""
    if size < _BLOCK:
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return data
        blocks, total = [data], len(data)
    else:
        blocks, total = [], 0
    deadline = time.monotonic() + MAX_READ_SECONDS
    while total <= size:
        block = os.read(descriptor, min(size + 1 - total, _BLOCK))
        if not block:
            break
        blocks.append(block)
        total += len(block)
        if time.monotonic() > deadline:
            raise ImageError("read", "TimedOut", f"reading took longer than {MAX_READ_SECONDS:.0f} s")
    return b"".join(blocks)


def _explain(error: OSError, location: bytes) -> ImageError:
    kind, message = _REASONS.get(error.errno or 0, ("IOError", error.strerror or str(error)))
    if error.errno == errno.ENOENT and os.path.islink(location):
        message = "a symbolic link to a file that does not exist"
    return ImageError("read", kind, message)
