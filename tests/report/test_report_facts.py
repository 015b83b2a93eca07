"""The facts of a dataset, and the page and the command made of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fvcli.dataset.reader import open_dataset
from fvcli.report import gather as gathering
from tests.report.conftest import Case, run


class Parts(HTMLParser):
    """A page's elements as (tag, attributes), and the text of its style and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw.append((self._inside, data))


@pytest.fixture(scope="module")
def parts(page: Path) -> Parts:
    return Parts(page.read_text("utf-8"))


@pytest.fixture(scope="module")
def facts(parts: Parts) -> dict[str, Any]:
    [text] = [text for tag, text in parts.raw if tag == "script" and text.startswith("{")]
    return json.loads(text)  # type: ignore[no-any-return]


def test_the_headline_is_the_manifests(facts: dict[str, Any], case: Case) -> None:
    manifest = json.loads((case.dataset / "manifest.json").read_text())
    summary = facts["summary"]
    assert summary["name"] == "features"
    assert summary["rows"] == manifest["counts"]["rows"] == len(facts["items"])
    assert summary["failed"] == manifest["counts"]["failed"] == 3
    assert summary["identity"] == manifest["model"]["identity"]
    assert ["fit", "squash"] in summary["recipe"]
    assert summary["images_per_second"] == pytest.approx(summary["rows"] / manifest["runs"][-1]["seconds"])
    assert len(facts["runs"]) == 1


def test_every_row_is_on_the_map_once(facts: dict[str, Any]) -> None:
    plan = facts["map"]
    points = np.frombuffer(base64.b64decode(plan["points"]), "<u2").reshape(-1, 2)
    assert len(points) == plan["drawn"] == plan["rows"] == len(facts["items"])
    assert sorted(point for point, _ in plan["named"]) == list(range(len(points)))
    assert sorted(item for _, item in plan["named"]) == list(range(len(points)))
    assert points.max() == 65535
    assert 0 < plan["explained"][1] <= plan["explained"][0] < 1
    where = {facts["items"][item]["name"]: points[point].tolist() for point, item in plan["named"]}
    assert where["cat.jpg"] == where["cat again.jpg"]


def test_neighbours_are_the_nearest_rows_without_the_row_itself(facts: dict[str, Any], case: Case) -> None:
    dataset = open_dataset(case.dataset)
    vectors = dataset.vectors().astype(np.float64)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = dataset.metadata(["path"]).column(0).to_pylist()
    shown = {gathering.readable(name): row for row, name in enumerate(names)}
    assert len(facts["neighbours"]) == min(12, len(names))
    for row in facts["neighbours"]:
        own = shown[facts["items"][row["item"]]["name"]]
        scores = units @ units[own]
        scores[own] = -2
        found = [shown[facts["items"][one["item"]]["name"]] for one in row["neighbours"]]
        assert own not in found
        np.testing.assert_allclose(scores[found], np.sort(scores)[::-1][: len(found)], atol=1e-5)
        np.testing.assert_allclose([one["score"] for one in row["neighbours"]], scores[found], atol=1e-5)


def test_copies_are_found_and_called_identical(facts: dict[str, Any]) -> None:
    groups = [
        ({facts["items"][item]["name"] for item in group["items"]}, group["identical"])
        for group in facts["duplicates"]["groups"]
    ]
    together = next(group for group in groups if "cat.jpg" in group[0])
    assert "cat again.jpg" in together[0]
    coffee = next(group for group in groups if "coffee.jpg" in group[0])
    assert any(name.startswith("odd/caf") for name in coffee[0])
    assert facts["duplicates"]["found"] == len(groups)
    assert facts["duplicates"]["rows"] == sum(group["size"] for group in facts["duplicates"]["groups"])


def test_failures_come_by_kind_with_their_reasons(facts: dict[str, Any]) -> None:
    kinds = {kind["error"]: kind for kind in facts["failures"]}
    assert set(kinds) == {"Truncated", "Empty", "NotAnImage"}
    assert [one["name"] for one in kinds["Empty"]["inputs"]] == ["empty <b>.jpg"]
    assert kinds["Truncated"]["inputs"][0]["message"] == "the file ends in the middle of the image"


def test_pictures_tell_what_became_of_the_files(facts: dict[str, Any], case: Case) -> None:
    states = {item["name"]: item["state"] for item in facts["items"]}
    assert states.pop(case.gone) == "gone"
    assert states.pop(case.changed) == "changed"
    assert set(states.values()) == {"shown"}
    odd = [item["name"] for item in facts["items"] if item["odd_name"]]
    assert len(odd) == 1
    assert "caf" in odd[0]


