"""Updates: only what is new or changed is extracted, and the result is that of a fresh extraction."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from fvcli.errors import DatasetError, StoppedError, UsageError
from fvcli.records import Limit, Preprocessing
from fvcli.sources.discover import Sources
from tests.helpers import contents, pictures
from tests.helpers.in_process import Bench, opened

LATER = pictures.SOME_TIME_NS + 10**9


def inodes(features: Path) -> dict[str, int]:
    return {name: (features / name).stat().st_ino for name in contents.data_files(features)}


def fresh_rows(bench: Bench) -> dict[tuple[str, str], contents.Row]:
    """The rows of a fresh extraction of the photographs as they are now."""
    output = bench.features.with_name("fresh")
    shutil.rmtree(output, ignore_errors=True)
    bench.extract(output=output)
    return contents.rows(output)


def counts(**some: int) -> dict[str, int]:
    """All counts: those not given are 0."""
    names = ("discovered", "extracted", "reused", "failed", "stale", "elsewhere", "pruned", "rows")
    return {name: some.get(name, 0) for name in names}


def test_a_second_run_computes_and_writes_nothing_but_its_history(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(25))
    pictures.put(bench.photographs, "broken.png", pictures.broken(99))
    assert bench.extract() == 25
    before = {file: file.stat().st_mtime_ns for file in bench.features.rglob("*") if file.is_file()}

    assert bench.extract() == 0

    written = {
        file.name for file in bench.features.rglob("*") if file.is_file() and before[file] != file.stat().st_mtime_ns
    }
    assert written == {"manifest.json", "lock"}
    assert bench.counts() == counts(discovered=26, reused=25, failed=1, rows=25)
    assert len(contents.manifest(bench.features)["runs"]) == 2  # type: ignore[index]


def test_only_added_files_are_extracted_and_other_shards_stay_as_they_are(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(0, 60, 2))
    bench.extract()
    before = inodes(bench.features)
    pictures.make_folder(bench.photographs, (21, 23, 25))

    assert bench.extract() == 3

    kept = {name for name, inode in inodes(bench.features).items() if before.get(name) == inode}
    assert len(before) == 3
    assert len(kept) == 2, "one of three shards has changed"
    assert contents.rows(bench.features) == fresh_rows(bench)
    assert bench.counts() == counts(discovered=33, extracted=3, reused=30, rows=33)


def test_a_replaced_file_is_extracted_anew(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(12))
    bench.extract()
    pictures.put(bench.photographs, "0005.png", pictures.picture(500), LATER)
    assert bench.extract() == 1
    assert contents.rows(bench.features) == fresh_rows(bench)


def test_a_replaced_file_of_the_same_size_is_noticed_by_its_time(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(4))
    bench.extract()
    size = (bench.photographs / "0002.png").stat().st_size
    other = next(data for data in map(pictures.picture, range(900, 1000)) if len(data) <= size)
    pictures.put(bench.photographs, "0002.png", other.ljust(size, b"\0"), LATER)  # PNG ends before the padding
    assert bench.extract() == 1
    assert contents.rows(bench.features) == fresh_rows(bench)


def test_a_touched_file_costs_no_inference(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(12))
    bench.extract()
    before = bench.rows()["0005.png"]
    os.utime(bench.photographs / "0005.png", ns=(LATER, LATER))
    assert bench.extract() == 0
    after = bench.rows()["0005.png"]
    assert (after.mtime_ns, after.vector) == (LATER, before.vector)
    assert bench.counts()["reused"] == 12


def test_a_renamed_or_copied_file_costs_no_inference(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(25))
    bench.extract()
    (bench.photographs / "0003.png").rename(bench.photographs / "zzz.png")
    shutil.copy(bench.photographs / "0004.png", bench.photographs / "below.png")
    assert bench.extract(prune=True) == 0
    assert contents.rows(bench.features) == fresh_rows(bench)


def test_contents_that_come_twice_in_one_run_are_both_extracted_alike(bench: Bench) -> None:
    pictures.put(bench.photographs, "a.png", pictures.picture(1))
    pictures.put(bench.photographs, "b.png", pictures.picture(1))
    bench.extract()
    assert bench.rows()["a.png"] == bench.rows()["b.png"]


def test_rows_of_deleted_files_stay_until_pruned(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(25))
    bench.extract()
    for number in (0, 7, 8, 24):
        (bench.photographs / f"{number:04d}.png").unlink()

    assert bench.extract() == 0
    assert bench.counts() == counts(discovered=21, reused=21, stale=4, rows=25)

    assert bench.extract(prune=True) == 0
    assert bench.counts() == counts(discovered=21, reused=21, pruned=4, rows=21)
    assert contents.rows(bench.features) == fresh_rows(bench)
    assert bench.damages() == []


def test_pruning_everything_leaves_a_valid_empty_dataset(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(12))
    bench.extract()
    for file in bench.photographs.iterdir():
        file.unlink()
    bench.extract(prune=True, prune_limit=Limit(100, True))
    assert contents.state(bench.features).files == {}
    assert bench.damages() == []
    pictures.make_folder(bench.photographs, range(3))
    assert bench.extract() == 3
    assert contents.rows(bench.features) == fresh_rows(bench)


def test_a_file_replaced_by_a_broken_one_loses_its_row_and_is_a_failure(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(12))
    bench.extract()
    pictures.put(bench.photographs, "0005.png", pictures.broken(5), LATER)
    bench.extract()
    assert "0005.png" not in bench.rows()
    assert bench.failed() == {"0005.png": "decode"}
    assert bench.counts() == counts(discovered=12, reused=11, failed=1, rows=11)

    pictures.put(bench.photographs, "0005.png", pictures.picture(5), LATER + 1)
    assert bench.extract() == 1
    assert bench.failed() == {}
    assert contents.rows(bench.features) == fresh_rows(bench)


def test_a_failed_file_is_tried_again_when_it_has_changed_or_on_demand(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures.make_folder(bench.photographs, range(3))
    pictures.put(bench.photographs, "broken.png", pictures.broken(9))
    pictures.put(bench.photographs, "wrong.png", pictures.broken(10))
    bench.extract()
    assert set(bench.failed()) == {"broken.png", "wrong.png"}
    read = opened(monkeypatch, b".png")

    bench.extract()
    assert read == []
    pictures.put(bench.photographs, "broken.png", pictures.picture(9), LATER)
    bench.extract()
    assert read == ["broken.png"]
    assert set(bench.failed()) == {"wrong.png"}
    read.clear()
    bench.extract(retry_failed=True)
    assert read == ["wrong.png"]
    assert bench.counts()["failed"] == 1


def test_failures_of_several_runs_are_one_list_in_the_order_of_inputs(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(3))
    for names in ("dg", "beh", "acfi"):
        for name in names:
            pictures.put(bench.photographs, f"{name}.png", pictures.broken(ord(name)))
        assert bench.extract() in (0, 3)
    assert [line["path"] for line in contents.failures(bench.features)] == [f"{name}.png" for name in "abcdefghi"]


def test_failures_of_files_that_are_gone_are_forgotten(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(3))
    pictures.put(bench.photographs, "broken.png", pictures.broken(9))
    bench.extract()
    (bench.photographs / "broken.png").unlink()
    bench.extract()
    assert bench.failed() == {}
    assert not list((bench.features / "failures").iterdir())
    assert bench.damages() == []


def test_overwriting_keeps_the_old_dataset_readable_until_the_new_one_is_whole(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(35))
    bench.extract()
    before = contents.state(bench.features)
    states: list[contents.State] = []

    def look(done: int) -> None:
        states.append(contents.state(bench.features))

    assert bench.extract(overwrite=True, dtype="float16", meanwhile=look) == 35
    assert len(states) > 3
    assert all(state == before for state in states)
    assert contents.manifest(bench.features)["dtype"] == "float16"  # type: ignore[index]
    assert bench.counts() == counts(discovered=35, extracted=35, rows=35)
    shards = contents.manifest(bench.features)["shards"]  # type: ignore[index]
    assert [(shard["number"], shard["rows"]) for shard in shards] == [(0, 10), (1, 10), (2, 10), (3, 5)]
    assert bench.damages() == []


def test_an_update_shows_nothing_before_it_is_whole_and_leaves_open_files_to_their_readers(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    before = contents.state(bench.features)
    pictures.make_folder(bench.photographs, range(100, 130))
    pictures.put(bench.photographs, "0000.png", pictures.picture(500), LATER)
    readers = {name: (bench.features / name).open("rb") for name in before.files}
    sizes = {name: (bench.features / name).stat().st_size for name in before.files}

    def look(done: int) -> None:
        assert contents.state(bench.features) == before

    bench.extract(meanwhile=look)
    for name, reader in readers.items():
        with reader:
            assert len(reader.read()) == sizes[name]
    assert contents.rows(bench.features) == fresh_rows(bench)


@pytest.mark.parametrize("added", [1, 14, 16, 35, 120])
def test_a_shard_that_grows_is_cut_and_order_is_kept(bench: Bench, added: int) -> None:
    pictures.make_folder(bench.photographs, range(0, 3000, 100))
    bench.extract()
    pictures.make_folder(bench.photographs, range(9000, 9000 + added), name="1100-{:04d}.png")
    assert bench.extract() == added
    values = contents.manifest(bench.features)
    assert values is not None
    assert max(shard["rows"] for shard in values["shards"]) <= 15, "at most one and a half shard sizes"
    numbers = [shard["number"] for shard in values["shards"]]
    assert len(set(numbers)) == len(numbers)
    assert contents.rows(bench.features) == fresh_rows(bench)
    assert bench.damages() == []


def test_of_a_shard_that_grows_by_far_full_ones_are_planned_before_all_of_it_is_seen(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(10))
    bench.extract()
    pictures.make_folder(bench.photographs, range(100, 134))
    bench.extract()
    shards = contents.manifest(bench.features)["shards"]  # type: ignore[index]
    assert [shard["rows"] for shard in shards] == [10, 10, 12, 12], "all at once would be cut into four of eleven"


def test_inputs_before_the_first_and_after_the_last_row_find_their_place(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(100, 120))
    bench.extract()
    pictures.make_folder(bench.photographs, (1, 2, 900, 901))
    bench.extract()
    assert contents.rows(bench.features) == fresh_rows(bench)


@pytest.mark.slow
def test_any_sequence_of_changes_ends_as_a_fresh_extraction(bench: Bench) -> None:
    """Added, replaced, renamed, copied, touched, broken and deleted at random, twenty updates one after another."""
    rng = random.Random(5)
    pictures.make_folder(bench.photographs, range(40))
    bench.extract()
    for step in range(20):
        for _ in range(rng.randrange(0, 8)):
            files = sorted(file for file in bench.photographs.rglob("*.png"))
            some = rng.choice(files)
            time = LATER + step * 10**6
            match rng.randrange(7):
                case 0:
                    name = f"{rng.randrange(100):04d}-{step}.png"
                    pictures.put(bench.photographs, name, pictures.picture(rng.randrange(10**6)))
                case 1:
                    pictures.put(bench.photographs, some.name, pictures.picture(rng.randrange(10**6)), time)
                case 2:
                    some.rename(bench.photographs / f"{rng.randrange(10**6)}.png")
                case 3:
                    shutil.copy2(some, bench.photographs / f"copy-{rng.randrange(10**6)}.png")
                case 4:
                    os.utime(some, ns=(time, time))
                case 5:
                    pictures.put(bench.photographs, some.name, pictures.broken(rng.randrange(10**6)), time)
                case 6 if len(files) > 5:
                    some.unlink()
        bench.extract(prune=True)
        assert contents.rows(bench.features) == fresh_rows(bench)
        assert {line["path"] for line in contents.failures(bench.features)} == {
            line["path"] for line in contents.failures(bench.features.with_name("fresh"))
        }
        assert bench.damages() == []


def test_other_sources_over_an_unfinished_run_keep_what_it_had_finished(bench: Bench, tmp_path: Path) -> None:
    pictures.make_folder(bench.photographs, range(30))
    other = pictures.make_folder(tmp_path / "other", range(500, 505))
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: signal.SIGTERM if done >= 15 else None)

    assert bench.extract(sources=Sources((str(other),))) == 5

    rows = contents.rows(bench.features)
    assert {path for root, path in rows if root == str(other)} == {f"{number:04d}.png" for number in range(500, 505)}
    assert len([root for root, _ in rows if root == str(bench.photographs)]) == 10, "the shard that was committed"
    assert bench.counts()["elsewhere"] == 10
    assert bench.extract() == 20
    assert bench.damages() == []


def test_an_unfinished_overwriting_is_forgotten_by_a_plain_run(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    before = contents.state(bench.features)
    with pytest.raises(StoppedError):
        bench.extract(overwrite=True, dtype="float16", meanwhile=lambda done: signal.SIGTERM if done >= 15 else None)
    assert bench.extract() == 0
    assert contents.state(bench.features).files == before.files


def test_an_unfinished_overwriting_goes_on_when_it_is_asked_for_again(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    with pytest.raises(StoppedError):
        bench.extract(overwrite=True, meanwhile=lambda done: signal.SIGTERM if done >= 15 else None)
    assert bench.extract(overwrite=True) == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float16"}, ("float32", "float16")),
        ({"format": "npy"}, ("parquet", "npy")),
        ({"preprocessing": Preprocessing(fit="crop")}, ("squash", "crop")),
        (
            {"preprocessing": Preprocessing(decode="exact", resize="lanczos")},
            ("fast", "exact", Preprocessing().resize, "lanczos"),
        ),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_recipe_is_refused_with_both_sides_named(
    bench: Bench, options: dict[str, object], said: tuple[str, ...], finished: bool
) -> None:
    pictures.make_folder(bench.photographs, range(30))
    if finished:
        bench.extract()
    else:
        with pytest.raises(StoppedError):
            bench.extract(meanwhile=lambda done: signal.SIGTERM if done >= 15 else None)
    before = contents.data_files(bench.features)
    with pytest.raises(DatasetError) as refusal:
        bench.extract(**options)
    assert refusal.value.exit_code == 1
    for word in said:
        assert word in str(refusal.value)
    assert contents.data_files(bench.features) == before


def test_another_model_is_refused(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(3))
    bench.extract()
    bench.model.identity = "f" * 64
    with pytest.raises(DatasetError, match="f" * 12):
        bench.extract()


def test_rows_below_a_folder_that_cannot_be_listed_are_not_pruned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose disk has a bad moment is not one whose files are gone."""
    pictures.make_folder(bench.photographs, range(3))
    for number in range(12):
        pictures.put(bench.photographs, f"below/{number:02d}.png", pictures.picture(100 + number))
    pictures.put(bench.photographs, "below-zero.png", pictures.picture(300))
    pictures.put(bench.photographs, "later.png", pictures.picture(301))
    bench.extract()
    listing = os.scandir

    def failing(location: str) -> Any:
        if str(location).endswith("/below/"):
            raise PermissionError(13, "Permission denied")
        return listing(location)

    monkeypatch.setattr(os, "scandir", failing)
    (bench.photographs / "below-zero.png").unlink()
    (bench.photographs / "later.png").unlink()
    bench.extract(prune=True)
    assert sum(path.startswith("below/") for path in bench.rows()) == 12
    assert not {"below-zero.png", "later.png"} & bench.rows().keys(), "they come before and after the folder"
    assert bench.failed() == {"below/": "read"}
    assert bench.counts()["elsewhere"] == 12

    monkeypatch.undo()
    # The fixture's own patch went with it: the model is put back by hand.
    from fvcli.run import extract as extraction

    monkeypatch.setattr(extraction, "load_model", lambda name, engine: bench.model)
    assert bench.extract(prune=True) == 0
    assert bench.failed() == {}
    assert bench.counts()["elsewhere"] == 0


