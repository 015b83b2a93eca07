"""A dataset in a local folder: durable writes, atomic replacement, and files held open for readers.

A dataset may come from anywhere, so its folders are never links: whatever a file in it is called, it is inside.
"""

from __future__ import annotations

import os
import resource
import stat
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from fvcli.dataset.layout import STAGING
from fvcli.errors import DatasetError
from fvcli.files import replace_file, sha256_of, sync_folder, temporary_name, translated

T = TypeVar("T")

_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
_DESCRIPTORS = Path("/proc/self/fd")  # opening an entry gives the file itself, with an offset of its own
_SPARE = 256  # open files that everything else may need


class LocalStore:
    """A local folder: a :class:`fvcli.dataset.store.Store`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.permit: Callable[[], None] = permitted
        self.unlocked = ""

    def bucket_locks(self) -> None:
        """None: the lock is a file."""

    @property
    def place(self) -> str:
        return str(self.folder)

    def path(self, key: str) -> Path:
        path = self._inside(key)
        mode = _mode(path)
        if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise DatasetError(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a device')} and not a file of a dataset")
        return path

    def describe(self, key: str) -> str:
        return str(self.folder / key)

    def waiting(self, key: str) -> str:
        return f"{STAGING}/{key.rsplit('/', 1)[1]}"

    def draft(self, key: str) -> Path:
        target = self._inside(key)
        return target.with_name(temporary_name(target.name))

    def adopt(self, draft: Path, key: str) -> None:
        self.permit()
        target = self._inside(key)
        with translated("write", target):
            os.replace(draft, target)
            sync_folder(target.parent)

    def using(self, key: str, action: Callable[[pa.NativeFile], T]) -> T:
        path = self.path(key)
        with translated("read", path), pa.OSFile(os.fsencode(path)) as file:
            return action(file)

    def sha256(self, key: str) -> str:
        return sha256_of(self.path(key))

    def exists(self, key: str) -> bool:
        return os.path.lexists(self._inside(key))

    def size(self, key: str) -> int | None:
        found = self._examine(key)
        return None if found is None else found.st_size

    def modified(self, key: str) -> float | None:
        found = self._examine(key)
        return None if found is None else found.st_mtime

    def _examine(self, key: str) -> os.stat_result | None:
        """A regular file's facts, None where there is none."""
        path = self._inside(key)
        try:
            found = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatasetError(f"cannot examine {path}: {error.strerror}") from error
        return found if stat.S_ISREG(found.st_mode) else None

    def make_folder(self, key: str = "") -> None:
        path = self._inside(f"{key}/") if key else self.folder
        with translated("create the folder", path):
            path.mkdir(parents=True, exist_ok=True)

    def read(self, key: str) -> bytes | None:
        path = self.path(key)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatasetError(f"cannot read {path}: {error.strerror}") from error

    def replace(self, key: str, data: bytes) -> None:
        self.permit()
        path = self._inside(key)
        with translated("write", path):
            replace_file(path, data)

    def move(self, source: str, target: str) -> None:
        self.permit()
        start, end = self._inside(source), self._inside(target)
        with translated("move into place", end):
            try:
                os.replace(start, end)
            except FileNotFoundError:
                if not self.exists(target):
                    raise

    def sync(self, key: str) -> None:
        with translated("write", self.describe(key)):
            sync_folder(self._inside(f"{key}/"))

    def remove(self, key: str) -> None:
        self.permit()
        path = self._inside(key)
        with translated("remove", path):
            path.unlink(missing_ok=True)

    def names(self, key: str) -> list[str]:
        path = self._inside(f"{key}/") if key else self.folder
        try:
            return sorted(entry.name for entry in os.scandir(path) if not entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DatasetError(f"cannot list {path}: {error.strerror}") from error

    def _inside(self, key: str) -> Path:
        """The path of a key, after a look at the folders on the way. Raises DatasetError where one is a link."""
        *folders, name = key.split("/")
        path = self.folder
        for folder in folders:
            path /= folder
            mode = _mode(path)
            if mode is not None and not stat.S_ISDIR(mode):
                raise DatasetError(
                    f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a file')}; the folders of a dataset are real ones, "
                    "so put a folder there in its place"
                )
        return path / name if name else path


def permitted() -> None:
    """The permission of a store that no lock guards."""


class HeldStore(LocalStore):
    """A folder with some of its files open. The files are read as they are now, also after a run has replaced them.

    They are closed when nothing refers to the store anymore.
    """

    def __init__(self, folder: str | os.PathLike[str], keys: Iterable[str]) -> None:
        """Opens the files. Raises DatasetError where one cannot be opened, FileNotFoundError where it is gone."""
        super().__init__(folder)
        self._held: dict[str, int] = {}
        weakref.finalize(self, _close, self._held)
        for key in keys:
            path = super().path(key)
            try:
                self._held[key] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise DatasetError(f"cannot read {path}: {error.strerror}") from error

    def path(self, key: str) -> Path:
        held = self._held.get(key)
        return super().path(key) if held is None else _DESCRIPTORS / str(held)

    def size(self, key: str) -> int | None:
        held = self._held.get(key)
        return super().size(key) if held is None else os.fstat(held).st_size


def can_hold(files: int) -> bool:
    """Whether so many files may be open at once here. Raises the process's own limit as far as it may."""
    if not _DESCRIPTORS.is_dir():
        return False
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files + _SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft == resource.RLIM_INFINITY or soft >= wanted


def _close(held: dict[str, int]) -> None:
    while held:
        os.close(held.popitem()[1])


def _mode(path: Path) -> int | None:
    """The mode of what stands at a path, None where nothing does or it cannot be examined."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return None
