"""A file's bytes, read once, with what identifies them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time

from fvcli.errors import ImageError
from fvcli.records import ImageFile, ImageRef
from fvcli.sources.archive import archive_of, locate

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

    Of an archive's member these are its own bytes and size, and the archive's time. Only a regular file is read; a
    pipe or device is never waited for. Raises ImageError (stage "read") with kind NotFound, PermissionDenied,
    NotRegular, Empty, TooLarge, Changed, Truncated, DamagedArchive, TimedOut or IOError; UnreachableError where an
    object store has gone.
    """
    if "://" in ref.root or "://" in ref.path:
        from fvcli.sources import buckets  # brings pyarrow along, which a walk does not need

        place = buckets.location_of(ref)
        if place is not None:
            return buckets.read(ref, place)
    location = ref.location
    try:
        inside = None
        if ref.offset >= 0 or (b"!" in location and not os.path.lexists(location)):
            inside = archive_of(location)
        descriptor = os.open(
            inside[0] if inside else location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        )
        try:
            return _read_member(ref, descriptor, *inside) if inside else _read_open(descriptor)
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


def _read_member(ref: ImageRef, descriptor: int, archive: bytes, name: bytes) -> ImageFile:
    found = os.fstat(descriptor)
    if not name:
        text = (
            f"cut off or damaged: the archive cannot be read beyond byte {ref.offset:,}; members after it are missing"
        )
        raise ImageError("read", "DamagedArchive", text)
    if ref.offset < 0:
        member = locate(archive, found, name)
        if member is None:
            raise ImageError("read", "NotFound", "the archive has no such member (any more)")
        offset, size = member.offset, member.size
    elif ref.mtime_ns != found.st_mtime_ns:
        raise ImageError("read", "Changed", "the archive changed after its members were listed; run again")
    else:
        offset, size = ref.offset, ref.size_bytes
    if size > MAX_FILE_BYTES:
        raise ImageError("read", "TooLarge", f"{size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}")
    if offset + size > found.st_size:
        raise ImageError("read", "Truncated", "the archive ends in the middle of this member")
    if not size:
        raise ImageError("read", "Empty", "the file is empty")
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = _read_all(descriptor, size)[:size]
    if len(data) != size or os.fstat(descriptor).st_mtime_ns != found.st_mtime_ns:
        raise ImageError("read", "Changed", "the archive changed while it was being read; run again")
    return ImageFile(data, hashlib.sha256(data).hexdigest(), size, found.st_mtime_ns)


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