def test_a_source_that_is_gone_changes_nothing(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(12))
    bench.extract()
    before = contents.state(bench.features)
    shutil.move(bench.photographs, bench.photographs.with_name("elsewhere"))
    with pytest.raises(UsageError):
        bench.extract(prune=True)
    assert contents.state(bench.features) == before


def test_a_name_that_takes_over_another_ones_stand_in_gets_its_own_row(bench: Bench) -> None:
    odd = os.path.join(os.fsencode(bench.photographs), b"caf\xe9.png")
    with open(odd, "wb") as file:
        file.write(pictures.picture(1))
    os.utime(odd, ns=(pictures.SOME_TIME_NS,) * 2)
    bench.extract()
    os.link(odd, os.path.join(os.fsencode(bench.photographs), rb"caf\xe9.png"))
    bench.extract()
    assert contents.rows(bench.features) == fresh_rows(bench)
    assert sorted(row.path_bytes or b"" for row in bench.rows().values()) == [b"", b"caf\xe9.png"]


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_numbers_of_shards_are_never_used_twice(bench: Bench, format: str) -> None:
    pictures.make_folder(bench.photographs, range(0, 60, 2))
    bench.extract(format=format)
    for number in range(40, 60, 2):  # the last shard as a whole
        (bench.photographs / f"{number:04d}.png").unlink()
    bench.extract(format=format, prune=True)
    pictures.make_folder(bench.photographs, range(1, 39, 2))  # the others split
    bench.extract(format=format)
    values = contents.manifest(bench.features)
    assert values is not None
    numbers = [shard["number"] for shard in values["shards"]]
    assert len(numbers) == len(set(numbers)) == 4
    for shard in values["shards"]:
        for file in (shard, shard["metadata"]) if format == "npy" else (shard,):
            assert f"{shard['number']:05d}-{file['sha256'][:8]}" in file["file"]
    assert bench.damages() == []
    assert contents.rows(bench.features) == fresh_rows(bench)


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_bytes_of_names_survive_updates(bench: Bench, format: str) -> None:
    folder = os.fsencode(bench.photographs)
    odd = {b"caf\xe9.png": pictures.picture(1), b"\xff/x.png": pictures.picture(2), b"bad\xfe.png": pictures.broken(3)}
    os.mkdir(os.path.join(folder, b"\xff"))
    for name, data in odd.items():
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(data)
    pictures.make_folder(bench.photographs, range(5))
    bench.extract(format=format)
    for number in range(3):
        pictures.put(bench.photographs, f"d{number}.png", pictures.picture(50 + number))
        bench.extract(format=format)
    assert {row.path_bytes for row in contents.rows(bench.features).values()} == {None, b"caf\xe9.png", b"\xff/x.png"}
    (line,) = contents.failures(bench.features)
    assert bytes.fromhex(line["path_bytes"]) == b"bad\xfe.png"
    assert bench.extract(format=format, retry_failed=True) == 0


def test_an_interrupted_update_that_splits_a_shard_is_published_in_whole_shards(bench: Bench, tmp_path: Path) -> None:
    pictures.make_folder(bench.photographs, range(0, 40, 2))
    bench.extract()
    before = contents.rows(bench.features)
    pictures.make_folder(bench.photographs, range(1, 41, 2))
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: signal.SIGTERM if done >= 15 else None)
    other = pictures.make_folder(tmp_path / "other", range(500, 503))
    bench.extract(sources=Sources((str(other),)))
    found = bench.counts()
    rows = contents.rows(bench.features)
    assert len(rows) == found["rows"] == found["elsewhere"] + 3
    assert {key: row for key, row in rows.items() if key in before} == before
    assert bench.damages() == []
    bench.extract()
    assert {key: row for key, row in contents.rows(bench.features).items() if "other" not in key[0]} == fresh_rows(
        bench
    )
