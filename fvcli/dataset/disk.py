"""The one place where an OSError becomes a DatasetError."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from fvcli.errors import DatasetError
from fvcli.files import file_sha256

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command to resume",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command to resume",
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


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 (hex) of a file's bytes. Raises DatasetError when it cannot be read."""
    with translated("read", path):
        return file_sha256(path)
