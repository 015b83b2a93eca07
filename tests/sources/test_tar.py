"""Tar archives as sources: found by header, read by offset, hostile and damaged ones included."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from fvcli.errors import ImageError
from fvcli.records import ImageRef
from fvcli.sources import tar as tar_module
from fvcli.sources.read import read
from tests.helpers.trees import found, names, passed_over

JPEG = b"\xff\xd8\xff\xe0 not much of a picture"


def pack(path: Path, members: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def error_of(ref: ImageRef) -> ImageError:
    with pytest.raises(ImageError) as raised:
        read(ref)
    return raised.value


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_image_member_is_an_input_with_its_own_bytes(tmp_path: Path, format: int) -> None:
    long = "/".join(["folder" * 8] * 3) + "/" + "x" * 90 + ".jpg"
    members = {
        "b.jpg": JPEG + b"b",
        "a.cls": b"7",
        "./a.jpg": JPEG + b"a" * 1000,
        "deep/c.PNG": b"c" * 513,
        "bare": JPEG,
        "bare-text": b"hello",
        "._a.jpg": b"resource fork",
        long: JPEG + b"long",
    }
    archive = pack(tmp_path / "shard.tar", members, format)
    refs = found(archive)
    assert [ref.path for ref in refs] == sorted(
        f"{archive}!{name}" for name in ["a.jpg", "b.jpg", "bare", "deep/c.PNG", long]
    )
    for ref in refs:
        name = ref.path.split("!")[1]
        data = members.get(name) or members["./" + name]
        file = read(ref)
        assert (file.data, file.sha256) == (data, hashlib.sha256(data).hexdigest())
        assert (ref.size_bytes, file.size_bytes, file.mtime_ns) == (len(data), len(data), archive.stat().st_mtime_ns)
        assert read(ImageRef(ref.root, ref.path)).data == data  # by name alone, as a dataset's rows know it


def test_archives_in_folders_and_lists_stand_in_the_order_of_paths(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    pack(folder / "b.tar", {"z.jpg": JPEG, "a/y.jpg": JPEG})
    pack(folder / "sub" / "c.TAR", {"x.jpg": JPEG})
    for name in ["a.jpg", "b.tar 2.jpg", "b.tar-3.jpg", "b.jpg", "c.jpg"]:
        (folder / name).write_bytes(JPEG)
    expected = [
        "b.tar!a/y.jpg",
        "b.tar!z.jpg",
        "sub/c.TAR!x.jpg",
        "a.jpg",
        "b.tar 2.jpg",
        "b.tar-3.jpg",
        "b.jpg",
        "c.jpg",
    ]
    assert names(folder) == sorted(expected)
    listed = [str(file) for file in folder.rglob("*") if file.is_file()]
    (tmp_path / "list").write_text("\n".join(listed))
    assert names(files_from=str(tmp_path / "list")) == sorted(f"{folder}/{name}" for name in expected)
    assert names(f"{folder}/*.tar") == [f"{folder}/b.tar!a/y.jpg", f"{folder}/b.tar!z.jpg"]


def test_patterns_see_members(tmp_path: Path) -> None:
    archive = pack(tmp_path / "b.tar", {"cat-1.jpg": JPEG, "dog-1.jpg": JPEG, "sub/cat-2.jpg": JPEG})
    assert [name.split("!")[1] for name in names(archive, include=("cat-*",))] == ["cat-1.jpg", "sub/cat-2.jpg"]
    assert [name.split("!")[1] for name in names(archive, exclude=("cat-*",))] == ["dog-1.jpg"]
    assert names(tmp_path, exclude=("*.tar",)) == []


def test_files_that_are_called_as_members_are_kept_apart(tmp_path: Path) -> None:
    pack(tmp_path / "b.tar", {"m.jpg": JPEG + b"in", "z.jpg": JPEG + b"in"})
    (tmp_path / "b.tar!m.jpg").write_bytes(JPEG + b"out")
    (tmp_path / "b.tar!n").mkdir()
    (tmp_path / "b.tar!n" / "o.jpg").write_bytes(JPEG + b"out")
    assert sorted(read(ref).data.removeprefix(JPEG) for ref in found(tmp_path)) == [b"in", b"in", b"out", b"out"]
    (tmp_path / "list").write_text(f"{tmp_path}/b.tar\n{tmp_path}/b.tar!m.jpg\n")
    assert len(found(files_from=str(tmp_path / "list"))) == 3


def test_names_that_are_not_utf8_and_names_twice(tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in [("a\udce9.jpg", b"1"), ("twice.jpg", b"old"), ("a\\xe9.jpg", b"2"), ("twice.jpg", b"new")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    refs = found(tmp_path)
    assert [read(ref).data for ref in refs] == [b"2", b"1", b"new"]  # the last of two is the valid one
    assert [read(ImageRef(ref.root, ref.path, ref.path_bytes)).data for ref in refs] == [b"2", b"1", b"new"]
    assert refs[1].path_bytes == b"b.tar!a\xe9.jpg"


@pytest.mark.parametrize("keep", ["in the second member", "after the second member", "no end marker"])
def test_a_truncated_archive_fails_for_its_remaining_members_only(tmp_path: Path, keep: str) -> None:
    archive = pack(tmp_path / "b.tar", {"a.jpg": JPEG * 100, "b.jpg": JPEG * 100, "c.jpg": JPEG * 100})
    with tarfile.open(archive) as tar:
        ends = [(member.offset_data + member.size + 511) // 512 * 512 for member in tar]
    size = {"in the second member": ends[1] - 1000, "after the second member": ends[1] + 100, "no end marker": ends[2]}
    os.truncate(archive, size[keep])
    refs = found(archive)
    whole = {"in the second member": 1, "after the second member": 2, "no end marker": 3}[keep]
    assert error_of(refs[0]).kind == "DamagedArchive"
    assert refs[0].path == f"{archive}!"
    assert [read(ref).data for ref in refs[1 : 1 + whole]] == [JPEG * 100] * whole
    assert [error_of(ref).kind for ref in refs[1 + whole :]] == (["Truncated"] if whole == 1 else [])


def test_what_is_no_archive_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive " * 100)
    (tmp_path / "empty.tar").touch()
    subprocess.run(["gzip", "-c"], input=b"x" * 10_000, stdout=(tmp_path / "packed.tar").open("wb"), check=True)
    (tmp_path / "folder.tar").mkdir()
    os.mkfifo(tmp_path / "pipe.tar")
    refs = found(tmp_path)
    assert [ref.path for ref in refs] == ["empty.tar!", "packed.tar!", "text.tar!"]
    assert {error_of(ref).kind for ref in refs} == {"DamagedArchive"}


def test_hostile_members_cost_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind in [
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("device.jpg", tarfile.CHRTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
            ("folder.jpg", tarfile.DIRTYPE),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name in ["/etc/cron.d/evil.jpg", "../../up.jpg"]:
            info = tarfile.TarInfo(name)
            info.size = len(JPEG)
            tar.addfile(info, io.BytesIO(JPEG))
        huge = tarfile.TarInfo("huge.jpg")
        huge.size = 1 << 60
        tar.addfile(huge)
    refs = found(archive)
    inside = {ref.path.split("!")[1]: ref for ref in refs}
    assert set(inside) == {"", "/etc/cron.d/evil.jpg", "../../up.jpg", "huge.jpg"}
    assert read(inside["/etc/cron.d/evil.jpg"]).data == read(inside["../../up.jpg"]).data == JPEG
    assert error_of(inside["huge.jpg"]).kind == "TooLarge"
    assert sorted(os.listdir(tmp_path)) == ["b.tar"]


def test_records_that_claim_gigabytes_are_damage(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 2 * 1024**3
        archive = tmp_path / f"{kind.decode()}.tar"
        archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
        os.truncate(archive, 2 * 1024**3)  # sparse: nothing of it is on the disk
        (ref,) = found(archive)
        assert error_of(ref).kind == "DamagedArchive"


def test_an_archive_that_changed_after_it_was_listed_is_not_read_at_old_offsets(tmp_path: Path) -> None:
    archive = pack(tmp_path / "b.tar", {"a.jpg": JPEG, "b.jpg": JPEG})
    refs = found(archive)
    pack(archive, {"b.jpg": JPEG + b"new"})
    os.utime(archive, ns=(0, 1))
    assert [error_of(ref).kind for ref in refs] == ["Changed", "Changed"]
    archive.unlink()
    assert error_of(refs[0]).kind == "NotFound"
    assert error_of(ImageRef("", f"{archive}!none.jpg")).kind == "NotFound"


def test_sizes_in_pax_records_count_and_numbers_without_a_bound_are_damage(tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"

    def written(size: str) -> list[ImageRef]:
        with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
            info = tarfile.TarInfo("a.jpg")
            info.size, info.pax_headers = len(JPEG), {"size": size}
            tar.addfile(info, io.BytesIO(JPEG))
            last = tarfile.TarInfo("b.jpg")
            last.size = len(JPEG)
            tar.addfile(last, io.BytesIO(JPEG))
        return found(archive)

    refs = written(str(len(JPEG) - 3))
    assert [read(ref).data for ref in refs] == [JPEG[:-3], JPEG]
    for size in ["1" + "0" * 25, str(2**63), "-5", "9" * 5000, "x"]:
        (ref,) = written(size)
        assert (ref.path, error_of(ref).kind) == (f"{archive}!", "DamagedArchive")
        assert 0 <= ref.offset < 2**63


def test_base_256_sizes_beyond_64_bits_end_only_their_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("a.jpg")
        info.size = len(JPEG)
        tar.addfile(info, io.BytesIO(JPEG))
        huge = tarfile.TarInfo("huge.jpg")
        huge.size = 2**70
        tar.addfile(huge)
    (tmp_path / "c.jpg").write_bytes(JPEG)
    assert [ref.path for ref in found(tmp_path)] == ["b.tar!", "b.tar!a.jpg", "c.jpg"]
    assert all(-(2**63) <= ref.size_bytes < 2**63 and ref.offset < 2**63 for ref in found(tmp_path))


def test_records_for_all_members_are_read_once_and_of_them_only_what_matters_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty thousand keys for each of thousands of members would take minutes."""
    archive = tmp_path / "b.tar"
    keys = {f"key{number}": "v" for number in range(300)}
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT, pax_headers=keys) as tar:
        for number in range(50):
            info = tarfile.TarInfo(f"{number:04}.jpg")
            tar.addfile(info)
    kept: list[dict[bytes, bytes]] = []
    parsed = tar_module._pax

    def recorded(record: bytes) -> dict[bytes, bytes]:
        kept.append(parsed(record))
        return kept[-1]

    monkeypatch.setattr(tar_module, "_pax", recorded)
    assert len(found(archive)) == 50
    assert kept == [{}]


