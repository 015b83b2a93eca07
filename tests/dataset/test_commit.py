"""Remains of crashes, other programs and people, and how the next command treats them."""

from __future__ import annotations

import json
import shutil
import signal

import pyarrow.parquet as pq
import pytest

from fvcli.dataset import columns, lock, reader, shard_file, standing, verify
from fvcli.dataset.store import LocalStore
from fvcli.errors import DatasetError, StoppedError
from fvcli.run import tasks
from tests.helpers import contents, pictures
from tests.helpers.in_process import Bench, opened

LATER = pictures.SOME_TIME_NS + 10**9


@pytest.fixture
def undisturbed(bench: Bench) -> contents.State:
    """Thirty photographs, and what their extraction gives; no dataset yet."""
    pictures.make_folder(bench.photographs, range(30))
    bench.extract(output=bench.features.with_name("undisturbed"))
    return contents.state(bench.features.with_name("undisturbed"))


def stop_after(bench: Bench, done: int, **options: object) -> None:
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda count: signal.SIGTERM if count >= done else None, **options)


def left(bench: Bench) -> set[str]:
    """Files of the run's own that are still there."""
    return {file.name for file in (bench.features / ".fvcli").rglob("*") if file.is_file()} - {"lock"}


def test_a_stopped_run_goes_on_where_it_was(bench: Bench, undisturbed: contents.State) -> None:
    stop_after(bench, 25)
    assert contents.check_moment(bench.features) == "first run"
    assert len(contents.data_files(bench.features)) == 2
    assert bench.extract() == 10, "only the shard that was in work is repeated"
    assert contents.state(bench.features) == undisturbed
    assert left(bench) == set()


def test_a_finished_shard_whose_file_is_gone_is_redone(bench: Bench, undisturbed: contents.State) -> None:
    stop_after(bench, 25)
    next((bench.features / "data").iterdir()).unlink()
    assert bench.extract() == 20
    assert bench.notes == ["done again: finished shards that are gone or damaged (1)"]
    assert contents.state(bench.features) == undisturbed


def test_a_finished_shard_whose_file_is_cut_is_redone(bench: Bench, undisturbed: contents.State) -> None:
    stop_after(bench, 25)
    file = next((bench.features / "data").iterdir())
    file.write_bytes(file.read_bytes()[:-10])
    assert bench.extract() == 20
    assert contents.state(bench.features) == undisturbed


def test_a_shard_that_counts_is_shown_first_where_a_crash_came_between(
    bench: Bench, undisturbed: contents.State
) -> None:
    stop_after(bench, 25)
    file = next((bench.features / "data").iterdir())
    file.rename(bench.features / ".fvcli" / "staging" / file.name)
    shown: list[bool] = []
    assert bench.extract(meanwhile=lambda done: shown.append(file.exists())) == 10
    assert set(shown) == {True}, "readers of a first run see each shard that is done"
    assert contents.state(bench.features) == undisturbed


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"plan": 1}', b"\xff\xfe"])
def test_a_torn_commit_record_counts_as_none(bench: Bench, undisturbed: contents.State, damage: bytes) -> None:
    stop_after(bench, 25)
    next((bench.features / ".fvcli" / "commits").iterdir()).write_bytes(damage)
    assert bench.extract() == 20
    assert bench.notes == ["done again: finished shards that are gone or damaged (1)"]
    assert contents.state(bench.features) == undisturbed


def test_a_commit_record_of_another_plan_counts_as_none(bench: Bench, undisturbed: contents.State) -> None:
    stop_after(bench, 25)
    record = next((bench.features / ".fvcli" / "commits").iterdir())
    record.write_text(json.dumps({**json.loads(record.read_bytes()), "plan": "0123456789abcdef"}))
    assert bench.extract() == 20
    assert contents.state(bench.features) == undisturbed


@pytest.mark.parametrize("file", ["plan.json", "plan.arrow", "plan-failures.jsonl"])
@pytest.mark.parametrize("damage", [None, b"", b"[]", b"\xff\xfe{"])
def test_a_damaged_plan_is_made_again(
    bench: Bench, undisturbed: contents.State, file: str, damage: bytes | None
) -> None:
    stop_after(bench, 25)
    place = bench.features / ".fvcli" / file
    if damage is None:
        place.unlink()
    else:
        place.write_bytes(damage)
    if damage is not None and (file == "plan.arrow" or (file == "plan-failures.jsonl" and damage)):
        with pytest.raises(DatasetError, match=f"remove {bench.features}/.fvcli"):
            bench.extract()
        shutil.rmtree(bench.features / ".fvcli")
    bench.extract()
    dropped = [note for note in bench.notes if "an unfinished run, whose plan is damaged" in note]
    assert len(dropped) == ((file, damage is None) in {("plan.json", False), ("plan.arrow", True)})
    assert contents.state(bench.features) == undisturbed


