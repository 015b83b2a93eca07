"""Images in object stores: found by listing, read by range, each request tried again when it fails for the moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from fvcli.errors import ImageError, UsageError
from fvcli.locations import Location, is_final, is_remote, reason, require_answer, retried
from fvcli.records import ImageFile, ImageRef
from fvcli.sources.archive import images, split, unreadable
from fvcli.sources.formats import SNIFF_BYTES, has_image_extension, sniff
from fvcli.sources.patterns import Filter
from fvcli.sources.tar import HEADER_BYTES, SEPARATOR, DamagedArchiveError, Member, header_size, is_archive, members

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileInfo

_WINDOW = 4 * 1024**2  # bytes fetched together while an archive's headers are read


def location_of(ref: ImageRef) -> Location | None:
    """Where a remote input stands, an archive's member with its name; None for local ones."""
    if is_remote(ref.root):
        return Location.parse(ref.root).below(ref.path)
    return Location.parse(ref.path) if is_remote(ref.path) else None


def is_folder(uri: str) -> bool:
    """Whether objects stand below an address. Raises UsageError where nothing is there or the store refuses."""
    from pyarrow.fs import FileType

    location = Location.parse(uri)
    kind = _asked(location, [location.path])[0].type
    if kind == FileType.NotFound:
        raise UsageError(f"no such object or folder: {location}")
    return bool(kind == FileType.Directory)


def examine(uris: Sequence[str]) -> list[tuple[int, int]]:
    """(size, mtime in ns) of each object, -1 and -1 where there is none; asked for together."""
    found: dict[str, tuple[int, int]] = {}
    groups: dict[Location, list[tuple[str, str]]] = {}
    for uri in uris:
        location = Location.parse(uri)
        groups.setdefault(location.bucket, []).append((uri, location.path))
    for bucket, pairs in groups.items():
        for (uri, _), info in zip(pairs, _asked(bucket, [path for _, path in pairs]), strict=True):
            found[uri] = (info.size, info.mtime_ns) if info.is_file else (-1, -1)
    return [found[uri] for uri in uris]


def walk(root: str, wanted: Filter) -> Iterator[ImageRef]:
    """The images below an address, ascending by path, one folder's names in memory at a time. Raises UsageError."""
    top = Location.parse(root)
    stack = [_listed(top, "")]
    while stack:
        if not stack[-1]:
            stack.pop()
            continue
        name, info = stack[-1].pop()
        path = name.rstrip("/")
        if name.endswith("/"):
            if wanted.enters(path):
                stack.append(_listed(top.below(path), path + "/"))
        elif name.endswith(SEPARATOR):
            archive = ImageRef(root, name[:-1], None, info.size, info.mtime_ns)
            if stack[-1] and stack[-1][-1][0].startswith(name):  # other objects are called as its members are
                yield unreadable(archive, 0, info.mtime_ns)
            elif wanted.enters(archive.path):
                yield from inputs(archive, wanted)
        elif wanted.takes(path) and (has_image_extension(info.base_name) or _starts_as_image(top.below(path))):
            yield ImageRef(root, path, None, info.size, info.mtime_ns)


def _listed(location: Location, prefix: str) -> list[tuple[str, FileInfo]]:
    """What may be an image or hold some, last first; folders end in "/", archives in "!", as their contents sort."""
    from pyarrow.fs import FileSelector, FileType

    try:
        infos = retried(lambda: location.filesystem.get_file_info(FileSelector(location.path)))
    except OSError as error:
        require_answer(location, error)
        raise UsageError(f"cannot list {location}: {reason(error)}") from None
    names = []
    for info in infos:
        if info.type == FileType.Directory:
            names.append((f"{prefix}{info.base_name}/", info))
        elif is_archive(info.base_name) and not info.base_name.startswith("._"):
            names.append((f"{prefix}{info.base_name}{SEPARATOR}", info))
        elif has_image_extension(info.base_name) is not False and not info.base_name.startswith("._"):
            names.append((prefix + info.base_name, info))
    names.sort(key=lambda item: item[0], reverse=True)
    return names


def inputs(archive: ImageRef, wanted: Filter) -> list[ImageRef]:
    """The images in a remote archive; see :func:`fvcli.sources.archive.inputs`."""
    location = location_of(archive)
    assert location is not None
    try:
        return images(archive, _Window(location), archive.size_bytes, archive.mtime_ns, wanted)
    except OSError as error:
        require_answer(location, error)
        return [unreadable(archive, 0, archive.mtime_ns)]