def test_links_in_archives_are_told(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "a.jpg"
        tar.addfile(link)
    assert passed_over(tmp_path) == {"archived link": 1}


def test_an_archive_packed_again_with_the_same_time_is_not_read_at_old_offsets(tmp_path: Path) -> None:
    archive = pack(tmp_path / "b.tar", {"a.jpg": JPEG, "b.jpg": JPEG[::-1]})
    refs = found(archive)
    before = archive.stat().st_mtime_ns
    pack(archive, {"b.jpg": JPEG[::-1], "a.jpg": JPEG})
    os.utime(archive, ns=(before, before))  # as copying tools leave it
    assert [error_of(ref).kind for ref in refs] == ["Changed", "Changed"]


def test_an_archive_of_another_time_is_not_read_even_if_the_member_seems_to_be_there(tmp_path: Path) -> None:
    archive = pack(tmp_path / "b.tar", {"a.jpg": JPEG})
    (ref,) = found(archive)
    pack(archive, {"a.jpg": JPEG[::-1]})
    os.utime(archive, ns=(0, 1))
    assert error_of(ref).kind == "Changed"


def test_what_stands_behind_the_end_marker_is_not_read(tmp_path: Path) -> None:
    archive = pack(tmp_path / "b.tar", {"a.jpg": JPEG})
    with archive.open("ab") as file:
        file.write(pack(tmp_path / "c.tar", {"late.jpg": JPEG}).read_bytes())
    assert names(archive) == [f"{archive}!a.jpg"]
