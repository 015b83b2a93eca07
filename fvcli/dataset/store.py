"""The folder a dataset lives in: durable writes, atomic replacement, and one place where OSError is translated.

Keys are relative paths with "/" between the parts.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fvcli.dataset.layout import temporary_name
from fvcli.errors import DatasetError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and repeat the command, it goes on where it stopped",
    errno.EDQUOT: "the disk quota is used up; free some space and repeat the command, it goes on where it stopped",
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


class Store:
    """A local folder. Every method raises DatasetError when the file system refuses."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        return self.folder / key

    def exists(self, key: str) -> bool:
        return os.path.lexists(self.path(key))

    def size(self, key: str) -> int | None:
        """Bytes of a regular file, None where there is none."""
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatasetError(f"cannot examine {self.path(key)}: {error.strerror}") from error

    def make_folder(self, key: str = "") -> None:
        with translated("create the folder", self.path(key)):
            self.path(key).mkdir(parents=True, exist_ok=True)

    def read(self, key: str) -> bytes | None:
        """The whole file, None where there is none."""
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatasetError(f"cannot read {self.path(key)}: {error.strerror}") from error

    def replace(self, key: str, data: bytes) -> None:
        """Writes a small file so that readers see the old one or the new one, whole, also after a power cut."""
        target = self.path(key)
        temporary = target.with_name(temporary_name(target.name))
        with translated("write", target):
            try:
                with open(temporary, "wb") as file:
                    file.write(data)
                    flush(file)
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(target.parent)

    def move(self, source: str, target: str) -> None:
        """Renames within the store; done already counts as done, so that it can be repeated after a crash."""
        with translated("move into place", self.path(target)):
            try:
                os.replace(self.path(source), self.path(target))
            except FileNotFoundError:
                if not self.exists(target):
                    raise

    def sync(self, key: str) -> None:
        """Makes the renames in a folder durable."""
        with translated("write", self.path(key)):
            sync_folder(self.path(key))

    def remove(self, key: str) -> None:
        with translated("remove", self.path(key)):
            self.path(key).unlink(missing_ok=True)

    def names(self, key: str) -> list[str]:
        """Sorted names of the files in a folder; none where the folder is missing."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path(key)) if not entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DatasetError(f"cannot list {self.path(key)}: {error.strerror}") from error


def flush(file: BinaryIO) -> None:
    """Pushes a file's bytes to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have no folder fsync
            raise
    finally:
        os.close(descriptor)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 (hex) of a file's bytes. Raises DatasetError when it cannot be read."""
    with translated("read", path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
