"""A dataset in a local folder: durable writes, atomic replacement."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from fvcli.dataset.disk import sha256_of, translated
from fvcli.dataset.layout import STAGING
from fvcli.errors import DatasetError
from fvcli.files import replace_file, sync_folder, temporary_name

T = TypeVar("T")


class LocalStore:
    """A local folder: a :class:`fvcli.dataset.store.Store`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def place(self) -> str:
        return str(self.folder)

    def path(self, key: str) -> Path:
        return self.folder / key

    def describe(self, key: str) -> str:
        return str(self.path(key))

    def waiting(self, key: str) -> str:
        return f"{STAGING}/{key.rsplit('/', 1)[1]}"

    def draft(self, key: str) -> Path:
        target = self.path(key)
        return target.with_name(temporary_name(target.name))

    def adopt(self, draft: Path, key: str) -> None:
        target = self.path(key)
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
        return os.path.lexists(self.path(key))

    def size(self, key: str) -> int | None:
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
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatasetError(f"cannot read {self.path(key)}: {error.strerror}") from error

    def replace(self, key: str, data: bytes) -> None:
        with translated("write", self.path(key)):
            replace_file(self.path(key), data)

    def move(self, source: str, target: str) -> None:
        with translated("move into place", self.path(target)):
            try:
                os.replace(self.path(source), self.path(target))
            except FileNotFoundError:
                if not self.exists(target):
                    raise

    def sync(self, key: str) -> None:
        with translated("write", self.path(key)):
            sync_folder(self.path(key))

    def remove(self, key: str) -> None:
        with translated("remove", self.path(key)):
            self.path(key).unlink(missing_ok=True)

    def names(self, key: str) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.path(key)) if not entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DatasetError(f"cannot list {self.path(key)}: {error.strerror}") from error
