"""Lists of files as people and programs write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fvcli.errors import ImageError, UsageError
from fvcli.sources import named
from fvcli.sources.named import NameSplitter, read_listing
from fvcli.sources.read import read
from tests.helpers.trees import JPEG_START, found, make


def listed(tmp_path: Path, data: bytes, null_separated: bool = False) -> list[str]:
    (tmp_path / "list").write_bytes(data)
    return [path for path, _ in read_listing(str(tmp_path / "list"), null_separated)]


@pytest.mark.parametrize(
    "data",
    [
        b"a.jpg\nb c.jpg\n",
        b"a.jpg\r\nb c.jpg\r\n",
        b"\xef\xbb\xbfa.jpg\r\nb c.jpg",
        b"b c.jpg\n\n\na.jpg\nb c.jpg\n",
    ],
)
def test_line_ends_and_byte_order_marks_are_no_part_of_names(tmp_path: Path, data: bytes) -> None:
    assert listed(tmp_path, data) == ["a.jpg", "b c.jpg"]


def test_names_that_end_in_nul_keep_every_other_byte(tmp_path: Path) -> None:
    assert listed(tmp_path, b"a\r\0b\nc\0", null_separated=True) == ["a\r", "b\nc"]


def test_file_uris_are_paths(tmp_path: Path) -> None:
    make(tmp_path, "a b.jpg", b"\xff.jpg")
    (tmp_path / "list").write_text(f"file://{tmp_path}/a%20b.jpg\nfile://localhost{tmp_path}/%FF.jpg\n")
    refs = found(files_from=str(tmp_path / "list"))
    assert [read(ref).data for ref in refs] == [JPEG_START] * 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a.jpg\nb.jpg\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0H", r"is an image \(JPEG\)"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"is an image \(PNG\)"),
        (b"a.jpg\0b.jpg\0", "add -0"),
        (b"\0" * 5000, "NUL"),
    ],
)
def test_what_is_no_list_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        listed(tmp_path, data)


def test_names_that_begin_as_images_do_are_names(tmp_path: Path) -> None:
    assert listed(tmp_path, b"BM.jpg\nGIF89a.gif\n") == ["BM.jpg", "GIF89a.gif"]
    assert listed(tmp_path, b"BM.jpg\0GIF89a.gif\0", null_separated=True) == ["BM.jpg", "GIF89a.gif"]


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
def test_names_across_the_borders_of_blocks_are_whole(size: int) -> None:
    names = [b"name-%05d-" % number + b"x" * (number % 50) + b".jpg" for number in range(3000)]
    data = b"\r\n".join(names)
    splitter = NameSplitter(False)
    cut = [name for at in range(0, len(data), size) for name in splitter.feed(data[at : at + size])]
    assert cut + splitter.end() == names


def test_more_names_than_are_looked_at_together_are_all_looked_at(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number:04}.jpg" for number in range(0, 2500, 2)))
    (tmp_path / "list").write_text("".join(f"{tmp_path}/{number:04}.jpg\n" for number in range(2500)))
    refs = found(files_from=str(tmp_path / "list"))
    assert len(refs) == 2500
    assert [ref.size_bytes for ref in refs] == [len(JPEG_START), -1] * 1250


def test_a_line_without_an_end_and_a_list_without_one_have_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="name of more than"):
        listed(tmp_path, b"x" * (1 << 20) + b"xxxx")
    monkeypatch.setattr(named, "_LONGEST_LIST", 1000)
    with pytest.raises(UsageError, match="split it"):
        listed(tmp_path, b"a.jpg\n" * 1000)
    with pytest.raises(UsageError, match="split it"):
        listed(tmp_path, b"\0" * 2000, null_separated=True)


@pytest.mark.parametrize("line", ["s3://", "s3:///key", "gs://", "s3://user:the-secret@bucket/a.jpg"])
def test_an_address_that_means_nothing_is_one_failure(tmp_path: Path, line: str) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "list").write_text(f"{line}\n{tmp_path}/a.jpg\n")
    first, second = found(files_from=str(tmp_path / "list"))
    assert read(first).data == JPEG_START
    with pytest.raises(ImageError) as raised:
        read(second)
    assert raised.value.kind == "BadAddress"
    assert "the-secret" not in f"{raised.value} {second}"
