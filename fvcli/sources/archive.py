"""Members of tar archives as inputs. ``shards/a.tar!cat.jpg`` is the member ``cat.jpg`` of ``shards/a.tar``."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache

from fvcli.locations import cut_query
from fvcli.records import ImageRef
from fvcli.sources.formats import SNIFF_BYTES, has_image_extension, sniff
from fvcli.sources.patterns import Filter
from fvcli.sources.tar import EXTENSION, SEPARATOR, DamagedArchiveError, Member, ReadAt, members

_INSIDE = re.compile(re.escape((EXTENSION + SEPARATOR).encode()), re.IGNORECASE)


def inputs(archive: ImageRef, wanted: Filter) -> list[ImageRef]:
    """The images in an archive, ascending by path; what makes a member an image is what makes a file one.

    All of them have the archive's time: it says nothing of a member's when it is packed anew. Where the archive cannot
    be opened or read to its end, an input whose member has no name stands for what is missing, and says so when read.
    """
    try:
        descriptor = os.open(archive.location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return [unreadable(archive, 0, -1)]
    try:
        found = os.fstat(descriptor)

        def read_at(offset: int, length: int) -> bytes:
            return os.pread(descriptor, length, offset)

        return images(archive, read_at, found.st_size, found.st_mtime_ns, wanted)
    except OSError:
        return [unreadable(archive, 0, -1)]
    finally:
        os.close(descriptor)


def images(archive: ImageRef, read_at: ReadAt, size: int, mtime_ns: int, wanted: Filter) -> list[ImageRef]:
    """The same for an archive of ``size`` bytes, however it is read."""
    refs: list[ImageRef] = []
    found: dict[bytes, Member] = {}
    try:
        for member in members(read_at, size):
            if _is_image(member, read_at):
                found[member.name] = member
    except DamagedArchiveError as error:
        refs.append(unreadable(archive, error.offset, mtime_ns))
    place, query = cut_query(archive.path)
    raw_archive = os.fsencode(place) if archive.path_bytes is None else archive.path_bytes
    for shown, member in _shown(found):
        path = f"{place}{SEPARATOR}{shown}"
        if wanted.takes(path, len(place) + 1):
            raw = raw_archive + SEPARATOR.encode() + member.name
            path_bytes = None if path.encode("utf-8", "replace") == raw else raw
            refs.append(ImageRef(archive.root, path + query, path_bytes, member.size, mtime_ns, member.offset))
    return sorted(refs, key=lambda ref: ref.path) if query else refs


def split(location: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (archive, member) that a location may mean: the file system knows which "!" of "a.tar!b.tar!c" it is."""
    for match in _INSIDE.finditer(location):
        yield location[: match.end() - 1], location[match.end() :]


def archive_of(location: bytes) -> tuple[bytes, bytes] | None:
    """The archive and the member's name, None where there is no such archive."""
    for archive, member in split(location):
        try:
            if stat.S_ISREG(os.stat(archive).st_mode):
                return archive, member
        except OSError:
            continue
    return None


def locate(archive: bytes, found: os.stat_result, member: bytes) -> Member | None:
    """The member with this name in the archive, which is as ``found``; None where there is none. Raises OSError."""
    return _index(archive, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns).get(member)


@lru_cache(maxsize=4)
def _index(archive: bytes, device: int, inode: int, size: int, mtime_ns: int) -> dict[bytes, Member]:
    found = {}
    with open(archive, "rb") as file:
        try:
            for member in members(lambda offset, length: os.pread(file.fileno(), length, offset), size):
                found[member.name] = member
        except DamagedArchiveError:
            pass  # what stands before the damage can be read
    return found


def unreadable(archive: ImageRef, offset: int, mtime_ns: int) -> ImageRef:
    """What stands for the members that cannot be known: a member without a name."""
    raw = None if archive.path_bytes is None else archive.path_bytes + SEPARATOR.encode()
    return ImageRef(archive.root, SEPARATOR.join(cut_query(archive.path)), raw, -1, mtime_ns, offset)


def _is_image(member: Member, read_at: ReadAt) -> bool:
    name = os.fsdecode(member.name.rsplit(b"/", 1)[-1])
    if name.startswith("._"):
        return False
    named = has_image_extension(name)
    return sniff(read_at(member.offset, SNIFF_BYTES)) is not None if named is None else named


def _shown(found: dict[bytes, Member]) -> list[tuple[str, Member]]:
    """Each member with its readable name, ascending by it; the names are unique."""
    shown: dict[str, Member] = {}
    odd = []
    for name, member in found.items():
        try:
            shown[name.decode()] = member
        except UnicodeDecodeError:
            odd.append(member)
    for member in sorted(odd, key=lambda member: member.name):
        readable = member.name.decode(errors="backslashreplace")
        while readable in shown:
            readable += "\\"
        shown[readable] = member
    return sorted(shown.items())
