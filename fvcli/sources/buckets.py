"""Object stores as a :class:`fvcli.sources.storage.Storage`: listed folder by folder, read by range.

Each request is tried again when it fails for the moment.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING

from fvcli.errors import ImageError, SourceError
from fvcli.locations import AddressError, Location, UnreachableError, code_of, is_denied, is_final, reason, retried
from fvcli.records import ImageRef
from fvcli.sources.storage import EntryKind, ReadAt

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileInfo

_REQUESTS = 32  # under way at once while first bytes are read
_WINDOW_BYTES = 4 * 1024**2  # fetched together while an archive's headers are read


class BucketFile:
    """An open object. Implements :class:`fvcli.sources.storage.OpenFile`; stores do not tell its time on opening."""

    __slots__ = ("_file", "_location", "_shared", "size")

    mtime_ns = -1

    def __init__(self, location: Location, shared: bool, mtime_ns: int = -1) -> None:
        """shared: the handle stays open for other readers of this version of the object. Raises OSError."""
        self._file = _kept_open(location, mtime_ns) if shared else _opened(location)
        self._shared = shared
        self._location = location
        self.size = int(self._file.size())

    def __enter__(self) -> BucketFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if not self._shared:
            self._file.close()

    @property
    def identity(self) -> Hashable:
        return self._location, self.size

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""

        def whole() -> bytes:
            data = self._answer(offset, length)
            if len(data) < length:
                raise OSError(f"the store sent fewer than {length:,} bytes; the object may have been replaced")
            return data

        data = retried(whole)
        _good[self._location.bucket] = self._location
        return data

    def _answer(self, offset: int, length: int) -> bytes:
        """The bytes that the store sends; none where they are fewer than were asked for.

        pyarrow's S3 client always tells the length that was asked for, and the rest of its buffer is whatever was
        there. So the last byte of a buffer of our own has to change. A shared handle serves several threads by
        ``read_at`` alone; archives have checksums or headers of their own.
        """
        if self._shared:
            return bytes(self._file.read_at(length, offset))
        data = bytearray(length)
        for mark in (0xA5, 0x5A):  # another one where the object's own byte is the first
            data[-1] = mark
            self._file.seek(offset)
            if self._file.readinto(data) < length:
                break
            if data[-1] != mark:
                return bytes(data)
        return b""

    def scanner(self) -> ReadAt:
        return _Window(self)

    def require_unchanged(self) -> None:
        """Nothing: one answer holds one state of an object."""


class _Window:
    """Reads small pieces out of large ones."""

    def __init__(self, file: BucketFile) -> None:
        self._file = file
        self._start = 0
        self._data = b""

    def __call__(self, offset: int, length: int) -> bytes:
        begin = offset - self._start
        if not 0 <= begin <= len(self._data) - length:
            self._data = self._file.read_at(offset, max(length, _WINDOW_BYTES))
            self._start, begin = offset, 0
        return self._data[begin : begin + length]


class BucketFolder:
    """The objects below an address. Implements :class:`fvcli.sources.storage.Folder`."""

    identity = None  # no links and so no loops

    def __init__(self, location: Location) -> None:
        self._location = location
        self._found: dict[str, tuple[int, int]] = {}
        self._expected: Iterator[str] = iter(())
        self._under_way: dict[str, Future[bytes]] = {}

    def __iter__(self) -> Iterator[tuple[str, EntryKind]]:
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._location.path)
        infos = retried(lambda: self._location.filesystem.get_file_info(selector))
        for info in infos:
            if info.path.rstrip("/") == self._location.path:  # what stands below a second slash
                yield "", EntryKind.FOLDER
            elif info.type == FileType.Directory:
                yield info.base_name, EntryKind.FOLDER
            else:
                self._found[info.base_name] = _size_and_time(info)
                yield info.base_name, EntryKind.FILE

    def enter(self, name: str) -> BucketFolder:
        if not name:
            raise OSError(errno.EINVAL, "keys with two slashes in a row")
        return BucketFolder(self._location.below(name))

    def stat(self, name: str) -> tuple[int, int] | None:
        return self._found.pop(name)

    def expect(self, names: Iterable[str]) -> None:
        self._expected = iter(names)

    def start(self, name: str, length: int) -> bytes:
        for following in islice(self._expected, _REQUESTS - len(self._under_way)):
            self._under_way[following] = _pool().submit(self._fetch, following, length)
        future = self._under_way.pop(name, None)
        return self._fetch(name, length) if future is None else future.result()

    def _fetch(self, name: str, length: int) -> bytes:
        location = self._location.below(name)
        try:
            with BucketFile(location, shared=False) as file:
                return file.read_at(0, length)
        except OSError as error:
            explained(error, location)  # raises where the whole store is gone
            return b""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_REQUESTS, thread_name_prefix="first-bytes")


class BucketStorage:
    """Object stores. Implements :class:`fvcli.sources.storage.Storage`."""

    def is_folder(self, name: str) -> bool | None:
        from pyarrow.fs import FileType

        location = Location.parse(name)
        kind = _asked(location, [location.path])[0].type
        return None if kind == FileType.NotFound else bool(kind == FileType.Directory)

    def folder(self, root: str) -> BucketFolder:
        return BucketFolder(Location.parse(root))

    def examine(self, names: Sequence[bytes]) -> list[tuple[int, int]]:
        """Implements the contract; objects are requested together, because each takes a round trip."""
        found: dict[bytes, tuple[int, int]] = {}
        groups: dict[Location, list[tuple[bytes, str]]] = {}
        for name in names:
            try:
                location = Location.parse(name.decode())
            except AddressError:
                found[name] = -1, -1
                continue
            groups.setdefault(location.bucket, []).append((name, location.path))
        for bucket, pairs in groups.items():
            for (name, _), info in zip(pairs, _asked(bucket, [path for _, path in pairs]), strict=True):
                found[name] = _size_and_time(info) if info.is_file else (-1, -1)
        return [found[name] for name in names]

    def open(self, ref: ImageRef, shared: bool = False) -> BucketFile:
        try:
            location = _location_of(ref)
            location.require_reachable()
            return BucketFile(location, shared, ref.mtime_ns)
        except (AddressError, ValueError) as error:  # pyarrow's clients refuse some keys
            raise ImageError("read", "BadAddress", str(error)) from None

    def explain(self, error: OSError, ref: ImageRef) -> ImageError:
        return explained(error, _location_of(ref))


#: The object of each bucket that was read last: what tells a key that is closed from credentials that have ended.
_good: dict[Location, Location] = {}


def explained(error: OSError, location: Location) -> ImageError:
    """The failure of one object. Raises UnreachableError where the store no longer answers, or no longer lets us in."""
    if isinstance(error, FileNotFoundError):
        return ImageError("read", "NotFound", "the object does not exist (anymore)")
    if code_of(error) == "NO_SUCH_BUCKET":
        raise UnreachableError(f"there is no bucket {location.bucket} (anymore)") from error
    if is_denied(error):
        if not location.on_the_web:
            _require_access(location)
        return ImageError("read", "PermissionDenied", reason(error))
    if not is_final(error) and not location.on_the_web:
        _require_answer(location, error)
    return ImageError("read", "IOError", f"the store does not give it: {reason(error)}")


def _require_answer(location: Location, error: OSError) -> None:
    """Raises UnreachableError where the store does not answer for the bucket itself either."""
    try:
        retried(lambda: location.filesystem.get_file_info(location.bucket.path))
    except OSError as refusal:
        if not is_final(refusal):
            raise UnreachableError(f"{location.bucket} does not answer ({reason(error)}); {_SAFE}") from error


def _require_access(location: Location) -> None:
    """After a refusal: raises UnreachableError where what was allowed before, or its own folder, is closed, too."""
    from pyarrow.fs import FileSelector

    good = _good.get(location.bucket)
    parent = location.path.rpartition("/")[0] or location.path

    def ask() -> object:
        if good is not None:
            return good.filesystem.open_input_file(good.path).read_at(1, 0)
        return location.filesystem.get_file_info(FileSelector(parent, allow_not_found=True))

    try:
        retried(ask)
    except OSError as refusal:
        if is_denied(refusal):
            text = f"{location.bucket} denies access ({reason(refusal)}); have the credentials expired? {_SAFE}"
            raise UnreachableError(text) from refusal


_SAFE = "finished shards are saved; run the same command to resume"


def _location_of(ref: ImageRef) -> Location:
    """The place of an input. Names in a bucket are UTF-8: bytes beside a path only tell that the path was altered."""
    path = ref.path if ref.path_bytes is None else ref.path_bytes.decode(errors="surrogateescape")
    return Location.parse(ref.root).below(path) if ref.root else Location.parse(path)


def _size_and_time(info: FileInfo) -> tuple[int, int]:
    """-1 for what a store does not tell."""
    return -1 if info.size is None else int(info.size), -1 if info.mtime_ns is None else int(info.mtime_ns)


def _opened(location: Location) -> NativeFile:
    return retried(lambda: location.filesystem.open_input_file(location.path))


@lru_cache(maxsize=16)
def _kept_open(location: Location, mtime_ns: int) -> NativeFile:
    """The handle of an archive of this time; its ``read_at`` serves several threads."""
    return _opened(location)


def _asked(location: Location, paths: list[str]) -> list[FileInfo]:
    """Raises SourceError where the store refuses."""
    try:
        return list(retried(lambda: location.filesystem.get_file_info(paths)))
    except OSError as error:
        raise SourceError(f"cannot look at {location}: {explained(error, location)}") from None