def test_the_runs_own_folder_may_be_deleted_between_runs(bench: Bench, undisturbed: contents.State) -> None:
    stop_after(bench, 25)
    shutil.rmtree(bench.features / ".fvcli")
    assert bench.extract() == 30
    assert contents.state(bench.features) == undisturbed
    shutil.rmtree(bench.features / ".fvcli")
    assert bench.extract() == 0


def test_what_fvcli_did_not_write_is_left_alone(bench: Bench, undisturbed: contents.State) -> None:
    bench.extract()
    names = ("notes.txt", "data/part-mine.parquet", "data/part-00099-0123abcd.parquet.bak", "data/read me.md", "x.tmp")
    foreign = [bench.features / name for name in names]
    for file in foreign:
        file.write_text("mine")
    pictures.put(bench.photographs, "new.png", pictures.picture(700))
    bench.extract()
    bench.extract(overwrite=True)
    assert all(file.read_text() == "mine" for file in foreign)


def test_files_that_nothing_names_are_removed(bench: Bench, undisturbed: contents.State) -> None:
    bench.extract()
    orphans = [
        bench.features / "data" / "part-00099-0123abcd.parquet",
        bench.features / "failures" / "failures-00000-0123abcd.jsonl",
        bench.features / ".fvcli" / "staging" / "00003-77-deadbeef-data.parquet.tmp",
        bench.features / ".fvcli" / "plan.arrow.4711.tmp",
        bench.features / "manifest.json.4711.tmp",
    ]
    for file in orphans:
        file.parent.mkdir(exist_ok=True)
        file.write_text("orphan")
    bench.extract()
    assert not [file for file in orphans if file.exists()]


def test_an_update_planned_on_another_manifest_is_planned_again(bench: Bench) -> None:
    """Its rows to be carried over are those of the manifest it was planned on, and of no other."""
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    backup = bench.features.with_name("backup")
    shutil.copytree(bench.features, backup)
    for number in range(5):
        pictures.put(bench.photographs, f"000{number}-new.png", pictures.picture(800 + number))
    bench.extract()
    pictures.put(bench.photographs, "0000-newer.png", pictures.picture(900))
    pictures.put(bench.photographs, "0025-newer.png", pictures.picture(901))
    stop_after(bench, 1)
    assert (bench.features / ".fvcli" / "plan.json").exists()
    for name in ("manifest.json", "data"):  # somebody restores yesterday's backup
        place = bench.features / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        source = backup / name
        shutil.copytree(source, place) if source.is_dir() else shutil.copy2(source, place)

    bench.extract()

    fresh = bench.features.with_name("fresh")
    bench.extract(output=fresh)
    assert contents.rows(bench.features) == contents.rows(fresh)
    assert left(bench) == set()


