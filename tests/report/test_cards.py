"""The near-duplicates of the page in a real browser: the slider, the cards, and the lists for other programs."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")
from selenium.webdriver.support.ui import WebDriverWait

from tests.helpers.pages import Case, paths, unpacked
from tests.helpers.stage import click, drawn, text, texts

pytestmark = pytest.mark.browser


def slide(browser: Any, value: float) -> None:
    browser.execute_script(
        "const s = document.getElementById('threshold'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))",
        value,
    )
    drawn(browser)


def groups_at(facts: dict[str, Any], threshold: float) -> list[set[int]]:
    groups: dict[int, set[int]] = {}
    for a, b, score in facts["duplicates"]["links"]:
        if score >= threshold:
            together = groups.get(a, {a}) | groups.get(b, {b})
            groups.update(dict.fromkeys(together, together))
    return [set(group) for group in {frozenset(group) for group in groups.values()}]


@pytest.mark.parametrize("threshold", [0.85, 0.9, 0.97, 1.0])
def test_the_slider_regroups_the_near_duplicates(shown: Any, facts: dict[str, Any], threshold: float) -> None:
    slide(shown, threshold)
    groups = groups_at(facts, threshold)
    assert f"{len(groups)} groups" in text(shown, "#duplicates-sum")
    assert len(texts(shown, ".card")) == len(groups)
    counts = [int(header.split()[0]) for header in texts(shown, ".card header b")]
    assert sorted(counts) == sorted(len(group) for group in groups)
    assert texts(shown, ".card .tag").count("best") == len(groups)


def test_the_best_of_a_group_is_the_largest_and_copies_are_called_so(shown: Any, facts: dict[str, Any]) -> None:
    script = (
        "const card = [...document.querySelectorAll('.card')].find((c) => c.querySelector('[title$=\"half.jpg\"]'));"
        "const name = (tag) => tag.closest('figure, .others li').querySelector('.name').title;"
        "return [...card.querySelectorAll('.tag')].map((tag) => [name(tag), tag.textContent]);"
    )
    tags = dict(shown.execute_script(script))
    assert tags["photos/cat again.jpg"] == "best"
    assert tags["photos/cat.jpg"] == "same file"
    assert tags["photos/cat's half.jpg"] == tags["photos/cat\\x0aa third.jpg"] == "smaller"
    assert list(tags.values()).count("best") == 1


def copied(browser: Any, format: str) -> str:
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    browser.execute_script("document.getElementById('list-format').value = arguments[0]", format)
    browser.find_element("id", "list-copy").click()
    WebDriverWait(browser, 30).until(lambda _: "Copied" in text(browser, "#toast"))
    return str(
        browser.execute_async_script(
            "const done = arguments[0]; navigator.clipboard.readText().then(done, (e) => done(String(e)))"
        )
    )


def smaller_ones(facts: dict[str, Any]) -> list[bytes]:
    """The paths of all but the best of each group at the page's threshold: most pixels, most bytes, first path."""
    rows = facts["rows"]
    sizes = unpacked(rows["sizes"], "u4", rows["count"], 3).tolist()
    found = []
    for group in groups_at(facts, facts["duplicates"]["threshold"]):
        order = sorted(group, key=lambda row: (-sizes[row][0] * sizes[row][1], -sizes[row][2], row))
        found += [exact_path(facts, row) for row in order[1:]]
    return found


def exact_path(facts: dict[str, Any], row: int) -> bytes:
    rows = facts["rows"]
    if str(row) in rows["raw"]:
        return base64.b64decode(rows["raw"][str(row)])
    return str(rows["exact"].get(str(row), paths(facts)[row])).encode()


def test_lists_of_the_smaller_ones_hold_exact_names(shown: Any, facts: dict[str, Any]) -> None:
    expected = smaller_ones(facts)
    utf8 = [path for path in expected if b"\xe9" not in path]
    assert len(utf8) < len(expected)
    plain = copied(shown, "plain")
    assert sorted(plain.encode().splitlines()) == sorted(path for path in utf8 if b"\n" not in path)
    assert "cannot be in this format" in text(shown, "#toast")
    assert sorted(copied(shown, "nul").encode().split(b"\0")[:-1]) == sorted(utf8)


def test_the_script_moves_the_smaller_ones_and_nothing_else(
    shown: Any, facts: dict[str, Any], case: Case, tmp_path: Path
) -> None:
    script = copied(shown, "script")
    expected = set(smaller_ones(facts))
    shutil.copytree(case.photos, tmp_path / "photos", symlinks=True)
    before = {path.relative_to(tmp_path) for path in (tmp_path / "photos").rglob("*") if path.is_file()}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = {path.relative_to(tmp_path) for path in (tmp_path / "photos").rglob("*") if path.is_file()}
    moved = {path.relative_to(tmp_path / "smaller") for path in (tmp_path / "smaller").rglob("*") if path.is_file()}
    assert {bytes(path) for path in before - after} == expected
    assert moved == before - after


def test_the_path_is_copied(shown: Any, facts: dict[str, Any]) -> None:
    shown.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    click(shown, facts, "photos/cat\\x0aa third.jpg")
    shown.find_element("css selector", "#panel .title button").click()
    WebDriverWait(shown, 30).until(lambda _: text(shown, "#toast") == "Path copied")
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, (e) => done(String(e)))"
    assert shown.execute_async_script(read) == "photos/cat\na third.jpg"
