"""The page in windows of any width, under fingers, in both themes, on paper, and with very many rows."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from fvcli.report import gather as gathering
from fvcli.report.page import render
from fvcli.report.rows import spread
from tests.helpers import browser as chromium
from tests.helpers.pages import Silent, many_rows, run
from tests.helpers.stage import box, cell_of, click, inked, name_shown, on_screen, text, texts, touch

pytestmark = pytest.mark.browser

PHONE = 390


def test_a_tap_on_a_phone_opens_the_panel_below_the_wall(phone: Any, facts: dict[str, Any]) -> None:
    assert phone.execute_script("return document.documentElement.scrollWidth") <= PHONE
    place = on_screen(phone, *cell_of(phone, facts, "photos/coffee.jpg"))
    touch(phone, "touchStart", place)
    touch(phone, "touchEnd")
    WebDriverWait(phone, 30).until(lambda _: phone.find_element("id", "panel").is_displayed())
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
    WebDriverWait(phone, 30).until(lambda _: phone.find_element("id", "zoom-all").is_displayed())
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
    folded = "document.querySelectorAll('.folded:not([open])').length"
    assert shown.execute_script(f"return {folded}") > 0
    shown.execute_script(f"addEventListener('beforeprint', () => {{ window.folded = {folded}; }})")
    printed = base64.b64decode(shown.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF")
    assert len(printed) > 100_000  # the wall is in it
    assert shown.execute_script("return window.folded") == 0
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