def test_the_page_holds_nothing_that_a_name_could_have_put_there(parts: Parts) -> None:
    tags = [tag for tag, _ in parts.elements]
    assert tags.count("script") == 2
    assert tags.count("style") == 1
    assert "img" not in tags
    assert not [name for _, attributes in parts.elements for name in attributes if name.startswith("on")]


def test_the_page_refers_to_nothing_outside(parts: Parts) -> None:
    for tag, attributes in parts.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    for tag, text in parts.raw:
        if not text.startswith("{"):
            assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttpRequest|innerHTML", text), tag


def test_the_policy_names_the_pages_own_style_and_script(parts: Parts) -> None:
    policy = next(
        attributes["content"] or ""
        for tag, attributes in parts.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    own = {
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for _, text in parts.raw
        if not text.startswith("{")
    }
    assert allowed == own
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


@pytest.mark.slow
def test_the_same_seed_gives_the_same_facts(case: Case, facts: dict[str, Any], tmp_path: Path) -> None:
    def again(seed: int) -> dict[str, Any]:
        target = tmp_path / f"{seed}.html"
        done = run("report", "features", "-o", target, "--seed", str(seed), cwd=case.dataset.parent)
        assert done.returncode == 0, done.stderr
        text = next(text for tag, text in Parts(target.read_text("utf-8")).raw if text.startswith("{"))
        return {name: value for name, value in json.loads(text).items() if name != "made_at"}

    assert again(0) == {name: value for name, value in facts.items() if name != "made_at"}
    chosen = {facts["items"][row["item"]]["name"] for row in facts["neighbours"]}
    other = again(1)
    assert {other["items"][row["item"]]["name"] for row in other["neighbours"]} != chosen


def test_more_rows_than_the_limits_are_sampled(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("MAP_POINTS", 20), ("MAP_NAMED", 5), ("DUPLICATE_ROWS", 3), ("SAMPLE_ROWS", 2)):
        monkeypatch.setattr(gathering, name, limit)
    steps: list[str] = []

    class Told:
        def step(self, what: str) -> None:
            steps.append(what)

        def reading(self, pictures: int) -> None:
            raise AssertionError("pictures were not asked for")

        def read(self) -> None: ...

    options = gathering.Options(with_pictures=False)
    found = gathering.gather(open_dataset(case.dataset), "features", options, Told())
    assert found.map is not None
    assert found.map.drawn == 20 < found.map.rows
    assert len(found.map.named) == 5
    assert found.duplicates is None
    assert len(found.neighbours) == 2
    assert {item.state for item in found.items} == {"off"}
    assert "near-duplicates" not in steps


def test_names_and_pictures_share_a_bound(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def step(self, what: str) -> None: ...

        def reading(self, pictures: int) -> None: ...

        def read(self) -> None: ...

    monkeypatch.setattr(gathering, "ITEM_BYTES", 60_000)
    monkeypatch.chdir(case.dataset.parent)
    found = gathering.gather(open_dataset("features"), "features", gathering.Options(), Silent())
    states = [item.state for item in found.items]
    assert states.count("shown") > 2
    assert states.count("left out") > 2
    assert sum(len((item.name + item.folder + item.picture).encode()) for item in found.items) <= 60_000


@pytest.mark.slow
def test_a_dataset_without_rows_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    assert run("extract", "photos", "-q", cwd=tmp_path).returncode == 3
    done = run("report", "features", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "report.html: 0 rows" in done.stderr
    assert (tmp_path / "report.html").stat().st_size < 100_000


@pytest.mark.slow
def test_one_row_has_a_page(sample_images: Path, tmp_path: Path) -> None:
    assert run("extract", sample_images / "cat.jpg", "-q", cwd=tmp_path).returncode == 0
    assert run("report", "features", "-q", cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_what_cannot_be_done_is_said_in_a_line(case: Case, tmp_path: Path) -> None:
    missing = run("report", tmp_path / "nothing")
    assert missing.returncode == 1
    assert missing.stderr.startswith("fvcli: there is no folder")
    nowhere = run("report", case.dataset, "--no-pictures", "-q", "-o", tmp_path / "no" / "such" / "folder.html")
    assert nowhere.returncode == 1
    assert len(nowhere.stderr.splitlines()) == 1
    (tmp_path / "taken.html").mkdir()
    taken = run("report", case.dataset, "--no-pictures", "-q", "-o", tmp_path / "taken.html")
    assert taken.returncode == 1
    assert len(taken.stderr.splitlines()) == 1


@pytest.mark.slow
def test_pictures_missing_because_of_the_folder_are_explained(case: Case, tmp_path: Path) -> None:
    done = run("report", case.dataset, "-o", tmp_path / "page.html", cwd=tmp_path)
    assert done.returncode == 0
    assert "names are relative to the folder where extract ran" in done.stderr
