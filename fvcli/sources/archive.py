"""Members of archives as inputs. ``shards/a.tar!cat.jpg`` is the member ``cat.jpg`` of ``shards/a.tar``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress

from fvcli.errors import ImageError
from fvcli.locations import cut_query
from fvcli.records import ImageRef
from fvcli.sources.candidates import ARCHIVE_EXTENSIONS, LINKED_MEMBER, Filter, PassedOver, is_archive
from fvcli.sources.formats import SNIFF_BYTES, has_image_extension, sniff
from fvcli.sources.member import NO_BYTES, Archive, DamagedArchiveError, Member, NoImagesError
from fvcli.sources.storage import OpenFile, Storage
from fvcli.sources.tables import TableArchive
from fvcli.sources.tar import TarArchive
from fvcli.sources.zips import ZipArchive

#: What stands between an archive and its member in an input's path.
SEPARATOR = "!"
_OPENERS: tuple[Callable[[OpenFile], Archive], ...] = (TarArchive, ZipArchive, TableArchive)
_KINDS = dict(zip(ARCHIVE_EXTENSIONS, _OPENERS, strict=True))

#: Members by name of the archives that were last read by name, by the identity of their files.
_indexes: dict[Hashable, dict[bytes, Member]] = {}
_MOST_INDEXES = 4

_INSIDE = re.compile(
    rb"(?i:%s)%s" % (b"|".join(re.escape(each.encode()) for each in ARCHIVE_EXTENSIONS), SEPARATOR.encode())
)


def inputs(ref: ImageRef, storage: Storage, wanted: Filter, passed_over: PassedOver) -> list[ImageRef]:
    """The images in the archive ``ref``, ascending by path; what makes a member an image is what makes a file one.

    All of them have the archive's time: it does not tell a member's when it is packed anew. Where the archive cannot
    be opened or read to its end, an input whose member has no name stands for what is missing, and says so when read.
    """
    try:
        with storage.open(ref) as file:
            return _images(ref, file, wanted, passed_over)
    except OSError as error:
        storage.explain(error, ref)  # raises where the whole place is gone
    except ImageError:
        pass
    return [_unreadable(ref, 0, -1)]


def opened(ref: ImageRef, file: OpenFile) -> Archive:
    """The archive that ``file`` is, which has been opened for ``ref``."""
    name = cut_query(ref.path)[0] if ref.path_bytes is None else os.fsdecode(ref.path_bytes)
    return _KINDS[os.path.splitext(name)[1].lower()](file)


def _images(ref: ImageRef, file: OpenFile, wanted: Filter, passed_over: PassedOver) -> list[ImageRef]:
    mtime_ns = file.mtime_ns if file.mtime_ns >= 0 else ref.mtime_ns
    refs: list[ImageRef] = []
    found: dict[bytes, Member] = {}
    place, query = cut_query(ref.path)
    archive = opened(ref, file)
    try:
        for member in archive.members():
            base = os.fsdecode(member.name.rsplit(b"/", 1)[-1])
            if _is_image(member, base, archive):
                found[member.name] = member
            elif wanted.takes(f"{place}{SEPARATOR}{os.fsdecode(member.name)}", len(place) + 1):
                passed_over.add(LINKED_MEMBER) if member.offset == NO_BYTES else passed_over.add_file(base)
    except NoImagesError:
        passed_over.add_file(place)
    except DamagedArchiveError as error:
        refs.append(_unreadable(ref, error.offset, mtime_ns))
    raw_archive = os.fsencode(place) if ref.path_bytes is None else ref.path_bytes
    for shown, member in _shown(found):
        path = f"{place}{SEPARATOR}{shown}"
        if wanted.takes(path, len(place) + 1):
            raw = raw_archive + SEPARATOR.encode() + member.name
            path_bytes = None if path.encode("utf-8", "replace") == raw else raw
            refs.append(ImageRef(ref.root, path + query, path_bytes, member.size, mtime_ns, member.offset))
    return sorted(refs, key=lambda ref: ref.path) if query else refs


def _is_image(member: Member, base: str, archive: Archive) -> bool:
    if archive.only_images:
        return True
    if member.offset == NO_BYTES or base.startswith("._"):
        return False
    named = has_image_extension(base)
    return sniff(archive.start(member, SNIFF_BYTES)) is not None if named is None else named


def split(ref: ImageRef) -> Iterator[tuple[ImageRef, bytes]]:
    """The (archive, member) that an input may mean: only its place knows which "!" of "a.tar!b.tar!c" it is."""
    path, query = cut_query(ref.path)
    whole = os.fsencode(path) if ref.path_bytes is None else ref.path_bytes
    for match in _INSIDE.finditer(whole):
        name = whole[: match.end() - 1]
        raw = None if ref.path_bytes is None else name
        archive = ImageRef(ref.root, os.fsdecode(name) + query, raw, base_folder=ref.base_folder)
        yield archive, whole[match.end() :]


def locate(file: OpenFile, archive: Archive, member: bytes) -> Member | None:
    """The member with this name in an archive whose file is open; None where there is none. Raises OSError."""
    key = file.identity
    index = _indexes.get(key)
    if index is None:
        index = _index(archive)
        while len(_indexes) >= _MOST_INDEXES:
            _indexes.pop(next(iter(_indexes)), None)
        _indexes[key] = index
    return index.get(member)


def _index(archive: Archive) -> dict[bytes, Member]:
    found = {}
    with suppress(DamagedArchiveError, NoImagesError):  # members before the damage can be read
        for member in archive.members():
            if member.offset != NO_BYTES:
                found[member.name] = member
    return found


def with_marks(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The (stand-in, name) of a folder, "!" after the stand-ins of archives: so they sort as their members' paths do.

    No other name may begin as those.
    """
    similar = [
        shown
        for shown, _ in pairs
        if not is_archive(shown) and any(each in shown.lower() for each in ARCHIVE_EXTENSIONS)
    ]
    result = []
    for shown, name in pairs:
        if is_archive(name):
            while any(other.startswith(shown + SEPARATOR) for other in similar):
                shown += "\\"
            shown += SEPARATOR
        result.append((shown, name))
    return result


def _unreadable(archive: ImageRef, offset: int, mtime_ns: int) -> ImageRef:
    """The member without a name, which stands for the members that cannot be known."""
    raw = None if archive.path_bytes is None else archive.path_bytes + SEPARATOR.encode()
    return ImageRef(archive.root, SEPARATOR.join(cut_query(archive.path)), raw, -1, mtime_ns, offset)


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
