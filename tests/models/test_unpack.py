"""Archives of models unpack whole, inside their folder and within bounds, or not at all."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from fvcli.errors import ModelError
from fvcli.models.unpack import unpack


def tar_with(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def member(
    name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, data


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_files_and_folders_come_out_as_they_were(tmp_path: Path) -> None:
    archive = tar_with(
        tmp_path / "a.tgz", member("./", b"", tarfile.DIRTYPE), member("./a/b.txt", b"one"), member("c", b"")
    )
    folder = unpack(archive, tmp_path / "out")
    assert everything_below(folder) == ["a", "a/b.txt", "c"]
    assert (folder / "a" / "b.txt").read_bytes() == b"one"


@pytest.mark.parametrize(
    "bad",
    [
        member("../../x"),
        member("a/../../x"),
        member("/etc/x"),
        member("a\\..\\x"),
        member("link", b"", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", b"", tarfile.LNKTYPE, "../x"),
        member("pipe", b"", tarfile.FIFOTYPE),
        member("device", b"", tarfile.CHRTYPE),
    ],
    ids=lambda bad: f"{bad[0].name}-{bad[0].type!r}",
)
def test_what_could_reach_outside_is_refused_and_nothing_stays(
    tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]
) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    archive = tar_with(tmp_path / "bad.tgz", member("good.txt"), bad)
    with pytest.raises(ModelError, match=r"bad\.tgz: holds .*not unpacked"):
        unpack(archive, folder / "out")
    assert everything_below(tmp_path) == ["bad.tgz", "deep", "deep/down"]


def test_size_is_limited(tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "big.tgz", member("a", bytes(600)), member("b", bytes(600)))
    with pytest.raises(ModelError, match="more than 1,000 bytes"):
        unpack(archive, tmp_path / "out", size_limit=1000)
    assert everything_below(tmp_path) == ["big.tgz"]
    unpack(archive, tmp_path / "out", size_limit=1200)


def test_what_stands_behind_the_end_has_a_bound(tmp_path: Path) -> None:
    """A few kilobytes of gzip behind the last member can hold gigabytes."""
    plain = tar_with(tmp_path / "a.tar", member("a", b"x"), mode="w").read_bytes()
    archive = tmp_path / "a.tgz"
    archive.write_bytes(gzip.compress(plain + bytes(5 << 20)))
    with pytest.raises(ModelError, match="unpacks to more than 2,000,000 bytes"):
        unpack(archive, tmp_path / "out", size_limit=2_000_000)
    assert not (tmp_path / "out").exists()
    unpack(archive, tmp_path / "out", size_limit=6_000_000)


@pytest.mark.parametrize("keep", [0, 10, 60, 0.5, 0.99])
def test_a_cut_archive_is_refused(tmp_path: Path, keep: float) -> None:
    whole = tar_with(tmp_path / "a.tgz", member("a", bytes(range(256)) * 400)).read_bytes()
    archive = tmp_path / "cut.tgz"
    archive.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    with pytest.raises(ModelError, match=r"cut\.tgz"):
        unpack(archive, tmp_path / "out")
    assert everything_below(tmp_path) == ["a.tgz", "cut.tgz"]


def test_a_changed_byte_is_noticed_by_gzip(tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "a.tgz", member("a", bytes(range(256)) * 400))
    data = bytearray(archive.read_bytes())
    data[-6] ^= 1  # in gzip's checksum
    archive.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        unpack(archive, tmp_path / "out")
    assert everything_below(tmp_path) == ["a.tgz"]
