"""One folder is one root, however it is spelled and from wherever the command is run."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from fvcli.sources.discover import Sources
from tests.helpers import commands, contents, pictures
from tests.helpers.in_process import Bench


@pytest.fixture
def place(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: photos with ten images in two folders, an empty folder x, a link to photos."""
    pictures.make_folder(tmp_path / "photos", range(6))
    pictures.make_folder(tmp_path / "photos" / "2024", range(10, 14))
    (tmp_path / "x" / "deep").mkdir(parents=True)
    (tmp_path / "linked").symlink_to("photos")
    bench.features = tmp_path / "features"
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(folder: str, name: Path) -> Sources:
    """A list of the images below a folder."""
    found = sorted(f"{top}/{file}" for top, _, files in os.walk(folder) for file in files)
    name.write_text("\n".join(found))
    return Sources(files_from=str(name))


def spellings(place: Path, cwd: Path) -> list[Sources]:
    """Ten ways to name the photos from a working directory."""
    relative = os.path.relpath(place / "photos", cwd)
    names = [relative, f"./{relative}", f"{relative}/", f"{relative}/.", f"{relative}/../photos", str(place / "photos")]
    names += [f"{place}//photos", os.path.relpath(place / "linked", cwd)]
    return [
        *(Sources((name,)) for name in names),
        listed(relative, place / "a.txt"),
        listed(str(place / "photos"), place / "b.txt"),
    ]


