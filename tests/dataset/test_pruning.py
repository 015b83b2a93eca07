"""Rows without a file: gone or elsewhere, and the accidents that must not empty a dataset."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from fvcli.errors import SourceError, StoppedError
from fvcli.images.memory import DEFAULT_LIMITS, Limits
from fvcli.records import Limit
from fvcli.run import extract as extraction
from fvcli.sources.discover import Sources
from tests.helpers import commands, contents, pictures
from tests.helpers.in_process import Bench

LATER = pictures.SOME_TIME_NS + 10**9
ALL = Limit(100, percent=True)


@pytest.fixture
def roots(bench: Bench) -> tuple[str, str]:
    """Two source folders, twelve images each, and a dataset of both."""
    first = str(pictures.make_folder(bench.photographs / "a", range(12)))
    second = str(pictures.make_folder(bench.photographs / "b", range(50, 62)))
    bench.extract(sources=Sources((first, second)))
    return first, second


def empty(folder: str) -> None:
    """Leaves an empty folder, as a disk that is not mounted does."""
    shutil.rmtree(folder)
    os.mkdir(folder)


def extract(bench: Bench, *folders: str, **options: object) -> int:
    return bench.extract(sources=Sources(folders), **options)


def told(bench: Bench, *names: str) -> list[int]:
    return [bench.counts()[name] for name in names]


@pytest.mark.parametrize("prune", [False, True])
def test_a_source_that_yields_nothing_any_more_changes_nothing(
    bench: Bench, roots: tuple[str, str], prune: bool
) -> None:
    before = contents.state(bench.features)
    empty(roots[0])
    with pytest.raises(SourceError, match=r"12 (of the 12 )?rows from") as error:
        extract(bench, *roots, prune=prune)
    assert error.value.exit_code == 1
    assert "--prune-limit 100%" in str(error.value)
    assert contents.state(bench.features) == before
    assert extract(bench, *roots, prune=True, prune_limit=ALL) == 0
    assert told(bench, "pruned", "rows") == [12, 12]
    assert contents.manifest(bench.features)["roots"] == [roots[1]]  # type: ignore[index]


def test_more_than_half_is_not_dropped_by_accident(bench: Bench, roots: tuple[str, str]) -> None:
    before = contents.state(bench.features)
    for number in range(7):
        os.unlink(f"{roots[0]}/{number:04d}.png")
    with pytest.raises(SourceError, match=r"would drop 7 of the 12 rows from .*/a, more than 50%"):
        extract(bench, *roots, prune=True)
    assert contents.state(bench.features) == before
    with pytest.raises(SourceError, match="more than 6"):
        extract(bench, *roots, prune=True, prune_limit=Limit(6))
    extract(bench, *roots, prune=True, prune_limit=Limit(7))
    assert told(bench, "pruned", "rows") == [7, 17]


def test_a_root_that_is_not_named_keeps_its_rows(bench: Bench, roots: tuple[str, str]) -> None:
    os.unlink(f"{roots[0]}/0000.png")
    os.unlink(f"{roots[1]}/0050.png")
    extract(bench, roots[0])
    assert told(bench, "reused", "stale", "elsewhere", "rows") == [11, 1, 12, 24]
    extract(bench, roots[0], prune=True)
    assert told(bench, "reused", "stale", "elsewhere", "pruned", "rows") == [11, 0, 12, 1, 23]
    extract(bench, roots[1], prune=True)
    assert told(bench, "reused", "elsewhere", "pruned", "rows") == [11, 11, 1, 22]
    assert bench.damages() == []


def test_what_a_filter_hides_is_elsewhere(bench: Bench, roots: tuple[str, str]) -> None:
    os.unlink(f"{roots[0]}/0005.png")
    bench.extract(sources=Sources(roots, exclude=("000[0-3].png", "**/b")), prune=True)
    assert told(bench, "elsewhere", "pruned", "rows") == [4, 1, 23]
    bench.extract(sources=Sources((roots[0],), include=("000[0-9].png",)), prune=True)
    assert told(bench, "reused", "elsewhere", "pruned", "rows") == [9, 14, 0, 23]


def test_files_in_a_linked_folder_that_is_no_longer_followed_are_elsewhere(bench: Bench, tmp_path: Path) -> None:
    pictures.make_folder(bench.photographs, range(3))
    (bench.photographs / "linked").symlink_to(pictures.make_folder(tmp_path / "other", range(50, 53)))
    bench.extract(sources=Sources((str(bench.photographs),), follow_symlinks=True))
    bench.extract(prune=True)
    assert told(bench, "elsewhere", "pruned", "rows") == [3, 0, 6]


def test_listed_files_are_gone_only_where_they_are(bench: Bench, tmp_path: Path) -> None:
    files = [str(pictures.put(bench.photographs, f"{number}.png", pictures.picture(number))) for number in range(5)]
    extract(bench, *files)
    os.unlink(files[0])
    extract(bench, *files[1:3], prune=True)
    assert told(bench, "reused", "elsewhere", "pruned", "rows") == [2, 2, 1, 4]
    other = pictures.make_folder(tmp_path / "other", range(50, 53))
    os.unlink(files[1])
    extract(bench, str(other), prune=True)
    assert told(bench, "elsewhere", "pruned", "rows") == [4, 0, 7]


def test_a_listed_file_in_a_folder_that_refuses_to_tell_is_not_gone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(pictures.put(bench.photographs, f"{number}.png", pictures.picture(number))) for number in range(4)]
    extract(bench, *files)
    asked = os.lstat

    def lstat(path: str | bytes, **more: int) -> os.stat_result:
        if os.fsdecode(path) == files[0]:
            raise PermissionError(13, "Permission denied")
        return asked(path, **more)

    monkeypatch.setattr(os, "lstat", lstat)
    os.unlink(files[1])
    extract(bench, *files[2:], prune=True)
    assert told(bench, "reused", "elsewhere", "pruned", "rows") == [2, 1, 1, 3]


def test_an_archive_that_cannot_be_read_keeps_its_rows(bench: Bench, tmp_path: Path) -> None:
    pack = tmp_path / "in"
    pictures.make_folder(pack, range(6))
    archive = Path(shutil.make_archive(str(bench.photographs / "a"), "tar", pack))
    pictures.make_folder(bench.photographs, range(50, 53))
    bench.extract()
    whole = archive.read_bytes()
    archive.write_bytes(b"no archive anymore" * 100)
    bench.extract(prune=True)
    assert told(bench, "elsewhere", "pruned", "failed", "rows") == [6, 0, 1, 9]
    (line,) = contents.failures(bench.features)
    assert (line["path"], line["error"]) == ("a.tar!", "DamagedArchive")
    assert "cannot be read beyond byte 0;" in line["message"]
    archive.write_bytes(whole)
    (pack / "0000.png").unlink()
    shutil.make_archive(str(bench.photographs / "a"), "tar", pack)
    bench.extract(prune=True)
    assert told(bench, "elsewhere", "pruned", "failed", "rows") == [0, 1, 0, 8]
    archive.unlink()
    bench.extract(prune=True, prune_limit=ALL)
    assert told(bench, "elsewhere", "pruned", "rows") == [0, 5, 3]


@pytest.mark.parametrize("sources", [("a",), ("a", "b"), ("a/*.png",)])
def test_a_source_without_any_image_is_exit_1(tmp_path: Path, sources: tuple[str, ...]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("no image")
    pictures.make_folder(tmp_path / "b", range(3))
    if sources == ("a/*.png",):
        (tmp_path / "a" / "x.png").mkdir()
    done = commands.here("extract", *(tmp_path / source for source in sources), "-o", tmp_path / "f", "-q")
    assert done.exit_code == 1
    assert "no images found in" in done.stderr
    assert not (tmp_path / "f" / "manifest.json").exists()


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_an_unmounted_source_with_prune_is_exit_1_and_every_row_is_still_there(
    bench: Bench, roots: tuple[str, str], quiet: tuple[str, ...]
) -> None:
    features = bench.features.with_name("own")
    assert commands.here("extract", *roots, "-o", features, "-q").exit_code == 0
    before = contents.rows(features)
    empty(roots[1])
    done = commands.here("extract", *roots, "-o", features, "--prune", *quiet)
    assert done.exit_code == 1
    assert f"--prune would drop 12 of the 12 rows from {roots[1]}" in done.stderr
    assert contents.rows(features) == before


def test_failures_about_the_world_are_tried_in_every_run(bench: Bench, tmp_path: Path) -> None:
    pictures.make_folder(bench.photographs, range(3))
    link = bench.photographs / "linked.png"
    link.symlink_to(tmp_path / "not there yet.png")
    bench.extract()
    assert bench.failed() == {"linked.png": "read"}
    (tmp_path / "not there yet.png").write_bytes(pictures.picture(9))
    assert bench.extract() == 1
    assert bench.failed() == {}


def test_a_file_that_could_not_be_read_is_read_again_although_it_has_not_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fvcli.sources import folders

    pictures.make_folder(bench.photographs, range(3))
    opened = folders.os.open

    def failing(path: bytes, *rest: int, **more: int) -> int:
        if os.fsencode(path).endswith(b"0001.png"):
            raise OSError(5, "Input/output error")
        return opened(path, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(folders.os, "open", failing)
        assert bench.extract() == 2
    assert bench.failed() == {"0001.png": "read"}
    assert bench.extract() == 1
    assert bench.failed() == {}


def test_a_failure_of_an_option_is_tried_again_when_it_changes(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(3))
    pictures.put(bench.photographs, "large.png", pictures.picture(9, side=64))
    pictures.put(bench.photographs, "broken.png", pictures.broken(9))
    bench.extract(limits=Limits(max_pixels=2000))
    assert bench.failed() == {"broken.png": "decode", "large.png": "decode"}
    assert bench.extract(limits=Limits(max_pixels=2000)) == 0
    assert bench.extract(limits=DEFAULT_LIMITS) == 1
    assert bench.failed() == {"broken.png": "decode"}


def test_a_run_that_skips_remembered_failures_names_the_option(tmp_path: Path) -> None:
    pictures.make_folder(tmp_path / "a", range(3))
    pictures.put(tmp_path / "a", "broken.png", pictures.broken(9))
    first = commands.here("extract", tmp_path / "a", "-o", tmp_path / "f")
    again = commands.here("extract", tmp_path / "a", "-o", tmp_path / "f")
    assert (first.exit_code, again.exit_code) == (3, 3)
    assert "--retry-failed" not in first.stderr
    assert "1 input failed before and was skipped; --retry-failed retries it" in again.stderr


def refuse(patched: pytest.MonkeyPatch, place: str) -> None:
    """No file at or below the place can be opened; the tests may run as root, whom nothing is refused."""
    opened = os.open

    def refusing(path: bytes, *rest: int, **more: int) -> int:
        if os.fsencode(place) in os.fsencode(path):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    patched.setattr(os, "open", refusing)


def test_one_file_that_is_refused_is_a_failure_like_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.make_folder(bench.photographs, range(5))
    with monkeypatch.context() as patched:
        refuse(patched, "0003.png")
        assert bench.extract() == 4
    assert bench.failed() == {"0003.png": "read"}
    assert bench.extract() == 1
    assert bench.failed() == {}


def test_a_root_that_is_refused_as_a_whole_is_exit_1_and_forgotten(
    bench: Bench, roots: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = str(pictures.make_folder(bench.photographs.with_name("c"), range(70, 75)))
    before = contents.state(bench.features)
    with monkeypatch.context() as patched:
        refuse(patched, other)
        for _ in range(2):
            with pytest.raises(SourceError, match=f"permission denied for every file of {other}"):
                extract(bench, other, roots[0])
    assert contents.state(bench.features) == before
    assert extract(bench, other, roots[0]) == 5
    assert bench.failed() == {}
    assert bench.damages() == []


def test_roots_of_earlier_runs_stay_as_long_as_they_have_rows(bench: Bench, roots: tuple[str, str]) -> None:
    extract(bench, roots[0])
    assert contents.manifest(bench.features)["roots"] == list(roots)  # type: ignore[index]


def test_rows_that_an_unfinished_run_was_to_drop_are_there_and_not_counted_as_dropped(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    for number in (21, 25, 28):
        (bench.photographs / f"{number:04d}.png").unlink()
    for number in (3, 23):
        pictures.put(bench.photographs, f"{number:04d}-new.png", pictures.picture(100 + number))
    with pytest.raises(StoppedError):
        bench.extract(prune=True, meanwhile=lambda done: signal.SIGINT, workers=1)
    assert len(list((bench.features / ".fvcli" / "commits").iterdir())) == 1
    bench.extract(retry_failed=True)  # another request: what is finished is published first
    values = contents.manifest(bench.features)
    assert values is not None
    assert [(run["pruned"], run["rows"]) for run in values["runs"]] == [(0, 30), (0, 31), (0, 32)]
    assert values["counts"]["stale"] == 3
    assert bench.extract(prune=True) == 0
    values = contents.manifest(bench.features)
    assert values is not None
    assert (values["counts"]["pruned"], values["counts"]["rows"]) == (3, 29)


def test_a_refused_update_leaves_nothing_of_its_plan(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    pictures.put(bench.photographs, "0000-new.png", pictures.picture(100))
    for number in range(9, 29):
        (bench.photographs / f"{number:04d}.png").unlink()
    with pytest.raises(SourceError, match="--prune would drop 20 of the 30 rows"):
        bench.extract(prune=True)
    assert {file.name for file in (bench.features / ".fvcli").rglob("*") if file.is_file()} == {"lock"}


def test_a_root_stays_while_rows_that_were_to_be_dropped_are_still_there(
    bench: Bench, roots: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty(roots[1])
    for number in (3, 40):
        pictures.put(Path(roots[0]), f"{number:04d}-new.png", pictures.picture(number))
    options = {"sources": Sources(roots), "prune": True, "prune_limit": ALL}
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: signal.SIGINT, workers=1, batch_size=1, **options)  # type: ignore[arg-type]

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction.Run, "plan", die)
    with pytest.raises(KeyboardInterrupt):  # what is finished has been published for another request by then
        bench.extract(sources=Sources((roots[0],)))
    values = contents.manifest(bench.features)
    assert values is not None
    assert values["roots"] == list(roots)
    assert {root for root, _ in contents.rows(bench.features)} == set(roots)


def test_rows_pruned_from_a_shard_that_is_split_are_counted_once(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(0, 200, 10))
    bench.extract()
    (bench.photographs / "0030.png").unlink()
    pictures.make_folder(bench.photographs, range(41, 60))
    bench.extract(prune=True)
    assert told(bench, "extracted", "reused", "pruned", "rows") == [18, 19, 1, 37]


def test_a_source_without_images_is_refused_where_a_filter_hides_some_of_its_rows(
    bench: Bench, roots: tuple[str, str]
) -> None:
    before = contents.state(bench.features)
    empty(roots[0])
    with pytest.raises(SourceError, match=r"no images found in .*/a, and the dataset has 12 rows from there"):
        bench.extract(sources=Sources(roots, exclude=("000[0-3].png",)), prune=True, prune_limit=ALL)
    assert contents.state(bench.features) == before