def test_repairing_in_the_middle_of_an_update_is_no_harm(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    for number in (1, 11, 21):
        pictures.put(bench.photographs, f"{number:04d}-new.png", pictures.picture(800 + number))
    stop_after(bench, 1)
    shard = sorted((bench.features / "data").iterdir())[1]
    shard.write_bytes(b"PAR1" + shard.read_bytes()[4:-1] + b"X")
    assert [damage.shard for damage in verify.repair(LocalStore(bench.features))] == [1]

    assert bench.extract() == 10 + 3
    fresh = bench.features.with_name("fresh")
    bench.extract(output=fresh)
    assert contents.rows(bench.features) == contents.rows(fresh)
    assert bench.damages() == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema_version": 1}', b"\xff\xfe", b'{"schema_version": 2}'])
@pytest.mark.parametrize("file", ["manifest.json", ".fvcli/pending-manifest.json"])
def test_a_damaged_manifest_is_told_and_overwriting_starts_afresh(
    bench: Bench, undisturbed: contents.State, file: str, damage: bytes
) -> None:
    bench.extract()
    (bench.features / file).write_bytes(damage)
    with pytest.raises(DatasetError, match=f"{file} (is not a dataset's manifest|was written by a newer fvcli)"):
        bench.extract()
    assert len(contents.data_files(bench.features)) == 3, "nothing is removed on the word of a damaged manifest"
    bench.extract(overwrite=True)
    assert contents.state(bench.features) == undisturbed


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty"])
def test_an_update_over_a_damaged_shard_is_told_and_changes_nothing(bench: Bench, damage: str) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    shard = sorted((bench.features / "data").iterdir())[1]
    data = bytearray(shard.read_bytes())
    if damage == "missing":
        shard.unlink()
    elif damage == "flipped":
        for place in range(4, len(data), 50):
            data[place] ^= 0xFF
        shard.write_bytes(data)
    else:
        shard.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    before = {file.name: file.read_bytes() for file in (bench.features / "data").iterdir()}
    pictures.put(bench.photographs, "0015-new.png", pictures.picture(900))
    with pytest.raises(DatasetError) as told:
        bench.extract()
    assert shard.name in str(told.value)
    assert {file.name: file.read_bytes() for file in (bench.features / "data").iterdir()} == before
    verify.repair(LocalStore(bench.features))
    assert bench.extract() == 11
    fresh = bench.features.with_name("fresh")
    bench.extract(output=fresh)
    assert contents.rows(bench.features) == contents.rows(fresh)


def test_a_shard_that_vanishes_during_the_run_is_not_passed_over(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))

    def remove(done: int) -> None:
        if done > 20:
            for file in (bench.features / "data").glob("part-00000-*"):
                file.unlink()

    with pytest.raises(DatasetError, match="gone"):
        bench.extract(meanwhile=remove)
    assert bench.extract() == 10
    assert len(bench.rows()) == 30


