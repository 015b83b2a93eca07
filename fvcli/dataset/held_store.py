"""A local dataset whose files are held open, so that a run that replaces them meanwhile disturbs no reader."""

from __future__ import annotations

import os
import resource
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fvcli.dataset.local_store import LocalStore
from fvcli.errors import DatasetError

_DESCRIPTORS = Path("/proc/self/fd")  # opening an entry gives the file itself, with an offset of its own
_SPARE = 256  # open files that everything else may need


class HeldStore(LocalStore):
    """A folder with some of its files open. The files are read as they are now, also after their removal.

    They are closed when nothing refers to the store any more.
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
