"""The page in a real browser: it draws, answers to mouse, keyboard and touch, follows the theme and loads nothing."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fvcli.report import gather as gathering
from fvcli.report.page import render
from fvcli.report.rows import spread
from tests.helpers import browser as chromium
from tests.helpers.pages import HOSTILE_NAMES, Case, Silent, many_rows, paths, run, unpacked

pytest.importorskip("selenium")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser

PHONE = 390


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    started = chromium.start(tmp_path_factory.mktemp("browser"))
    yield started
    started.quit()


@pytest.fixture
def shown(browser: Any, page: Path) -> Iterator[Any]:
    """The page, freshly loaded; after the test nothing may have gone wrong in it, and nothing have been loaded."""
    chromium.show(browser, page)
    yield browser
    assert browser.get_log("browser") == []
    assert chromium.requested(browser) <= {page.as_uri()}


@pytest.fixture
def phone(browser: Any, page: Path) -> Iterator[Any]:
    chromium.show(browser, page, PHONE, touch=True)
    yield browser
    assert browser.get_log("browser") == []


def text(browser: Any, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).innerText", selector))


def texts(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
    return list(browser.execute_script(script, selector))


def name_shown(browser: Any) -> str:
    """The path of the picture in the inspector."""
    return str(browser.execute_script("return document.querySelector('#panel h2.name').title"))


def image_data(browser: Any, canvas: str, box: str, result: str) -> Any:
    """``result`` of the array ``p``: the bytes of [x, y, width, height] of a canvas, read from a copy of it."""
    return browser.execute_script(
        "const from = document.getElementById(arguments[0]), c = document.createElement('canvas');"
        "c.width = from.width; c.height = from.height;"
        "const to = c.getContext('2d', {willReadFrequently: true}); to.drawImage(from, 0, 0);"
        f"const p = to.getImageData({box}).data; return {result};",
        canvas,
    )


def alphas(browser: Any, canvas: str, place: tuple[float, float]) -> set[int]:
    """The opacities of a small square around a place of a canvas, 0 to 255."""
    box = f"{place[0] - 2}, {place[1] - 2}, 5, 5"
    return set(image_data(browser, canvas, box, "[...p].filter((_, i) => i % 4 === 3)"))


def inked(browser: Any, canvas: str) -> int:
    """Opaque pixels of a canvas."""
    return int(
        image_data(browser, canvas, "0, 0, c.width, c.height", "p.filter((v, i) => i % 4 === 3 && v > 200).length")
    )


def cell_of(browser: Any, facts: dict[str, Any], path: str) -> tuple[float, float]:
    """The middle of a picture's cell on an unzoomed wall, from the canvas's corner: computed from the facts alone."""
    wall = facts["wall"]
    cell = int(unpacked(wall["cells"], "u2")[unpacked(wall["rows"], "u4").tolist().index(paths(facts).index(path))])
    column, line = cell % wall["columns"], cell // wall["columns"]
    columns, lines = wall["columns"], wall["lines"]
    width, height = browser.execute_script(
        "const c = document.getElementById('canvas'); return [c.clientWidth, c.clientHeight]"
    )
    if width < 600 and columns > lines:  # a narrow stage shows the wall on its side
        column, line, columns, lines = line, column, lines, columns
    side = min(width / columns, height / lines)
    return (width - side * columns) / 2 + (column + 0.5) * side, (height - side * lines) / 2 + (line + 0.5) * side


def mouse_to(browser: Any, x: float, y: float) -> ActionChains:
    """The mouse at a place of the canvas; further actions can follow before ``perform``."""
    canvas = browser.find_element("id", "canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    size = canvas.size
    return ActionChains(browser).move_to_element_with_offset(
        canvas, round(x - size["width"] / 2), round(y - size["height"] / 2)
    )


def click(browser: Any, facts: dict[str, Any], path: str) -> None:
    mouse_to(browser, *cell_of(browser, facts, path)).click().perform()


def drawn(browser: Any) -> None:
    """Waits for the frame in which the last change is drawn."""
    browser.execute_async_script("const next = requestAnimationFrame; next(() => next(() => next(arguments[0])))")


def test_it_draws_everything(shown: Any, facts: dict[str, Any]) -> None:
    assert text(shown, "h1") == "photos"
    assert text(shown, "#failures").count("the file is empty") == 1
    chips = texts(shown, ".chip")
    assert f"{facts['rows']['count']} vectors" in chips
    assert "3 failed" in chips
    assert any("near-duplicate groups" in chip for chip in chips)
    sections = "return [...document.querySelectorAll('main > section, main > details')]"
    shown_sections = shown.execute_script(sections + ".filter((e) => !e.hidden).map((e) => e.id)")
    assert shown_sections == ["look", "duplicates", "outliers", "clusters", "extremes", "failures", "sizes", "details"]
    broken = "return [...document.images].filter((image) => image.complete && !image.naturalWidth).length"
    assert shown.execute_script(broken) == 0
    stage = shown.find_element("id", "stage").size
    assert inked(shown, "base") > 0.8 * stage["width"] * stage["height"]


def test_a_click_opens_the_picture_and_lights_its_nearest(shown: Any, facts: dict[str, Any]) -> None:
    path = "photos/coffee-alpha.webp"
    click(shown, facts, path)
    assert name_shown(shown) == path
    large = shown.find_element("css selector", "#panel .large img")
    WebDriverWait(shown, 5).until(lambda _: large.get_property("naturalWidth"))
    assert large.get_property("naturalWidth") >= 96
    assert "kB" in text(shown, "#panel .facts")
    near = facts["nearest"]
    row = paths(facts).index(path)
    places = unpacked(near["places"], "u2", facts["rows"]["count"], near["k"])[row]
    expected = [paths(facts)[place] for place in places]
    titles = "return [...document.querySelectorAll('#panel .nearest button')].map((b) => b.title)"
    assert shown.execute_script(titles) == expected
    scores = [float(score) for score in texts(shown, "#panel .nearest .score")]
    assert scores == sorted(scores, reverse=True)
    drawn(shown)
    for lit in expected[:3]:
        assert alphas(shown, "canvas", cell_of(shown, facts, lit)) == {255}
    far = next(other for other in paths(facts) if other not in expected and other != path and "rocket" not in other)
    assert alphas(shown, "base", cell_of(shown, facts, far)) <= set(range(60, 100))
    shown.find_element("css selector", "#panel .nearest button").click()
    assert name_shown(shown) == expected[0]
    shown.find_element("css selector", "#panel .close").click()
    assert text(shown, "#panel h2") == "What is here"


def test_pointing_enlarges_and_leaving_ends_it(shown: Any, facts: dict[str, Any]) -> None:
    mouse_to(shown, *cell_of(shown, facts, "photos/coffee.jpg")).perform()
    drawn(shown)
    assert "photos/coffee.jpg" in text(shown, "#pointed")
    assert inked(shown, "canvas") > 2000
    ActionChains(shown).move_to_element(shown.find_element("id", "title")).perform()
    drawn(shown)
    assert not shown.find_element("id", "pointed").is_displayed()
    assert inked(shown, "canvas") == 0


def test_a_file_that_is_gone_has_a_placeholder(shown: Any, facts: dict[str, Any], case: Case) -> None:
    click(shown, facts, f"photos/{case.gone}")
    assert text(shown, "#panel .picture.none") == "file is gone"
    click(shown, facts, f"photos/{case.changed}")
    assert text(shown, "#panel .picture.none") == "file has changed since"
    assert "2 of the" in text(shown, "#notice")


def test_the_keyboard_moves_opens_and_closes(shown: Any, facts: dict[str, Any]) -> None:
    canvas = shown.find_element("id", "canvas")
    shown.execute_script("document.getElementById('canvas').focus()")
    canvas.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    wall = facts["wall"]
    by_cell = dict(zip(unpacked(wall["cells"], "u2").tolist(), unpacked(wall["rows"], "u4").tolist(), strict=True))
    cell = min(by_cell)
    cell = next(other for other in range(cell + 1, wall["columns"]) if other in by_cell)
    cell = next(other for other in range(cell + wall["columns"], 10**4, wall["columns"]) if other in by_cell)
    expected = paths(facts)[by_cell[cell]]
    assert expected.rpartition("/")[2] in str(shown.find_element("id", "said").get_property("textContent"))
    assert text(shown, "#panel h2") == "What is here"
    canvas.send_keys(Keys.ENTER)
    assert name_shown(shown) == expected
    canvas.send_keys(Keys.ARROW_LEFT)
    line = range(cell - 1, cell - cell % wall["columns"] - 1, -1)
    assert name_shown(shown) == paths(facts)[by_cell[next((other for other in line if other in by_cell), cell)]]
    canvas.send_keys("++")
    assert shown.find_element("id", "zoom-all").is_displayed()
    canvas.send_keys("0")
    assert not shown.find_element("id", "zoom-all").is_displayed()
    canvas.send_keys(Keys.ESCAPE)
    assert text(shown, "#panel h2") == "What is here"


def test_find_lists_and_lights_rows(shown: Any, facts: dict[str, Any]) -> None:
    body = shown.find_element("tag name", "body")
    body.send_keys("/")
    field = shown.switch_to.active_element
    assert field.get_attribute("id") == "find"
    field.send_keys("COFFEE")
    expected = [path for path in paths(facts) if "coffee" in path.lower()]
    assert text(shown, "#found") == f"{len(expected)} pictures found"
    titles = "return [...document.querySelectorAll('.results button')].map((b) => b.title)"
    assert shown.execute_script(titles) == expected
    field.send_keys(Keys.ARROW_DOWN)
    shown.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    shown.switch_to.active_element.send_keys(Keys.ENTER)
    assert name_shown(shown) == expected[1]
    shown.find_element("css selector", "#panel .back").click()
    assert shown.execute_script(titles) == expected
    shown.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert text(shown, "#panel h2") == "What is here"
    shown.find_element("id", "find").send_keys("nothing is called this")
    assert text(shown, "#found") == "Nothing found"


def test_names_are_text_whatever_they_hold(shown: Any, facts: dict[str, Any]) -> None:
    assert shown.title.startswith("photos")
    assert shown.execute_script("return document.querySelectorAll('[onerror], main b b, main script').length") == 0
    for name in HOSTILE_NAMES[:3]:
        assert f"photos/odd/{name}" in paths(facts)
        shown.find_element("id", "find").clear()
        shown.find_element("id", "find").send_keys(name)
        assert text(shown, "#found") == "1 picture found"
    assert any("\\x0a" in name for name in paths(facts))
    assert any("\\u202e" in name for name in paths(facts))


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
    WebDriverWait(browser, 5).until(lambda _: "Copied" in text(browser, "#toast"))
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
    WebDriverWait(shown, 5).until(lambda _: text(shown, "#toast") == "Path copied")
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, (e) => done(String(e)))"
    assert shown.execute_async_script(read) == "photos/cat\na third.jpg"


def test_the_map_is_a_second_tab_with_a_legend_that_filters(shown: Any, facts: dict[str, Any]) -> None:
    before = inked(shown, "base")
    shown.find_element("id", "tab-map").click()
    drawn(shown)
    assert shown.find_element("id", "tab-map").get_attribute("aria-selected") == "true"
    dots = inked(shown, "base")
    assert 100 < dots < before / 3
    assert shown.find_element("id", "legend").is_displayed()
    shown.find_element("css selector", "#colors [data-name=folder]").click()
    names = [kind["name"] for kind in next(one for one in facts["groupings"] if one["name"] == "folder")["kinds"]]
    titles = "return [...document.querySelectorAll('#legend .name')].map((e) => e.title)"
    assert shown.execute_script(titles) == names
    drawn(shown)
    lit = inked(shown, "base")
    shown.find_elements("css selector", "#legend [aria-pressed]")[-1].click()
    drawn(shown)
    assert inked(shown, "base") < lit / 2  # the others are faint
    shown.find_element("id", "legend-all").click()
    drawn(shown)
    assert inked(shown, "base") == lit
    for _ in range(4):
        shown.find_element("id", "zoom-in").click()
    drawn(shown)
    shown.find_element("id", "tab-map").send_keys(Keys.ARROW_LEFT)
    assert shown.find_element("id", "tab-wall").get_attribute("aria-selected") == "true"


def test_pictures_on_the_map_grow_with_the_zoom(shown: Any) -> None:
    shown.find_element("id", "tab-map").click()
    drawn(shown)
    dots = inked(shown, "base")
    for _ in range(3):
        shown.find_element("id", "zoom-in").click()
    WebDriverWait(shown, 5).until(lambda _: inked(shown, "base") > 2 * dots)


def test_clusters_lead_to_the_wall(shown: Any, facts: dict[str, Any]) -> None:
    shown.find_element("css selector", "#panel .overview button").click()
    assert shown.find_element("css selector", "#legend [aria-pressed=true]").is_displayed()
    assert facts["clusters"][0]["name"] in text(shown, "#legend [aria-pressed=true]")


def touch(browser: Any, kind: str, *points: tuple[float, float]) -> None:
    touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def box(browser: Any, element: str) -> list[float]:
    """[left, top, right, bottom] of an element in the window."""
    script = "const b = document.getElementById(arguments[0]).getBoundingClientRect();"
    return list(browser.execute_script(script + "return [b.left, b.top, b.right, b.bottom];", element))


def on_screen(browser: Any, x: float, y: float) -> tuple[float, float]:
    """A place of the canvas in the window, after scrolling there."""
    browser.execute_script("document.getElementById('canvas').scrollIntoView({block: 'start'})")
    left, top, _, _ = box(browser, "canvas")
    return left + x, top + y


def test_a_tap_on_a_phone_opens_the_panel_below_the_wall(phone: Any, facts: dict[str, Any]) -> None:
    assert phone.execute_script("return document.documentElement.scrollWidth") <= PHONE
    place = on_screen(phone, *cell_of(phone, facts, "photos/coffee.jpg"))
    touch(phone, "touchStart", place)
    touch(phone, "touchEnd")
    WebDriverWait(phone, 5).until(lambda _: phone.find_element("id", "panel").is_displayed())
    assert name_shown(phone) == "photos/coffee.jpg"
    left, top, right, bottom = box(phone, "panel")
    assert (left, right, bottom) == (0, PHONE, 900)
    assert box(phone, "canvas")[1] + cell_of(phone, facts, "photos/coffee.jpg")[1] < top
    assert phone.execute_script("return document.documentElement.scrollWidth") <= PHONE
    phone.find_element("css selector", "#panel .close").click()
    assert not phone.find_element("id", "panel").is_displayed()


def test_two_fingers_zoom_the_wall_and_not_the_page(phone: Any) -> None:
    size = phone.find_element("id", "canvas").size
    x, y = on_screen(phone, size["width"] / 2, min(200, size["height"] / 2))
    touch(phone, "touchStart", (x - 20, y), (x + 20, y))
    for far in (30, 50, 80):
        touch(phone, "touchMove", (x - far, y), (x + far, y))
    touch(phone, "touchEnd")
    WebDriverWait(phone, 5).until(lambda _: phone.find_element("id", "zoom-all").is_displayed())
    assert phone.execute_script("return visualViewport.scale") == 1
    phone.find_element("id", "zoom-all").click()
    assert not phone.find_element("id", "zoom-all").is_displayed()


def test_the_menu_leads_to_the_sections(phone: Any) -> None:
    phone.find_element("css selector", "#menu summary").click()
    link = phone.find_element("css selector", "#contents a[href='#sizes']")
    left, _, right, _ = box(phone, "contents")
    assert 0 <= left < right <= PHONE
    link.click()
    assert phone.execute_script("return document.getElementById('sizes').open")
    assert not phone.find_element("id", "contents").is_displayed()


@pytest.mark.parametrize("width", [320, 390, 800, 1600])
def test_nothing_runs_out_of_the_window(browser: Any, page: Path, width: int) -> None:
    chromium.show(browser, page, width)
    browser.execute_script("for (const e of document.querySelectorAll('details:not(.menu)')) e.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert inked(browser, "base") > 10_000
    if width == 390:
        collide = browser.execute_script(
            "const boxes = [...document.querySelectorAll('.tools > *, .chip, .corner > *, h1')]"
            ".filter((e) => e.checkVisibility()).map((e) => e.getBoundingClientRect());"
            "const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1;"
            "return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => meet(a, b) && meet(b, a))).length;"
        )
        assert collide == 0


def background(browser: Any) -> int:
    """How light the page is, 0 to 255."""
    color = str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    return int(color.removeprefix("rgb(").split(",")[0])


def test_it_follows_the_theme_and_the_switch(browser: Any, page: Path) -> None:
    chromium.show(browser, page, scheme="dark")
    assert background(browser) < 40
    switch = browser.find_element("id", "theme")
    switch.click()
    assert background(browser) > 230
    switch.click()
    assert background(browser) < 40
    chromium.show(browser, page, scheme="light")
    assert background(browser) > 230
    assert browser.get_log("browser") == []


def contrasts(browser: Any) -> list[tuple[float, str]]:
    """The WCAG contrast ratios of the texts that are shown, lowest first, each with its text."""
    return [
        (float(ratio), str(words))
        for ratio, words in browser.execute_script(
            """
            const parse = (text) => text.match(/[\\d.]+/g).map(Number);
            const light = (c) => c.slice(0, 3).map((v) => v / 255)
                .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
            const ground = (e) => {
                for (; e; e = e.parentElement) {
                    const c = parse(getComputedStyle(e).backgroundColor);
                    if (c.length < 4 || c[3] > 0) return c;
                }
                return [255, 255, 255];
            };
            const found = [];
            for (const e of document.querySelectorAll('body *')) {
                if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
                if (!e.checkVisibility() || ['SCRIPT', 'STYLE', 'NOSCRIPT', 'OPTION'].includes(e.tagName)) continue;
                const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
                found.push([(a + .05) / (b + .05), e.textContent.slice(0, 40)]);
            }
            return found.sort((x, y) => x[0] - y[0]);
            """
        )
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_readable_on_their_ground(browser: Any, page: Path, facts: dict[str, Any], scheme: str) -> None:
    chromium.show(browser, page, scheme=scheme)
    click(browser, facts, "photos/coffee.jpg")
    found = contrasts(browser)
    assert len(found) > 100
    assert found[0][0] >= 4.5, found[:3]


def test_everything_to_operate_has_a_name(shown: Any, facts: dict[str, Any]) -> None:
    click(shown, facts, "photos/coffee.jpg")
    names = shown.execute_script(
        "const all = 'button, input, a, select, summary, canvas[tabindex], section, aside, nav';"
        "const label = (e) => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.innerText ||"
        "  (e.labels && e.labels[0] && e.labels[0].textContent) || e.title || '';"
        "return [...document.querySelectorAll(all)].filter((e) => e.checkVisibility())"
        "  .map((e) => [e.outerHTML.slice(0, 80), label(e).trim()]);"
    )
    assert len(names) > 20
    assert [element for element, name in names if not name] == []
    unnamed = "return [...document.images].filter((i) => !i.hasAttribute('alt')).length"
    assert shown.execute_script(unnamed) == 0
    assert shown.execute_script("return document.querySelectorAll('h1').length") == 1


def test_it_prints_with_everything_unfolded(shown: Any) -> None:
    printed = base64.b64decode(shown.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF")
    assert len(printed) > 100_000  # the wall is in it
    assert shown.execute_script("return document.querySelectorAll('.folded[open]').length") == 0


def test_a_page_without_rows_says_so_quietly(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    assert run("extract", "photos", "-q", cwd=tmp_path).returncode == 3
    assert run("report", "features", "-q", cwd=tmp_path).returncode == 0
    chromium.show(browser, tmp_path / "report.html")
    assert "0 pictures" in text(browser, "#lead")
    assert not browser.find_element("id", "look").is_displayed()
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_a_page_of_50_000_rows_is_below_15_mb_and_finds_all_of_them(
    browser: Any, sample_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flat(units: np.ndarray, seed: int, threads: int) -> np.ndarray:
        return units[:, :2]

    monkeypatch.setattr(gathering, "embed", flat)  # how well it is arranged is not what is looked at
    sources = sorted(sample_images.glob("cat*.jpg"))
    dataset = many_rows(tmp_path, 50_000, spread(50_000, gathering.WALL_PICTURES, 0).tolist(), sources, 16)
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.html"
    page.write_bytes(render(gathering.gather(dataset, "features", gathering.Options(threads=2), Silent())))
    assert page.stat().st_size < 15_000_000
    chromium.show(browser, page)
    assert "50,000 pictures" in text(browser, "#lead")
    browser.find_element("id", "find").send_keys("IMG_2024049999")
    assert text(browser, "#found") == "1 picture found"
    browser.find_element("id", "find").send_keys(Keys.ENTER)
    assert name_shown(browser) == "photos/album 124/IMG_2024049999.jpg"
    assert len(texts(browser, "#panel .nearest .score")) == 8
    assert browser.get_log("browser") == []
