"""Tar archives, read by their headers: where each member's bytes stand, so that nothing is ever unpacked.

The format is POSIX.1-2001 ustar with pax extensions (pax, "ustar Interchange Format" and "pax Header Block"), and
GNU tar's long names and base-256 numbers. Compressed archives cannot be read by offset and are not taken.
"""

from __future__ import annotations

from collections.abc import Iterator

from fvcli.errors import ImageError
from fvcli.sources.member import DamagedArchiveError, Member
from fvcli.sources.storage import OpenFile, ReadAt

_BLOCK = 512
_SHORT_NAME = 99  # bytes; shorter ASCII names stand in the header itself, whatever wrote it
_LONGEST_NAME = 1 << 20  # bytes that a pax or long-name record may take; real ones take hundreds
_REGULAR = (b"0", b"\0", b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes: whatever size they announce


def members(read_at: ReadAt, size: int) -> Iterator[Member]:
    """Every regular file in an archive of ``size`` bytes, in its order; the last of two with one name is the valid one.

    A member whose bytes are cut off is still named. Raises DamagedArchiveError where the archive ends without its end
    marker or a header is no header.
    """
    at, extended, common = 0, {}, {}  # type: int, dict[bytes, bytes], dict[bytes, bytes]
    while True:
        header = read_at(at, _BLOCK)
        if len(header) < _BLOCK:
            raise DamagedArchiveError(at)
        if not header.strip(b"\0"):
            return
        try:
            _check(header)
            length = _number(header[124:136])
            if b"size" in extended:
                length = int(extended[b"size"])
        except ValueError:
            raise DamagedArchiveError(at) from None
        kind, data = header[156:157], at + _BLOCK
        if length < 0:
            raise DamagedArchiveError(at)
        if kind in (b"x", b"g", b"L", b"K"):
            try:
                record = _record(read_at, data, length)
                if kind == b"x":
                    extended = {**extended, **_pax(record)}
                elif kind == b"g":
                    common = {**common, **_pax(record)}
                elif kind == b"L":
                    extended = {**extended, b"path": record.rstrip(b"\0")}
            except ValueError:
                raise DamagedArchiveError(at) from None
        else:
            named = {**common, **extended}
            name = named.get(b"path", _name(header)).split(b"\0", 1)[0]
            extended = {}
            if kind in _WITHOUT_DATA:
                length = 0
            elif kind in _REGULAR and not any(key.startswith(b"GNU.sparse") for key in named):
                name = _plain(name)
                if name and not name.endswith(b"/"):
                    yield Member(name, data, length)
        at = data + -(-length // _BLOCK) * _BLOCK


def read(file: OpenFile, member: Member) -> bytes:
    """A member's bytes. Raises ImageError Changed where it no longer stands where it stood."""
    data = file.read_at(member.offset - _BLOCK, _BLOCK + member.size)
    if not _stands(data[:_BLOCK], member.name):
        raise ImageError("read", "Changed", "the archive changed after its members were listed; run again")
    return data[_BLOCK:]


def _stands(header: bytes, name: bytes) -> bool:
    """Whether the block before a member's bytes is a header, and of its name."""
    try:
        _check(header)
    except (ValueError, IndexError):
        return False
    if len(name) > _SHORT_NAME or not name.isascii():
        return True  # its whole name stands in a record before the header
    return _plain(_name(header)) == name


def _check(header: bytes) -> None:
    """Raises ValueError where the checksum is not the header's: the sum of its bytes, its own field as spaces."""
    if _number(header[148:156]) != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise ValueError("checksum")


def _number(field: bytes) -> int:
    """Octal digits, or with the first bit set a big-endian two's complement number (GNU)."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
    digits = field.strip(b" \0").split(b"\0", 1)[0]
    return int(digits, 8) if digits else 0


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _plain(name: bytes) -> bytes:
    """A name without leading "./"."""
    while name.startswith(b"./"):
        name = name[2:].lstrip(b"/")
    return name


def _record(read_at: ReadAt, offset: int, length: int) -> bytes:
    if length > _LONGEST_NAME:
        raise ValueError("too long")
    record = read_at(offset, length)
    if len(record) < length:
        raise ValueError("cut off")
    return record


def _pax(record: bytes) -> dict[bytes, bytes]:
    """The "length key=value" lines of a pax header."""
    found, at = {}, 0
    while at < len(record):
        space = record.index(b" ", at)
        end = at + int(record[at:space])
        key, equals, value = record[space + 1 : end - 1].partition(b"=")
        if not equals or end <= space or record[end - 1 : end] != b"\n":
            raise ValueError("pax")
        found[key] = value
        at = end
    return found
