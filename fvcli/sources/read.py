"""A file's bytes, read once, with what identifies them."""

from __future__ import annotations

import errno
import hashlib
from contextlib import AbstractContextManager
from dataclasses import replace

from fvcli.errors import ImageError
from fvcli.records import ImageFile, ImageRef
from fvcli.sources import archive
from fvcli.sources.member import Archive, Member, changed
from fvcli.sources.places import storage_of_input
from fvcli.sources.storage import OpenFile, Storage

#: Larger files are refused: no photograph is, and all of it would have to fit into memory.
MAX_FILE_BYTES = 2 * 1024**3


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
