"""An open file as libraries want it that read file objects."""

from __future__ import annotations

import io

from fvcli.sources.storage import OpenFile


class SeekableFile(io.RawIOBase):
    """A read-only file object over an :class:`OpenFile`, which it does not close."""

    def __init__(self, file: OpenFile, largest: int) -> None:
        """largest: bytes that one read may ask for, whatever the file announces."""
        self._file = file
        self._largest = largest
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Raises ValueError for a place before the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning of the file")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Raises ValueError where too much is asked for."""
        left = max(self._file.size - self._at, 0)
        size = left if size is None or size < 0 else min(size, left)
        if size > self._largest:
            raise ValueError(f"{size:,} bytes at once")
        data = self._file.read_at(self._at, size)
        self._at += len(data)
        return data

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
