"""File systems of fsspec as pyarrow's, their errors as OSError."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
from pyarrow import fs

T = TypeVar("T")


def filesystem(scheme: str) -> fs.FileSystem:
    """The file system of a scheme that fsspec knows. Raises OSError where the library behind it is missing."""
    try:
        inner = fsspec.filesystem(scheme)
    except (ImportError, ValueError) as error:
        raise OSError(f"{scheme}:// is not available here: {error}") from error
    return fs.PyFileSystem((_WebHandler if scheme in ("http", "https") else _Handler)(inner))


def _translated(method: Callable[..., T]) -> Callable[..., T]:
    """A method whose foreign exceptions become OSError."""

    @wraps(method)
    def translated(*arguments: Any) -> T:
        try:
            return method(*arguments)
        except OSError:
            raise
        except Exception as error:  # each library behind fsspec has its own
            status = getattr(error, "status", None)
            if status in (404, 410):
                raise FileNotFoundError(2, "not found") from error
            if status in (401, 403):
                raise PermissionError(13, f"the server answered {status}") from error
            raise OSError(f"{type(error).__name__}: {error}") from error

    return translated


class _Handler(fs.FSSpecHandler):  # type: ignore[misc]
    """pyarrow's bridge to fsspec."""

    get_file_info = _translated(fs.FSSpecHandler.get_file_info)
    get_file_info_selector = _translated(fs.FSSpecHandler.get_file_info_selector)
    open_input_file = _translated(fs.FSSpecHandler.open_input_file)


class _WebHandler(_Handler):
    """Web servers: a file is fetched whole, because not every server can give a part or tells the size."""

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """Nothing is asked: a list may name a million."""
        return [fs.FileInfo(path, fs.FileType.File) for path in paths]

    @_translated
    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.BufferReader(self.fs.cat_file(path))
