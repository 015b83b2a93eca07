"""The places where a dataset can live: their contract, and the one in a local folder.

Keys are relative paths with "/" between the parts. A folder has durable writes, atomic replacement and files held open
for readers. A dataset may come from anywhere, so its folders are never links: whatever a file in it is called, it is
inside.
"""

from __future__ import annotations

import os
import resource
import stat
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from fvcli.dataset.bucket_lock import BucketLocks
from fvcli.dataset.layout import STAGING, permitted
from fvcli.errors import DatasetError, UsageError
from fvcli.files import replace_file, sha256_of, sync_folder, temporary_name, translated
from fvcli.locations import STORES, Location, is_remote, local_path

T = TypeVar("T")

_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
_DESCRIPTORS = Path("/proc/self/fd")  # opening an entry gives the file itself, with an offset of its own
_SPARE = 256  # open files that everything else may need


class Store(Protocol):
    """A local folder or a place in an object store. Every method raises DatasetError when the store refuses."""

    permit: Callable[[], None]
    """Called before each change; the holder of a lock that can be lost sets it. Raises LockedError where it is lost."""

    unlocked: str
    """Why runs on other hosts are not kept away, empty where they are."""

    def bucket_locks(self) -> BucketLocks | None:
        """The locks between hosts of a dataset in a bucket, None elsewhere. Raises UnavailableError without them."""
        ...

    @property
    def place(self) -> str:
        """The name that the user gave."""
        ...

    def path(self, key: str) -> Path:
        """A local path. Raises DatasetError where the key's content is in an object store."""
        ...

    def describe(self, key: str) -> str:
        """The name of a key in messages."""
        ...

    def waiting(self, key: str) -> str:
        """The key under which a finished file waits for the end of its run: its own where nothing can be renamed."""
        ...

    def draft(self, key: str) -> Path:
        """A place to write a large file before ``adopt`` gives it its key."""
        ...

    def adopt(self, draft: Path, key: str) -> None:
        """Puts a flushed file in its place; readers see the old one or the new one."""
        ...

    def using(self, key: str, action: Callable[[pa.NativeFile], T]) -> T:
        """Returns the result of ``action`` on a file, opened for random access; it may be called more than once."""
        ...

    def sha256(self, key: str) -> str:
        """SHA-256 (hex) of a file's bytes."""
        ...

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int | None:
        """Bytes of a regular file, None where there is none."""
        ...

    def modified(self, key: str) -> float | None:
        """Unix time of the last change of a regular file, None where there is none."""
        ...

    def make_folder(self, key: str = "") -> None: ...

    def read(self, key: str) -> bytes | None:
        """The whole file, None where there is none."""
        ...

    def replace(self, key: str, data: bytes) -> None:
        """Writes a small file so that readers see the old one or the new one, whole, also after a power cut."""
        ...

    def move(self, source: str, target: str) -> None:
        """Gives a finished file another key; done already counts as done, so that it can be repeated after a crash."""
        ...

    def sync(self, key: str) -> None:
        """Makes the renames in a folder durable."""
        ...

    def remove(self, key: str) -> None: ...

    def names(self, key: str) -> list[str]:
        """Sorted names of the files in a folder; none where the folder is missing."""
        ...


class LocalStore:
    """A local folder: a :class:`Store`."""

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


def open_store(place: str | os.PathLike[str]) -> Store:
    """The store behind a path or URI. Raises UsageError for an invalid address."""
    name = os.fspath(place)
    if is_remote(name):
        from fvcli.dataset.object_store import ObjectStore, own_folder  # brings pyarrow's file systems along

        location = Location.parse(name)
        if location.scheme not in STORES:
            raise UsageError(f"a dataset is kept on a disk or in s3://, gs:// or az://, not in {location.scheme}://")
        return ObjectStore(location, LocalStore(own_folder(location)))
    return LocalStore(local_path(name))


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
