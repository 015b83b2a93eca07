"""The wall, the map, the panel and find, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.helpers.pages import HOSTILE_NAMES, Case, paths, unpacked
from tests.helpers.stage import alphas, cell_of, click, drawn, extent, inked, mouse_to, name_shown, text, texts

pytestmark = pytest.mark.browser


def test_it_draws_everything(shown: Any, facts: dict[str, Any]) -> None:
    assert text(shown, "h1") == "photos"
    assert text(shown, "#failures").count("the file is empty") == 1
    chips = texts(shown, ".chip")
    assert f"{facts['rows']['count']} vectors" in chips
    assert "3 failed" in chips
    assert "1 .xyz passed over" in chips
    assert ".xyz" in text(shown, "#passed-over")
    assert any("near-duplicate groups" in chip for chip in chips)
    sections = "return [...document.querySelectorAll('main > section, main > details')]"
    shown_sections = shown.execute_script(sections + ".filter((e) => !e.hidden).map((e) => e.id)")
    assert shown_sections == [
        "look",
        "duplicates",
        "outliers",
        "clusters",
        "extremes",
        "failures",
        "passed-over",
        "sizes",
        "details",
    ]
    broken = "return [...document.images].filter((image) => image.complete && !image.naturalWidth).length"
    assert shown.execute_script(broken) == 0
    stage = shown.find_element("id", "stage").size
    assert inked(shown, "base") > 0.8 * stage["width"] * stage["height"]


def test_a_click_opens_the_picture_and_lights_its_nearest(shown: Any, facts: dict[str, Any]) -> None:
    path = "photos/coffee-alpha.webp"
    click(shown, facts, path)
    assert name_shown(shown) == path
    large = shown.find_element("css selector", "#panel .large img")
    WebDriverWait(shown, 30).until(lambda _: large.get_property("naturalWidth"))
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
    shown.find_element("id", "find").send_keys("coffee-alpha")  # all others are pale

    def side() -> float:
        left, top, right, bottom = extent(shown, "base")
        assert right - left == pytest.approx(bottom - top, abs=2)
        return right - left

    WebDriverWait(shown, 30).until(lambda _: 0 < extent(shown, "base")[2] - extent(shown, "base")[0] < 12)
    small = side()
    left, top, right, bottom = extent(shown, "base")
    canvas = shown.find_element("id", "canvas")
    across, down = (
        round(middle)
        for middle in ((left + right - canvas.size["width"]) / 2, (top + bottom - canvas.size["height"]) / 2)
    )
    wheel = ActionChains(shown).key_down(Keys.CONTROL)
    wheel.scroll_from_origin(ScrollOrigin.from_element(canvas, across, down), 0, -300).key_up(Keys.CONTROL).perform()
    WebDriverWait(shown, 30).until(lambda _: side() > 2 * small)


def test_clusters_lead_to_the_wall(shown: Any, facts: dict[str, Any]) -> None:
    shown.find_element("css selector", "#panel .overview button").click()
    assert shown.find_element("css selector", "#legend [aria-pressed=true]").is_displayed()
    assert facts["clusters"][0]["name"] in text(shown, "#legend [aria-pressed=true]")
