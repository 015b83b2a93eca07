"""Files that are whole or not there at all, also after a power cut, and what is said when the disk refuses.

:func:`translated` is the one place where an OSError becomes a DatasetError.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fvcli.errors import DatasetError

_TEMPORARY = re.compile(r".+\.\d+\.tmp")
_OURS = re.compile(r"(part-|img_emb_|metadata_|failures-)\d{5,}-[0-9a-f]{8}\.(parquet|npy|jsonl)")
_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.ENOENT: "it does not exist (was the folder removed or unmounted?)",
    errno.EIO: "the disk reports an input/output error; check it before repeating the command",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
}


def temporary_name(name: str) -> str:
    """A name for a file until it is whole and takes its place; no other process or thread uses it."""
    return f"{name}.{int.from_bytes(os.urandom(6))}.tmp"


def is_torn(name: str) -> bool:
    """Whether a file is one that never took its place."""
    return _TEMPORARY.fullmatch(name) is not None


def is_ours(name: str) -> bool:
    """Whether fvcli wrote a file of this name for a dataset: nothing else in a user's folder is ever removed."""
    return _OURS.fullmatch(name) is not None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to. Where the block ends well it becomes ``path``, flushed; readers see the old file or the new.

    Raises OSError.
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        with open(temporary, "xb") as file:
            yield file
            flush(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Writes a small file so that readers see the old one or the new one, whole. Raises OSError."""
    with replacing(path) as file:
        file.write(data)


def flush(file: BinaryIO) -> None:
    """Pushes a file's bytes to the disk. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have no folder fsync
            raise
    finally:
        os.close(descriptor)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 (hex) of a file's bytes. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def translated(action: str, place: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an OSError into a DatasetError that names the place and says what to do."""
    try:
        yield
    except OSError as error:
        reason = _ADVICE.get(error.errno or 0) or error.strerror or str(error)
        if error.errno == errno.ENOSPC and _without_inodes(Path(place)):
            reason = "the file system has no inodes left (df -i); remove some files and run the same command to resume"
        raise DatasetError(f"cannot {action} {os.fspath(place)}: {reason}") from error


def _without_inodes(place: Path) -> bool:
    """Whether the file system of a place has free space, and no room for another file."""
    try:
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        state = os.statvfs(there)
    except (OSError, StopIteration):
        return False
    return state.f_files > 0 and state.f_favail == 0 and state.f_bavail > 0


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 (hex) of a file's bytes. Raises DatasetError when it cannot be read."""
    with translated("read", path):
        return file_sha256(path)