def test_twenty_runs_that_spell_one_folder_in_ten_ways_give_one_row_per_image(
    bench: Bench, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.extract(sources=Sources(("photos",)))
    before = contents.state(bench.features)
    keys = list(contents.rows(bench.features))
    folders = [place, place / "x", place / "x" / "deep"]
    for number in range(20):
        monkeypatch.chdir(folders[number % 3])
        sources = spellings(place, folders[number % 3])[number % 10]
        assert bench.extract(sources=sources, prune=number % 2 == 1) == 0, sources
        assert contents.state(bench.features) == before
        assert bench.counts()["reused"] == 10
    assert list(contents.rows(bench.features)) == keys
    values = contents.manifest(bench.features)
    assert values is not None
    assert (values["roots"], values["base_folder"]) == (["photos"], str(place))


@pytest.mark.slow
def test_files_are_found_from_any_working_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands.run("extract", "photos", "-o", "own", "-q").code == 0
    monkeypatch.chdir(place / "x" / "deep")
    for source in ("../../photos", str(place / "linked")):
        assert commands.run("extract", source, "-o", place / "own", "-q").code == 0
        done = commands.run("verify", place / "own", "--recompute", "5", "--json")
        assert done.code == 0
        assert json.loads(done.said.splitlines()[0])["recomputed"]["compared"] == 5
    pictures.make_folder(place / "photos", range(50, 58))
    assert commands.run("extract", "../../photos", "-o", place / "own", "-q", "--processes", "2").code == 0
    assert ("photos", "0057.png") in contents.rows(place / "own")


def test_a_new_root_named_from_elsewhere_is_found_again(
    bench: Bench, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.extract(sources=Sources(("photos",)))
    pictures.make_folder(place / "x" / "more", range(50, 53))
    monkeypatch.chdir(place / "x")
    assert bench.extract(sources=Sources(("more", "../photos"))) == 3
    monkeypatch.chdir(place)
    assert bench.extract(sources=Sources(("x/more", "photos"))) == 0
    assert contents.manifest(bench.features)["roots"] == ["photos", "x/more"]  # type: ignore[index]
    assert bench.counts()["rows"] == 13


def test_a_folder_in_a_known_root_is_part_of_it(bench: Bench, place: Path) -> None:
    bench.extract(sources=Sources(("photos",)))
    pictures.put(place / "photos", "2024/new.png", pictures.picture(50))
    (place / "photos" / "2024" / "0010.png").unlink()
    assert bench.extract(sources=Sources(("photos/2024",)), prune=True) == 1
    counts = bench.counts()
    assert [counts[name] for name in ("reused", "elsewhere", "pruned", "rows")] == [3, 6, 1, 10]
    assert {root for root, _ in contents.rows(bench.features)} == {"photos"}


def test_listed_files_without_a_root_are_the_same_from_elsewhere(
    bench: Bench, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.extract(sources=listed("photos", place / "list.txt"))
    keys = list(contents.rows(bench.features))
    before = contents.state(bench.features)
    monkeypatch.chdir(place / "x")
    assert bench.extract(sources=listed("../photos", place / "list.txt")) == 0
    assert list(contents.rows(bench.features)) == keys
    assert contents.state(bench.features) == before, "nothing was read or written again"


def test_a_root_ends_with_the_last_of_its_rows_that_gets_another_one(bench: Bench, place: Path) -> None:
    bench.extract(sources=listed("photos", place / "list.txt"))
    assert contents.manifest(bench.features)["roots"] == [""]  # type: ignore[index]
    assert bench.extract(sources=Sources(("photos",))) == 0
    assert contents.manifest(bench.features)["roots"] == ["photos"]  # type: ignore[index]
    assert bench.counts()["rows"] == 10


def test_a_dataset_that_moved_with_its_images_goes_on(
    bench: Bench, place: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.extract(sources=Sources(("photos",)))
    target = tmp_path_factory.mktemp("moved")
    for name in ("photos", "features"):
        shutil.move(place / name, target / name)
    monkeypatch.chdir(target)
    shutil.rmtree(place)
    bench.features = target / "features"
    assert bench.extract(sources=Sources(("photos",))) == 0
    values = contents.manifest(bench.features)
    assert values is not None
    assert (values["roots"], values["base_folder"]) == (["photos"], str(target))


@pytest.mark.slow
def test_a_task_and_a_resumed_run_read_the_files_from_elsewhere(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands.run("plan", "photos", "-o", "own", "-q", "--shard-size", "4").code == 0
    monkeypatch.chdir(random.Random(1).choice([place / "x", place / "x" / "deep"]))
    assert commands.run("extract", "-o", place / "own", "--task", "1/1", "-q").code == 0
    assert commands.run("finalize", place / "own", "-q").code == 0
    assert len(contents.rows(place / "own")) == 10


@pytest.mark.slow
def test_a_recompute_that_compares_nothing_is_exit_1(place: Path) -> None:
    assert commands.run("extract", "photos", "-o", "own", "-q").code == 0
    shutil.move(place / "photos", place / "away")
    done = commands.run("verify", "own", "--recompute", "5")
    assert done.code == 1
    assert "recomputed nothing: of 5 rows, no file was found" in done.said


def test_members_of_an_archive_are_found_from_elsewhere(
    bench: Bench, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.make_archive(str(place / "photos" / "pack"), "tar", place / "photos" / "2024")
    bench.extract(sources=Sources(("photos",)))
    shutil.make_archive(str(place / "photos" / "more"), "tar", place / "photos" / "2024")
    monkeypatch.chdir(place / "x")
    assert bench.extract(sources=Sources(("../photos",))) == 0, "the same contents: nothing to compute"
    assert bench.counts()["rows"] == 18
    assert bench.failed() == {}


@pytest.mark.slow
def test_absolute_names_work_from_a_folder_that_was_removed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = place / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert commands.run("extract", place / "photos", "-o", place / "own", "-q").code == 0
    assert len(contents.rows(place / "own")) == 10


@pytest.mark.parametrize("first", ["a list", "a folder below"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_file_that_is_found_under_another_root_has_one_row(
    bench: Bench, place: Path, monkeypatch: pytest.MonkeyPatch, first: str, elsewhere: bool
) -> None:
    bench.extract(sources=listed("photos", place / "a.txt") if first == "a list" else Sources(("photos/2024",)))
    rows = len(contents.rows(bench.features))
    (place / "photos" / "2024" / "0011.png").unlink()
    if elsewhere:
        monkeypatch.chdir(place / "x")
    folder = Sources(("../photos" if elsewhere else "photos",))
    assert bench.extract(sources=folder) == 10 - rows
    gone = ("", "photos/2024/0011.png") if first == "a list" else ("photos/2024", "0011.png")
    kept = {key for key in contents.rows(bench.features) if key[0] != "photos"}
    assert kept == {gone}, "nobody asked for rows without a file to be dropped"
    assert len(contents.rows(bench.features)) == 10
    assert bench.counts()["pruned"] == rows - 1
    assert bench.counts()["reused"] == rows - 1


def test_a_folder_that_a_filter_hides_keeps_its_rows_under_their_root(bench: Bench, place: Path) -> None:
    bench.extract(sources=Sources(("photos/2024",)))
    bench.extract(sources=Sources(("photos",), exclude=("2024/*",)))
    assert {root for root, _ in contents.rows(bench.features)} == {"photos", "photos/2024"}
    assert bench.counts()["pruned"] == 0
