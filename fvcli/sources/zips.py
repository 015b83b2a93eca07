"""Zip archives: members found by the central directory (zipfile reads it), read by offset, stored or deflated.

The format is PKWARE's APPNOTE 6.3; the numbers of its sections are beside the code that follows them.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator

from fvcli.errors import ImageError
from fvcli.sources.member import DamagedArchiveError, Member, changed, cut_off
from fvcli.sources.storage import OpenFile, SeekableFile

_LOCAL_HEADER = struct.Struct("<4s2xHH4xLLLHH")  # 4.3.7: signature, flags, method, CRC, two sizes, two lengths
_SIGNATURE, _DESCRIPTOR = b"PK\3\4", b"PK\7\x08"
_ENCRYPTED, _DESCRIBED_AFTERWARDS, _UTF8 = 1 << 0, 1 << 3, 1 << 11  # 4.4.4
_STORED, _DEFLATED = 0, 8  # 4.4.5
_BLOCK = 1 << 20
_LARGEST_DIRECTORY = 1 << 26  # bytes; some hundred thousand members
_LARGEST = 2**63 - 1
_END, _LONGEST_END = b"PK\5\6", 22 + 0xFFFF  # 4.3.16: with its comment
_END64, _BEFORE_END = b"PK\6\6", 56 + 20  # 4.3.14 and 4.3.15: both stand before it


class ZipArchive:
    """Implements :class:`fvcli.sources.member.Archive`."""

    only_images = False

    def __init__(self, file: OpenFile) -> None:
        self._file = file

    def members(self) -> Iterator[Member]:
        """Implements the contract; the archive is damaged where its directory has another number of entries."""
        try:
            with zipfile.ZipFile(SeekableFile(self._file, _LARGEST_DIRECTORY)) as opened:
                entries, directory = opened.infolist(), opened.start_dir
        except (OSError, ImageError):
            raise
        except Exception:  # zipfile raises what its parser happens to raise
            raise DamagedArchiveError(0) from None
        for entry in entries:
            name = entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8 else "cp437")
            if name and not name.endswith(b"/"):
                offset = max(0, min(entry.header_offset, self._file.size))
                yield Member(name.removeprefix(b"./"), offset, min(entry.file_size, _LARGEST))
        if self._announced(len(entries)) != len(entries):  # zipfile does not compare them
            raise DamagedArchiveError(directory)

    def _announced(self, found: int) -> int:
        """The number of entries that the end of the directory announces, where ``found`` were found."""
        start = max(0, self._file.size - _LONGEST_END - _BEFORE_END)
        tail = self._file.read_at(start, self._file.size - start)
        end = tail.rfind(_END, 0, len(tail) - 18)
        (count,) = struct.unpack_from("<H", tail, end + 10)
        large = tail[max(0, end - _BEFORE_END) : end]
        if count == 0xFFFF and large.startswith(_END64):
            return int(struct.unpack_from("<Q", large, 32)[0])
        return int(found - found % 0x10000 + count)  # some writers leave out what 16 bits do not hold

    def start(self, member: Member, length: int) -> bytes:
        try:
            return _Entry(self._file, member).read(length)
        except (ImageError, zlib.error):
            return b""

    def read(self, member: Member) -> bytes:
        try:
            entry = _Entry(self._file, member)
            data = entry.read(member.size + 1)  # one more, so that the end of the compressed data is read too
        except zlib.error:
            raise ImageError("read", "Corrupt", "the compressed data in the archive is damaged") from None
        if len(data) < member.size:
            raise cut_off()
        data = data[: member.size] if entry.stored else data
        if len(data) > member.size or zlib.crc32(data) not in entry.checksums(member.size):
            raise ImageError("read", "Corrupt", "the content is not what the archive announces (size or checksum)")
        return data


class _Entry:
    """One member, found by its local header. Raises ImageError where there is none or it cannot be read."""

    def __init__(self, file: OpenFile, member: Member) -> None:
        header = file.read_at(member.offset, _LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size:
            raise cut_off()
        signature, self._flags, method, self._crc, _, _, name, extra = _LOCAL_HEADER.unpack(header)
        there = file.read_at(member.offset + _LOCAL_HEADER.size, name)
        if signature != _SIGNATURE or there.removeprefix(b"./") != member.name:
            raise changed()
        if self._flags & _ENCRYPTED:
            raise ImageError("read", "Unsupported", "encrypted; unpack the archive with its password first")
        if method not in (_STORED, _DEFLATED):
            text = f"compressed by method {method}; only stored and deflated members are read: pack the archive again"
            raise ImageError("read", "Unsupported", text)
        self._file = file
        self._begin = self._end = member.offset + _LOCAL_HEADER.size + name + extra
        self.stored = method == _STORED

    def read(self, length: int) -> bytes:
        """Up to ``length`` bytes of content. Raises zlib.error."""
        if self.stored:
            return self._file.read_at(self._begin, length)
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        pieces, total, at, waiting = [], 0, self._begin, b""
        while total < length and not inflater.eof:
            if not waiting:
                waiting = self._file.read_at(at, min(_BLOCK, length - total + 64))
                at += len(waiting)
                if not waiting:
                    break
            pieces.append(inflater.decompress(waiting, length - total))
            total += len(pieces[-1])
            waiting = inflater.unconsumed_tail
        self._end = at - len(inflater.unused_data)
        return b"".join(pieces)

    def checksums(self, size: int) -> tuple[int, ...]:
        """The candidates for the CRC-32 of the whole content, which has been read and has ``size`` bytes."""
        if not self._flags & _DESCRIBED_AFTERWARDS:
            return (self._crc,)
        end = self._begin + size if self.stored else self._end
        found = self._file.read_at(end, 8).ljust(8, b"\0")
        signed = found.startswith(_DESCRIPTOR)  # 4.3.9: the signature is optional
        return struct.unpack("<L", found[4:] if signed else found[:4])
