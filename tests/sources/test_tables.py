"""Parquet tables with images as sources."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fvcli.errors import ImageError
from fvcli.records import ImageRef
from fvcli.sources.read import read
from tests.helpers.trees import found, names, passed_over

JPEG = b"\xff\xd8\xff\xe0 picture "


def write(path: Path, rows_per_group: int = 100, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    return path


def images(count: int) -> list[bytes]:
    return [JPEG + str(number).encode() * (number % 7 + 1) for number in range(count)]


def error_of(ref: ImageRef) -> ImageError:
    with pytest.raises(ImageError) as raised:
        read(ref)
    return raised.value


def test_a_column_as_the_hub_has_it_gives_its_images_by_path(tmp_path: Path) -> None:
    data = images(250)
    order = random.Random(1).sample(range(250), 250)
    column = [{"bytes": data[number], "path": f"{number:03}.jpg"} for number in order]
    table = write(tmp_path / "train.parquet", label=[1] * 250, image=column)
    refs = found(table)
    assert [ref.path for ref in refs] == [f"{table}!{number:03}.jpg" for number in range(250)]
    assert [read(ref).data for ref in refs] == data
    assert {ref.mtime_ns for ref in refs} == {table.stat().st_mtime_ns}
    assert read(refs[7]).size_bytes == len(data[7])
    assert read(ImageRef("", refs[200].path)).data == data[200]  # by name alone, as a dataset's rows know it


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_rows_without_paths_are_called_by_their_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    write(tmp_path / "x.parquet", 5, other=[b"no image"] * 12, jpg=pa.array(images(12), kind))
    refs = found(tmp_path)
    assert [ref.path for ref in refs] == sorted(f"x.parquet!{number}" for number in range(12))
    assert {ref.path: read(ref).data for ref in refs} == {
        f"x.parquet!{number}": data for number, data in enumerate(images(12))
    }


def test_a_column_of_names_is_taken_where_every_row_has_its_own(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", image=images(2), file_name=["x.jpg", "y.jpg"], name=["u", "v"])
    write(tmp_path / "b.parquet", image=images(2), file_name=["x.jpg", "x.jpg"])
    write(tmp_path / "c.parquet", image=[{"bytes": data, "path": None} for data in images(2)])
    assert names(tmp_path) == [
        "a.parquet!x.jpg",
        "a.parquet!y.jpg",
        "b.parquet!0",
        "b.parquet!1",
        "c.parquet!0",
        "c.parquet!1",
    ]


def test_rows_without_an_image_are_failures(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", image=[images(1)[0], None, b""])
    assert [error_of(ref).kind for ref in found(tmp_path)[1:]] == ["Empty", "Empty"]


def test_tables_of_other_things_are_passed_over_and_told(tmp_path: Path) -> None:
    write(tmp_path / "numbers.parquet", x=[1, 2])
    write(tmp_path / "blobs.parquet", path_bytes=[None, b"caf\xe9.jpg"], embedding=[[1.0], [2.0]])
    write(tmp_path / "none.parquet", image=pa.array([], pa.binary()))
    assert found(tmp_path) == []
    assert passed_over(tmp_path) == {".parquet": 3}


def test_a_damaged_table_is_one_failure(tmp_path: Path) -> None:
    table = write(tmp_path / "x.parquet", image=images(50))
    table.write_bytes(table.read_bytes()[:-20])
    (ref,) = found(tmp_path)
    assert (ref.path, error_of(ref).kind) == ("x.parquet!", "DamagedArchive")


def test_damage_anywhere_never_escapes(tmp_path: Path) -> None:
    whole = write(tmp_path / "x.parquet", 10, image=images(30)).read_bytes()
    for at in range(0, len(whole), 17):
        data = bytearray(whole)
        data[at] ^= 0x55
        (tmp_path / "x.parquet").write_bytes(data)
        refs = found(tmp_path)
        assert len(refs) == 30 or [ref.path for ref in refs] == ["x.parquet!"], f"rows are lost, at byte {at}"
        for ref in refs:
            with suppress(ImageError):
                read(ref)


def test_a_table_written_again_after_it_was_listed_is_not_read_by_old_numbers(tmp_path: Path) -> None:
    table = write(tmp_path / "x.parquet", image=images(3))
    refs = found(table)
    write(table, image=images(2)[::-1])
    assert {error_of(ref).kind for ref in refs} == {"Changed"}


def test_no_room_for_temporary_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    write(tmp_path / "x.parquet", image=images(3))
    (ref, *_) = found(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert "TMPDIR" in str(error_of(ref))


def test_tables_that_unpack_to_far_more_than_they_have_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fvcli.sources import tables

    image = JPEG + b"\0" * 20_000
    write(tmp_path / "x.parquet", 1000, image=[image] * 500)  # Parquet keeps equal values once
    assert (tmp_path / "x.parquet").stat().st_size < 50_000
    monkeypatch.setattr(tables, "_LEAST_LIMIT", 1_000_000)
    assert error_of(found(tmp_path)[0]).kind == "TooLarge"
    monkeypatch.setattr(tables, "_MOST_ROWS", 499)
    (ref,) = found(tmp_path)
    assert (ref.path, error_of(ref).kind) == ("x.parquet!", "DamagedArchive")
