"""Tar archives, read by their headers: where each member's bytes stand, so that nothing is ever unpacked.

The format is POSIX.1-2001 ustar with pax extensions (pax, "ustar Interchange Format" and "pax Header Block"), and
GNU tar's long names and base-256 numbers. Compressed archives cannot be read by offset and are not taken.
"""

from __future__ import annotations

from collections.abc import Iterator

from fvcli.sources.member import NO_BYTES, DamagedArchiveError, Member, changed, cut_off
from fvcli.sources.storage import OpenFile

_BLOCK = 512
_SHORT_NAME = 99  # bytes; shorter ASCII names are in the header itself, whatever wrote it
_LONGEST_RECORD = 1 << 20  # bytes that a pax or long-name record may take; real ones take hundreds
_LARGEST = 2**63 - 1
_LONGEST_NUMBER = 20  # digits
_RECORDS = (b"x", b"g", b"L", b"K")
_LINKS = (b"1", b"2")
_REGULAR = (b"0", b"\0", b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes: whatever size they announce


class TarArchive:
    """Implements :class:`fvcli.sources.member.Archive`."""

    only_images = False

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._scan = file.scanner()

    def members(self) -> Iterator[Member]:
        """Implements the contract; a member whose bytes are cut off is still named.

        The archive is damaged where it ends without its end marker or a header is no header.
        """
        at, common = 0, {}  # type: int, dict[bytes, bytes]
        while True:
            begin, named = at, dict(common)
            while True:  # the records that say more of the next header
                header = self._header(at)
                if header is None:
                    return
                length = self._length(header, named, begin)
                kind, data = header[156:157], at + _BLOCK
                at = data + -(-length // _BLOCK) * _BLOCK
                if kind not in _RECORDS:
                    break
                self._take(kind, data, length, named, common)
            name = _plain(named.get(b"path", _name(header)).split(b"\0", 1)[0])
            if kind in _WITHOUT_DATA:
                at, length = data, 0
            if name and not name.endswith(b"/"):
                if kind in _LINKS:
                    yield Member(name, NO_BYTES, 0)
                elif kind in _REGULAR and b"GNU.sparse" not in named:
                    yield Member(name, data, length)
            if at > self._file.size + _BLOCK:  # numbers without a bound must not grow from header to header
                raise DamagedArchiveError(data)

    def start(self, member: Member, length: int) -> bytes:
        return self._scan(member.offset, min(length, member.size))

    def read(self, member: Member) -> bytes:
        if member.offset + member.size > self._file.size:
            raise cut_off()
        data = self._file.read_at(member.offset - _BLOCK, _BLOCK + member.size)
        if not _stands(data[:_BLOCK], member.name):
            raise changed()
        return data[_BLOCK:]

    def _header(self, at: int) -> bytes | None:
        """The header at ``at``, None at the end marker."""
        header = self._scan(at, _BLOCK)
        if len(header) < _BLOCK:
            raise DamagedArchiveError(at)
        if not header.strip(b"\0"):
            return None
        try:
            _check(header)
        except ValueError:
            raise DamagedArchiveError(at) from None
        return header

    def _length(self, header: bytes, named: dict[bytes, bytes], begin: int) -> int:
        """Bytes behind a header: those of a record, or of a member as the records before it say."""
        try:
            record = header[156:157] in _RECORDS
            length = int(named[b"size"]) if b"size" in named and not record else _number(header[124:136])
        except ValueError:
            length = -1
        if not 0 <= length <= _LARGEST:
            raise DamagedArchiveError(begin)
        return length

    def _take(self, kind: bytes, data: int, length: int, named: dict[bytes, bytes], common: dict[bytes, bytes]) -> None:
        """Reads a record into what it concerns: the next member, or all that follow."""
        record = self._scan(data, length) if length <= _LONGEST_RECORD else b""
        if len(record) < length:
            raise DamagedArchiveError(data - _BLOCK)
        if kind == b"L":
            named[b"path"] = record.rstrip(b"\0")
        elif kind != b"K":
            try:
                found = _pax(record)
            except ValueError:
                raise DamagedArchiveError(data - _BLOCK) from None
            named |= found
            if kind == b"g":
                common |= found


def _stands(header: bytes, name: bytes) -> bool:
    """Whether the block before a member's bytes is a header, and of its name."""
    try:
        _check(header)
    except (ValueError, IndexError):
        return False
    if len(name) > _SHORT_NAME or not name.isascii():
        return True  # its whole name is in a record before the header
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


def _pax(record: bytes) -> dict[bytes, bytes]:
    """The three keys that matter here, from the "length key=value" lines of a pax header, however many there are."""
    found, at = {}, 0
    while at < len(record):
        space = record.index(b" ", at, at + _LONGEST_NUMBER)
        end = at + int(record[at:space])
        key, equals, value = record[space + 1 : end - 1].partition(b"=")
        if not equals or end <= space or record[end - 1 : end] != b"\n":
            raise ValueError("pax")
        if key in (b"path", b"size"):
            found[key] = value
        elif key.startswith(b"GNU.sparse"):
            found[b"GNU.sparse"] = b""
        at = end
    return found