def test_an_output_folder_that_vanishes_during_the_run_is_told(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    with pytest.raises(DatasetError, match="removed or unmounted"):
        bench.extract(meanwhile=lambda done: shutil.rmtree(bench.features, ignore_errors=True) if done > 12 else None)
    assert bench.extract() == 30


def test_a_shard_says_what_it_is_without_a_manifest(bench: Bench, undisturbed: contents.State) -> None:
    bench.extract()
    files = list((bench.features / "data").iterdir())
    assert len(files) == len(undisturbed.files)
    for file in files:
        said = json.loads(pq.ParquetFile(file).schema_arrow.metadata[b"fvcli"])
        assert said["model"]["identity"] == bench.model.identity
        assert said["recipe"]["fit"] == "squash"


def split_a_shard(bench: Bench, **options: object) -> None:
    """A dataset of one shard, and an update that puts six in its place, of which it commits some."""
    pictures.make_folder(bench.photographs, range(0, 100, 10))
    bench.extract(**options)
    pictures.make_folder(bench.photographs, range(50))
    stop_after(bench, 25, batch_size=1, workers=1, **options)
    assert 0 < len(list((bench.features / ".fvcli" / "commits").iterdir())) < 6


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_an_update_that_splits_a_shard_goes_on(bench: Bench, format: str) -> None:
    split_a_shard(bench, format=format)
    assert len(bench.rows()) == 10, "the old shard is there until the new ones are"
    bench.extract(format=format)
    assert len(bench.rows()) == 55
    assert bench.damages() == []
    bench.extract(output=bench.features.with_name("fresh"), format=format)
    assert contents.rows(bench.features) == contents.rows(bench.features.with_name("fresh"))


def test_another_request_publishes_no_part_of_a_split_shard(bench: Bench) -> None:
    split_a_shard(bench)
    with pytest.raises(StoppedError):  # what the first update committed is published, then the second is stopped
        bench.extract(prune=True, meanwhile=lambda count: signal.SIGTERM)
    assert len(bench.rows()) == 10, "parts of a shard that stand for it together count together"
    counts = bench.counts()
    assert (counts["discovered"], counts["reused"], counts["extracted"]) == (10, 10, 0)
    assert bench.damages() == []
    bench.extract(prune=True)
    assert len(bench.rows()) == 55
    assert bench.damages() == []


def test_an_interrupted_overwrite_is_never_published(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    before = contents.state(bench.features)
    pictures.put(bench.photographs, "0003.png", pictures.picture(77), LATER)
    stop_after(bench, 15, overwrite=True, batch_size=1, workers=1)
    assert contents.state(bench.features) == before
    assert bench.extract() == 1, "what the other request committed is not taken for the dataset"
    assert len(bench.rows()) == 30


def test_a_resumed_overwrite_ends(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    stop_after(bench, 15, overwrite=True, batch_size=1, workers=1)
    assert bench.extract(overwrite=True) == 20
    assert bench.extract() == 0


def test_a_resumed_retry_tries_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.make_folder(bench.photographs, range(20))
    for number in range(3):
        pictures.put(bench.photographs, f"{number:04d}-broken.png", pictures.broken(number))
    bench.extract()
    pictures.make_folder(bench.photographs, range(20, 40))
    tried = opened(monkeypatch, b"-broken.png")
    stop_after(bench, 15, retry_failed=True, batch_size=1, workers=1)
    assert sorted(tried) == [f"{number:04d}-broken.png" for number in range(3)]
    bench.extract(retry_failed=True)
    assert bench.counts()["failed"] == 3
    assert len(bench.rows()) == 40
    assert len(tried) == 3, "those that have just failed are not tried once more"


def test_overwriting_takes_no_old_vector_over(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(12))
    bench.extract()
    assert bench.extract(overwrite=True) == 12


def test_a_shard_of_several_row_groups_is_carried_over_whole(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (columns, reader, shard_file):
        monkeypatch.setattr(module, "ROW_GROUP", 20)
    pictures.make_folder(bench.photographs, range(50))
    assert bench.extract(shard_size=1000) == 50
    pictures.put(bench.photographs, "0025-new.png", pictures.picture(700))
    assert bench.extract(shard_size=1000) == 1
    (shard,) = (bench.features / "data").iterdir()
    assert pq.ParquetFile(shard).num_row_groups == 3
    assert len(bench.rows()) == 51
    assert bench.damages() == []
    bench.extract(shard_size=1000, output=bench.features.with_name("fresh"))
    assert contents.rows(bench.features) == contents.rows(bench.features.with_name("fresh"))


def test_new_shards_have_numbers_of_their_own_after_pruning(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    for number in range(10, 20):
        (bench.photographs / f"{number:04d}.png").unlink()
    bench.extract(prune=True)
    pictures.make_folder(bench.photographs, range(20, 45))
    bench.extract()
    values = contents.manifest(bench.features)
    assert values is not None
    numbers = [shard["number"] for shard in values["shards"]]
    assert len(numbers) == len(set(numbers)) == 3


def test_the_notes_of_tasks_go_with_their_plan_and_their_locks_stay(bench: Bench) -> None:
    """A process that waits for a lock that is removed would hold another file."""
    pictures.make_folder(bench.photographs, range(12))
    stop_after(bench, 11)
    tasks_folder = bench.features / ".fvcli" / "tasks"
    tasks_folder.mkdir()
    for name in ("00001-of-00002.lock", "00001-of-00002.json", "00001-of-00002.crashed.jsonl"):
        (tasks_folder / name).write_bytes(b"")
    bench.extract()
    assert left(bench) == {"00001-of-00002.lock"}


@pytest.fixture
def decided(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A dataset of twelve photographs, and an update by three more that died after it had been decided."""
    pictures.make_folder(bench.photographs, range(12))
    bench.extract()
    pictures.make_folder(bench.photographs, range(20, 23))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(standing, "switch", die)
        with pytest.raises(KeyboardInterrupt):
            bench.extract()
    assert (bench.features / ".fvcli" / "pending-manifest.json").exists()
    assert len(bench.rows()) == 12
    return bench


def test_a_decided_run_is_completed_by_the_next_one(decided: Bench) -> None:
    assert decided.extract() == 0
    assert len(decided.rows()) == 15
    assert decided.damages() == []
    assert left(decided) == set()


def test_a_decided_run_is_completed_by_finalize_and_repair(decided: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = decided.features.with_name("copy")
    shutil.copytree(decided.features, copy)
    assert verify.repair(LocalStore(copy)) == ()
    assert len(contents.rows(copy)) == 15
    (decided.features / ".fvcli" / "plan.json").unlink()
    assert tasks.finalize(str(decided.features)).counts.rows == 15
    assert len(decided.rows()) == 15
    assert left(decided) == set()


def test_what_a_decided_run_leaves_is_not_taken_while_another_run_is_at_it(decided: Bench) -> None:
    (decided.features / ".fvcli" / "plan.json").unlink()
    with lock.hold(LocalStore(decided.features)):
        assert tasks.finalize(str(decided.features)).counts.rows == 12
