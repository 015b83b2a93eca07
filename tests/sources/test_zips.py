"""Zip archives as sources: written by Python and by the hand of an attacker, read by offset."""

from __future__ import annotations

import errno
import io
import os
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from fvcli.errors import ImageError
from fvcli.records import ImageRef
from fvcli.sources.folders import LocalStorage
from fvcli.sources.read import read
from tests.helpers.trees import found, make, names, passed_over

JPEG = b"\xff\xd8\xff\xe0 not much of a picture"


def pack(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return path


def error_of(ref: ImageRef) -> ImageError:
    with pytest.raises(ImageError) as raised:
        read(ref)
    return raised.value


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_image_is_an_input_with_its_own_bytes(tmp_path: Path, method: int) -> None:
    members = {
        "b.jpg": JPEG * 2000,
        "sub/ä.png": b"a",
        "bare": JPEG,
        "text": b"words",
        "notes.txt": b"words",
        "__MACOSX/._b.jpg": b"resource fork",
        "empty.jpg": b"",
    }
    archive = pack(tmp_path / "x.zip", members, method)
    refs = found(archive)
    assert [ref.path for ref in refs] == [f"{archive}!{name}" for name in ["b.jpg", "bare", "empty.jpg", "sub/ä.png"]]
    for ref in refs:
        data = members[ref.path.split("!")[1]]
        assert ref.size_bytes == len(data)
        if not data:
            assert error_of(ref).kind == "Empty"
            continue
        file = read(ref)
        assert (file.data, file.size_bytes, file.mtime_ns) == (data, len(data), archive.stat().st_mtime_ns)
        assert read(ImageRef(ref.root, ref.path)).data == data  # by name alone, as a dataset's rows know it
    assert passed_over(archive) == {"macOS companion file": 1, ".txt": 1, "other file": 1}


def test_members_written_to_a_pipe_have_their_sizes_behind_them(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as opened:  # type: ignore[type-var]
        for name, method in [("stored.jpg", zipfile.ZIP_STORED), ("packed.jpg", zipfile.ZIP_DEFLATED)]:
            opened.writestr(name, JPEG * 99, method)
    (tmp_path / "x.zip").write_bytes(pipe.data)
    assert [read(ref).data for ref in found(tmp_path)] == [JPEG * 99] * 2
    damaged = bytearray(pipe.data)
    damaged[damaged.index(JPEG) + 50] ^= 1
    (tmp_path / "x.zip").write_bytes(damaged)
    assert [error_of(ref).kind for ref in found(tmp_path) if "stored" in ref.path] == ["Corrupt"]


def test_sizes_behind_a_member_need_no_signature(tmp_path: Path) -> None:
    """PKWARE's APPNOTE 4.3.9.3: the signature of a data descriptor is optional."""
    archive = pack(tmp_path / "x.zip", {"a.jpg": JPEG * 99})
    data = bytearray(archive.read_bytes())
    header, directory = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    descriptor, sizes = bytes(data[header + 14 : header + 26]), bytes(12)
    data[header + 6] |= 8  # the sizes follow
    data[directory + 8] |= 8
    data[header + 14 : header + 26] = sizes
    data[directory:directory] = descriptor
    end = data.index(b"PK\5\6")
    struct.pack_into("<L", data, end + 16, directory + len(descriptor))
    archive.write_bytes(data)
    assert [read(ref).data for ref in found(archive)] == [JPEG * 99]
    data[directory] ^= 1
    archive.write_bytes(data)
    assert error_of(found(archive)[0]).kind == "Corrupt"


def test_zip64_and_prepended_programs_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened, opened.open("a.jpg", "w", force_zip64=True) as member:
        member.write(JPEG)
    (tmp_path / "self.zip").write_bytes(b"#!/bin/sh\n" * 99 + (tmp_path / "x.zip").read_bytes())
    assert [read(ref).data for ref in found(tmp_path)] == [JPEG] * 2


@pytest.mark.slow
def test_more_members_than_sixteen_bits_count(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        for number in range(66_000):
            opened.writestr(f"{number:05}.jpg", b"")
    assert len(names(tmp_path)) == 66_000
    data = (tmp_path / "x.zip").read_bytes()
    end64, end = data.rindex(b"PK\6\6"), data.rindex(b"PK\5\6")
    size, offset = struct.unpack_from("<QQ", data, end64 + 40)
    kept = 66_000 - 65_536  # as writers leave it that know no zip64
    ending = struct.pack("<4s4H2LH", data[end : end + 4], 0, 0, kept, kept, size, offset, 0)
    (tmp_path / "x.zip").write_bytes(data[:end64] + ending)
    assert len(names(tmp_path)) == 66_000
    (tmp_path / "x.zip").write_bytes(data[: end64 + 32] + struct.pack("<Q", 66_001) + data[end64 + 40 :])
    assert names(tmp_path)[0] == "x.zip!", "one is missing"


def test_encrypted_members_and_odd_methods_are_failures_that_say_so(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a.jpg": JPEG, "b.jpg": JPEG}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the first local header's flags
    archive.write_bytes(data)
    first, second = found(archive)
    assert error_of(first).kind == "Unsupported"
    assert "password" in str(error_of(first))
    assert read(second).data == JPEG
    pack(archive, {"c.jpg": JPEG}, zipfile.ZIP_LZMA)
    assert "pack the archive again" in str(error_of(found(archive)[0]))


def test_a_bomb_gives_no_more_than_it_announces(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a.jpg": b"\0" * 5_000_000})
    data = archive.read_bytes()
    small = struct.pack("<L", 1000)
    archive.write_bytes(data.replace(struct.pack("<L", 5_000_000), small))
    (ref,) = found(archive)
    assert ref.size_bytes == 1000
    assert error_of(ref).kind == "Corrupt"


def test_a_bomb_takes_no_more_memory_than_it_announces(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a.jpg": b"\0" * 20_000_000})
    announced = struct.pack("<L", 100_000)
    archive.write_bytes(archive.read_bytes().replace(struct.pack("<L", 20_000_000), announced))
    (ref,) = found(archive)
    tracemalloc.start()
    try:
        assert error_of(ref).kind == "Corrupt"
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_what_stands_behind_the_end_of_an_archive_is_not_read(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a.jpg": JPEG})
    with archive.open("ab") as file:
        file.write(b"\0" * 40_000)
    assert [read(ref).data for ref in found(archive)] == [JPEG]


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no archive" * 99, b"PK\5\6" + b"\xff" * 18])
def test_what_is_no_archive_is_one_failure(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    (ref,) = found(tmp_path)
    assert ref.path == "x.zip!"
    assert error_of(ref).kind == "DamagedArchive"


def test_damage_anywhere_never_escapes(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole.zip", {f"{number}.jpg": JPEG * 20 for number in range(3)}).read_bytes()
    for at in range(0, len(whole), 3):
        data = bytearray(whole)
        data[at] ^= 0xFF
        (tmp_path / "x.zip").write_bytes(data)
        refs, others = found(tmp_path / "x.zip"), passed_over(tmp_path / "x.zip")
        told = any(ref.path.endswith("x.zip!") for ref in refs)
        assert told or len(refs) + sum(others.values()) == 3, f"members are lost without a word, at byte {at}"
        for ref in refs:
            with suppress(ImageError):
                assert read(ref).data == JPEG * 20


def test_a_directory_that_ends_too_soon_is_one_failure_beside_the_members_that_it_has(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {f"{number}.jpg": JPEG for number in range(3)})
    data = bytearray(archive.read_bytes())
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    struct.pack_into("<H", data, second + 32, 1000)  # a comment, in which the third entry would be
    archive.write_bytes(data)
    lost, *refs = found(archive)
    assert (lost.path, error_of(lost).kind) == (f"{archive}!", "DamagedArchive")
    assert [ref.path.split("!")[1] for ref in refs] == ["0.jpg", "1.jpg"]
    assert [read(ref).data for ref in refs] == [JPEG] * 2


def test_an_archive_packed_again_after_it_was_listed_is_not_read_at_old_offsets(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a.jpg": JPEG, "b.jpg": JPEG[::-1]})
    refs = found(archive)
    before = archive.stat().st_mtime_ns
    pack(archive, {"b.jpg": JPEG[::-1], "a.jpg": JPEG})
    os.utime(archive, ns=(before, before))  # as copying tools leave it
    assert {error_of(ref).kind for ref in refs} == {"Changed"}


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"aXb.jpg": JPEG, "aY.jpg": JPEG}, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"aXb", b"a\xe9b").replace(b"aY", b"a\xe9"))
    refs = found(tmp_path)
    assert [ref.path_bytes for ref in refs] == [b"x.zip!a\xe9.jpg", b"x.zip!a\xe9b.jpg"]
    assert [read(ref).data for ref in refs] == [JPEG] * 2
    assert [read(ImageRef(ref.root, ref.path, ref.path_bytes)).data for ref in refs] == [JPEG] * 2


def test_archives_of_all_kinds_stand_in_the_order_of_paths(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.zip 2.jpg", "b.zip-3.jpg", "z.jpg")
    pack(tmp_path / "b.zip", {"y.jpg": JPEG, "x.jpg": JPEG})
    pack(tmp_path / "a.ZIP", {"y.jpg": JPEG})
    assert names(tmp_path) == [
        "a.ZIP!y.jpg",
        "a.jpg",
        "b.zip 2.jpg",
        "b.zip!x.jpg",
        "b.zip!y.jpg",
        "b.zip-3.jpg",
        "z.jpg",
    ]


def test_an_archive_that_may_not_be_opened_is_an_input_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.jpg", "b.tar", "c.zip")
    opening = LocalStorage.open

    def refused(storage: LocalStorage, ref: ImageRef, shared: bool = False) -> object:
        if not ref.path.endswith(".jpg"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opening(storage, ref, shared)

    monkeypatch.setattr(LocalStorage, "open", refused)
    refs = found(tmp_path)
    assert [ref.path for ref in refs] == ["a.jpg", "b.tar!", "c.zip!"]
    for ref in refs[1:]:
        with pytest.raises(ImageError) as raised:
            read(ref)
        assert raised.value.kind == "PermissionDenied"


def test_a_member_is_found_by_its_name_in_an_archive_that_was_packed_again(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a.jpg": JPEG})
    assert read(ImageRef("", f"{archive}!a.jpg")).data == JPEG
    pack(archive, {"b.jpg": JPEG * 2, "a.jpg": JPEG[::-1]})
    assert read(ImageRef("", f"{archive}!a.jpg")).data == JPEG[::-1]
    assert read(ImageRef("", f"{archive}!b.jpg")).data == JPEG * 2