def read(ref: ImageRef, location: Location) -> ImageFile:
    """As :func:`fvcli.sources.read.read`. Raises ImageError, or UnreachableError where the whole store is gone."""
    from fvcli.sources.read import MAX_FILE_BYTES

    if ref.size_bytes > MAX_FILE_BYTES:
        text = f"{ref.size_bytes:,} bytes, more than the limit of {MAX_FILE_BYTES:,}"
        raise ImageError("read", "TooLarge", text)
    try:
        data = _member(ref, location) if ref.offset >= 0 else _whole(location)
    except FileNotFoundError:
        data = _by_name(location)
    except OSError as error:
        raise _explained(location, error) from None
    if not data:
        raise ImageError("read", "Empty", "the object is empty")
    return ImageFile(data, hashlib.sha256(data).hexdigest(), len(data), ref.mtime_ns)


def _whole(location: Location) -> bytes:
    def get() -> bytes:
        with location.filesystem.open_input_file(location.path) as file:
            return bytes(file.read())

    return retried(get)


def _member(ref: ImageRef, location: Location) -> bytes:
    """A member by its offset; the header before it tells whether it is still there."""
    archive, name = _archive_of(location)
    if not name:
        text = f"the archive is cut off or damaged at byte {ref.offset:,}; members after that are missing"
        raise ImageError("read", "DamagedArchive", text)
    before = min(HEADER_BYTES, ref.offset)
    data = retried(lambda: _opened(archive).read_at(before + ref.size_bytes, ref.offset - before))
    if header_size(data[:before]) is None:
        raise ImageError("read", "Changed", "the archive changed after its members were listed; run again")
    if len(data) < before + ref.size_bytes:
        raise ImageError("read", "Truncated", "the archive ends in the middle of this member")
    return bytes(data[before:])


def _by_name(location: Location) -> bytes:
    """A member that is known by its name only. Raises ImageError."""
    archive, name = _archive_of(location)
    try:
        member = _index(archive).get(name.encode()) if name else None
        if member is None:
            raise ImageError("read", "NotFound", "the object does not exist (any more)")
        return retried(lambda: bytes(_opened(archive).read_at(member.size, member.offset)))
    except OSError as error:
        raise _explained(archive, error) from None


def _archive_of(location: Location) -> tuple[Location, str]:
    """The archive and the member that a path names; the first split counts where there are several."""
    for archive, member in split(location.path.encode()):
        return Location(location.scheme, archive.decode(), location.options), member.decode()
    return location, ""


@lru_cache(maxsize=16)
def _opened(archive: Location) -> NativeFile:
    """An archive's handle; its ``read_at`` serves several threads."""
    return archive.filesystem.open_input_file(archive.path)


@lru_cache(maxsize=4)
def _index(archive: Location) -> dict[bytes, Member]:
    found: dict[bytes, Member] = {}
    try:
        for member in members(_Window(archive), retried(lambda: _opened(archive)).size()):
            found[member.name] = member
    except DamagedArchiveError:
        pass
    return found


class _Window:
    """Reads an archive's headers in large pieces."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._start = 0
        self._data = b""

    def __call__(self, offset: int, length: int) -> bytes:
        begin = offset - self._start
        if not 0 <= begin <= len(self._data) - length:
            self._data = self._read(offset, max(length, _WINDOW))
            self._start, begin = offset, 0
        return self._data[begin : begin + length]

    def _read(self, offset: int, length: int) -> bytes:
        file = retried(lambda: _opened(self._location))
        if offset >= file.size():
            return b""
        return retried(lambda: bytes(file.read_at(length, offset)))


def _starts_as_image(location: Location) -> bool:
    def get() -> bytes:
        with location.filesystem.open_input_file(location.path) as file:
            return bytes(file.read_at(SNIFF_BYTES, 0))

    try:
        return sniff(retried(get)) is not None
    except OSError as error:
        require_answer(location, error)
        return False


def _asked(location: Location, paths: list[str]) -> list[FileInfo]:
    try:
        return list(retried(lambda: location.filesystem.get_file_info(paths)))
    except OSError as error:
        require_answer(location, error)
        raise UsageError(f"cannot look at {location}: {reason(error)}") from None


def _explained(location: Location, error: OSError) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError("read", "NotFound", "the object does not exist (any more)")
    if is_final(error):
        return ImageError("read", "PermissionDenied", reason(error))
    require_answer(location, error)
    return ImageError("read", "IOError", f"the store does not give it: {reason(error)}")
