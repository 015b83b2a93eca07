"""The facts of a dataset, as the page of the command holds them."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fvcli.dataset.reader import open_dataset
from fvcli.explore.linkage import linked_rows
from fvcli.report import gather as gathering
from fvcli.report.names import readable
from fvcli.report.rows import load
from tests.helpers.pages import Case, Parts, Silent, paths, run, unpacked


def test_the_headline_is_the_manifests(facts: dict[str, Any], case: Case) -> None:
    manifest = json.loads((case.dataset / "manifest.json").read_text())
    summary = facts["summary"]
    assert summary["title"] == "photos"
    assert summary["rows"] == manifest["counts"]["rows"] == facts["rows"]["count"]
    assert summary["failed"] == manifest["counts"]["failed"] == 3
    assert summary["identity"] == manifest["model"]["identity"]
    assert ["fit", "squash"] in summary["recipe"]
    assert summary["images_per_second"] == pytest.approx(1 / manifest["runs"][-1]["seconds"])


def test_the_newest_run_comes_first(facts: dict[str, Any]) -> None:
    later, earlier = facts["runs"]
    assert (later["extracted"], later["reused"]) == (1, earlier["extracted"])
    assert later["rows"] == earlier["rows"] + 1
    assert later["started"] >= earlier["started"]


def test_every_row_is_named_measured_and_on_the_wall_once(facts: dict[str, Any], case: Case) -> None:
    dataset = open_dataset(case.dataset)
    table = dataset.metadata(["path", "width", "height", "size_bytes"]).to_pylist()
    count = len(table)
    assert paths(facts) == ["photos/" + shown(row["path"]) for row in table]
    sizes = unpacked(facts["rows"]["sizes"], "u4", count, 3)
    assert sizes.tolist() == [[row["width"], row["height"], row["size_bytes"]] for row in table]
    wall = facts["wall"]
    assert unpacked(wall["rows"], "u4").tolist() == list(range(count))
    cells = unpacked(wall["cells"], "u2")
    assert len(set(cells.tolist())) == count
    assert cells.max() < wall["columns"] * wall["lines"]
    assert wall["all"]


def shown(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return readable(folder + slash, 1000) + readable(name, 1000)


def test_names_that_are_shown_escaped_come_with_the_exact_one(facts: dict[str, Any], case: Case) -> None:
    rows = facts["rows"]
    refs = dict(enumerate(open_dataset(case.dataset).metadata(["path"])[0].to_pylist()))
    exact = {refs[int(place)] for place in rows["exact"]}
    assert {"cat\na third.jpg", "odd/separated\u2028by\u2029lines.jpg"} <= exact
    assert all(rows["exact"][place] == "photos/" + refs[int(place)] for place in rows["exact"])
    [raw] = rows["raw"].values()
    assert base64.b64decode(raw) == b"photos/odd/caf\xe9.jpg"


def test_separators_of_lines_are_escaped_in_the_page(page: Path, facts: dict[str, Any]) -> None:
    text = page.read_text("utf-8")
    assert "\u2028" not in text
    assert "\u2029" not in text
    assert "photos/odd/separated\u2028by\u2029lines.jpg" in facts["rows"]["exact"].values()


def test_nearest_pictures_are_the_nearest_rows_without_the_row_itself(facts: dict[str, Any], case: Case) -> None:
    vectors = open_dataset(case.dataset).vectors().astype(np.float64)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = facts["nearest"]
    places = unpacked(near["places"], "u2", len(units), near["k"])
    scores = unpacked(near["scores"], "u2", len(units), near["k"]) / 32767 - 1
    assert near["k"] == 8
    for row, (found, given) in enumerate(zip(places, scores, strict=True)):
        true = units @ units[row]
        true[row] = -2
        assert row not in found
        np.testing.assert_allclose(true[found], np.sort(true)[::-1][:8], atol=1e-5)
        np.testing.assert_allclose(given, true[found], atol=1e-4)


def test_copies_lie_in_one_place_of_the_map(facts: dict[str, Any]) -> None:
    named = paths(facts)
    points = unpacked(facts["nearest"]["points"], "u2", len(named), 2)
    spread = points.max(0) - points.min(0)
    gap = np.abs(points[named.index("photos/cat.jpg")] - points[named.index("photos/cat again.jpg")])
    assert points.max() == 65535
    assert (gap <= spread / 10).all()


def test_folders_group_the_rows(facts: dict[str, Any]) -> None:
    [folders] = [one for one in facts["groupings"] if one["name"] == "folder"]
    of = unpacked(folders["of"], "u1")
    expected = Counter("/".join(path.split("/")[:2]) if path.count("/") > 1 else "photos" for path in paths(facts))
    assert {kind["name"]: kind["count"] for kind in folders["kinds"]} == dict(expected)
    for path, kind in zip(paths(facts), of.tolist(), strict=True):
        assert path.startswith(folders["kinds"][kind]["name"] + "/")


def test_clusters_cover_all_rows_and_show_their_own(facts: dict[str, Any]) -> None:
    [grouping] = [one for one in facts["groupings"] if one["name"] == "cluster"]
    of = unpacked(grouping["of"], "u1")
    counts = np.bincount(of).tolist()
    assert counts == sorted(counts, reverse=True) == [one["count"] for one in facts["clusters"]]
    for number, cluster in enumerate(facts["clusters"]):
        assert cluster["typical"]
        assert {of[row] for row in cluster["typical"]} == {number}


def groups_at(facts: dict[str, Any], threshold: float) -> set[frozenset[str]]:
    """Paths that links at or above the threshold connect."""
    named = paths(facts)
    groups: dict[int, set[int]] = {}
    for a, b, score in facts["duplicates"]["links"]:
        if score >= threshold:
            together = groups.get(a, {a}) | groups.get(b, {b})
            groups.update(dict.fromkeys(together, together))
    return {frozenset(named[row] for row in group) for group in groups.values()}


def test_near_duplicates_are_those_that_the_command_finds_at_any_threshold(facts: dict[str, Any], case: Case) -> None:
    dataset = open_dataset(case.dataset)
    named = paths(facts)
    for threshold in (0.85, 0.9, 0.95, 0.99):
        found = {frozenset(named[row] for row in group.tolist()) for group in linked_rows(dataset, threshold)}
        assert groups_at(facts, threshold) == found
    assert len(groups_at(facts, 0.9)) > 1
    [cats] = [group for group in groups_at(facts, 0.9) if "photos/cat.jpg" in group]
    assert {"photos/cat again.jpg", "photos/cat's half.jpg", "photos/cat\\x0aa third.jpg"} <= cats


def test_equal_contents_and_only_those_are_known_as_identical(facts: dict[str, Any], case: Case) -> None:
    hashes = open_dataset(case.dataset).metadata(["sha256"])[0].to_pylist()
    contents = dict(facts["duplicates"]["contents"])
    for a, number in contents.items():
        for b, other in contents.items():
            assert (number == other) == (hashes[a] == hashes[b])
    named = paths(facts)
    assert contents[named.index("photos/cat.jpg")] == contents[named.index("photos/cat again.jpg")]
    assert contents[named.index("photos/cat.jpg")] != contents[named.index("photos/cat's half.jpg")]


def test_failures_come_by_kind_with_their_reasons(facts: dict[str, Any]) -> None:
    kinds = {kind["error"]: kind for kind in facts["failures"]}
    assert set(kinds) == {"Truncated", "Empty", "NotAnImage"}
    assert [one["name"] for one in kinds["Empty"]["inputs"]] == ["empty <b>.jpg"]
    assert kinds["Truncated"]["inputs"][0]["message"] == "the file ends in the middle of the image"


def test_pictures_say_what_became_of_the_files(facts: dict[str, Any], case: Case) -> None:
    states = dict(zip(paths(facts), facts["wall"]["states"], strict=True))
    previews = dict(zip(paths(facts), facts["wall"]["previews"], strict=True))
    assert states.pop(f"photos/{case.gone}") == "gone"
    assert states.pop(f"photos/{case.changed}") == "changed"
    assert set(states.values()) == {"shown"}
    assert {bool(previews[path]) for path in states} == {True}


def test_extremes_are_the_extremes(facts: dict[str, Any]) -> None:
    sizes = unpacked(facts["rows"]["sizes"], "u4", facts["rows"]["count"], 3)
    pixels = np.sort(sizes[:, 0] * sizes[:, 1])
    assert [one["value"] for one in facts["extremes"]["smallest"]] == pixels[:8].tolist()
    ratios = sizes[:, 0] / sizes[:, 1]
    [widest, *_] = facts["extremes"]["shapes"]
    assert abs(np.log(widest["value"])) == pytest.approx(np.abs(np.log(ratios)).max())
    near = facts["nearest"]
    best = unpacked(near["scores"], "u2", len(sizes), near["k"])[:, 0] / 32767 - 1
    outliers = [one["value"] for one in facts["extremes"]["outliers"]]
    np.testing.assert_allclose(outliers, np.sort(best)[:8], atol=1e-4)
    darkest = [one["value"] for one in facts["extremes"]["darkest"]]
    assert darkest == sorted(darkest)
    assert "later.png" in {paths(facts)[one["row"]].removeprefix("photos/") for one in facts["extremes"]["darkest"]}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_facts(case: Case, facts: dict[str, Any], tmp_path: Path) -> None:
    def again(seed: int) -> dict[str, Any]:
        target = tmp_path / f"{seed}.html"
        done = run("report", "features", "-o", target, "--seed", str(seed), cwd=case.dataset.parent)
        assert done.returncode == 0, done.stderr
        assert done.stdout == target.as_uri() + "\n"
        return {name: value for name, value in Parts(target.read_text("utf-8")).facts.items() if name != "made_at"}

    assert again(0) == {name: value for name, value in facts.items() if name != "made_at"}


def test_more_rows_than_the_limits_are_sampled(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("PAGE_ROWS", 30), ("WALL_PICTURES", 10), ("DUPLICATE_ROWS", 3)):
        monkeypatch.setattr(gathering, name, limit)
    observer = Silent()
    dataset = open_dataset(case.dataset)
    found = gathering.gather(dataset, "features", gathering.Options(with_pictures=False), observer)
    assert found.rows.count == 30 < found.summary.rows
    assert found.wall is not None
    assert not found.wall.all
    assert len(unpacked(found.wall.cells, "u2")) == 10
    assert found.nearest is not None
    assert unpacked(found.nearest.places, "u2").max() < 10
    assert found.duplicates is None
    assert set(found.states) == {"off"}
    assert "near-duplicates" not in observer.steps
    vectors = dataset.vectors().astype(np.float64)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = units @ units.T
    np.fill_diagonal(scores, -2)
    for one in found.extremes.outliers:  # their nearest row is looked for among all
        assert np.abs(scores.max(1) - one.value).min() < 1e-5


@pytest.mark.slow
def test_near_duplicates_beyond_the_limit_are_counted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(case.dataset)
    options = gathering.Options(with_pictures=False)
    whole = gathering.gather(dataset, "features", options, Silent()).duplicates
    assert whole is not None
    assert whole.left_out == 0
    monkeypatch.setattr(gathering, "LINKED_ROWS", 10)
    some = gathering.gather(dataset, "features", options, Silent()).duplicates
    assert some is not None
    assert len(some.contents) <= 10
    assert len(some.contents) + some.left_out == len(whole.contents)


@pytest.mark.slow
def test_names_and_pictures_share_a_bound(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case.dataset.parent)
    whole = gathering.gather(open_dataset("features"), "features", gathering.Options(), Silent())
    without = gathering.gather(open_dataset("features"), "features", gathering.Options(with_pictures=False), Silent())
    limit = len(without.to_json().encode()) + 150_000
    monkeypatch.setattr(gathering, "PAGE_BYTES", limit)
    found = gathering.gather(open_dataset("features"), "features", gathering.Options(), Silent())
    assert whole.wall is not None
    assert found.wall is not None
    assert len(found.to_json().encode()) <= limit < len(whole.to_json().encode())
    assert found.wall.sprite
    assert any(found.wall.previews)


@pytest.mark.slow
def test_a_dataset_without_rows_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    assert run("extract", "photos", "-q", cwd=tmp_path).returncode == 3
    done = run("report", "features", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "report.html: 0 rows" in done.stderr
    assert (tmp_path / "report.html").stat().st_size < 120_000


@pytest.mark.slow
@pytest.mark.parametrize("names", [["cat.jpg"], ["cat.jpg", "coffee.jpg", "rocket.jpg"]], ids=["one", "three"])
def test_a_few_rows_have_a_page(sample_images: Path, tmp_path: Path, names: list[str]) -> None:
    assert run("extract", *(sample_images / name for name in names), "-q", cwd=tmp_path).returncode == 0
    done = run("report", "features", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = Parts((tmp_path / "report.html").read_text("utf-8")).facts
    assert len(unpacked(found["wall"]["cells"], "u2")) == len(names)


@pytest.mark.slow
def test_what_cannot_be_done_is_said_in_a_line(case: Case, tmp_path: Path) -> None:
    missing = run("report", tmp_path / "nothing")
    assert missing.returncode == 1
    assert missing.stderr.startswith("fvcli: there is no folder")
    nowhere = run("report", case.dataset, "--no-pictures", "-q", "-o", tmp_path / "no" / "such" / "folder.html")
    assert nowhere.returncode == 2
    assert len(nowhere.stderr.splitlines()) == 1
    (tmp_path / "taken.html").mkdir()
    taken = run("report", case.dataset, "--no-pictures", "-q", "-o", tmp_path / "taken.html")
    assert taken.returncode == 2
    assert len(taken.stderr.splitlines()) == 1


@pytest.mark.slow
def test_pictures_missing_because_of_the_folder_are_explained(case: Case, tmp_path: Path) -> None:
    done = run("report", case.dataset, "-o", tmp_path / "page.html", cwd=tmp_path)
    assert done.returncode == 0
    assert "names are relative to the folder where extract ran" in done.stderr


@pytest.mark.slow
def test_open_starts_the_browser_with_the_page(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    page = tmp_path / "page.html"
    done = run("report", case.dataset, "--no-pictures", "--open", "-q", "-o", page)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "opened").read_text() == page.as_uri() + "\n"


def test_a_rows_name_is_the_path_to_open_from_the_datasets_base_folder(case: Case) -> None:
    dataset = open_dataset(case.dataset)
    refs = [ref for ref in load(dataset, np.arange(len(dataset))).refs if ref.path_bytes is None]
    assert refs
    for ref in refs:
        assert os.path.join(ref.base_folder, ref.name).encode() == ref.location
