"""The page in a real browser: it draws, answers to mouse and keyboard, follows the theme and loads nothing.

Needs Chromium, its driver and Selenium; skipped where one of them is missing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import HOSTILE_NAMES, Case

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = pytest.mark.browser

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


def show(browser: Any, page: Path, width: int = 1200, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script("return document.documentElement.dataset.ready"))


@pytest.fixture
def shown(browser: Any, page: Path) -> Iterator[Any]:
    """The page, freshly loaded; after the test nothing may have gone wrong in it, and nothing have been loaded."""
    show(browser, page)
    yield browser
    assert browser.get_log("browser") == []
    assert requested(browser) <= {page.as_uri()}


def requested(browser: Any) -> set[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent" and "request" in message["params"]
    }
    return {url for url in urls if not url.startswith("data:")}


def text(browser: Any, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).innerText", selector))


def dots_drawn(browser: Any) -> int:
    """Opaque pixels of the map."""
    return int(
        browser.execute_script(
            "const from = document.getElementById('canvas'), c = document.createElement('canvas');"
            "c.width = from.width; c.height = from.height;"
            "const to = c.getContext('2d', {willReadFrequently: true}); to.drawImage(from, 0, 0);"
            "const p = to.getImageData(0, 0, c.width, c.height).data;"
            "let n = 0; for (let i = 3; i < p.length; i += 4) if (p[i] > 60) n += 1; return n;"
        )
    )


def place_of(browser: Any, name: str) -> tuple[float, float]:
    """Where on the canvas the dot of the image with this name lies, from its middle: computed from the facts alone."""
    found = browser.execute_script(
        """
        const facts = JSON.parse(document.getElementById('facts').textContent), plan = facts.map;
        const raw = atob(plan.points), at = (i) => (raw.charCodeAt(2 * i) | raw.charCodeAt(2 * i + 1) << 8) / 65535;
        const [point] = plan.named.find(([, item]) => facts.items[item].name === arguments[0]);
        const c = document.getElementById('canvas'), width = c.clientWidth, height = c.clientHeight;
        const wide = Math.min(1, 1 / plan.aspect), high = Math.min(1, plan.aspect), margin = Math.min(28, width * .05);
        const across = (width - 2 * margin) / wide, down = (height - 2 * margin) / high;
        return [(at(2 * point) - wide / 2) * Math.min(across, down * 1.9),
                (high / 2 - at(2 * point + 1)) * Math.min(down, across * 1.9)];
        """,
        name,
    )
    return float(found[0]), float(found[1])


def point_at(browser: Any, name: str) -> None:
    canvas = browser.find_element("id", "canvas")
    browser.execute_script("document.getElementById('plane').scrollIntoView({block: 'center'})")
    x, y = place_of(browser, name)
    ActionChains(browser).move_to_element_with_offset(canvas, round(x), round(y)).perform()


def outermost(browser: Any, axis: int, sign: int) -> list[str]:
    """Names of the images furthest along an axis of the map: copies lie in one place."""
    return list(
        browser.execute_script(
            """
            const [axis, sign] = arguments;
            const facts = JSON.parse(document.getElementById('facts').textContent), raw = atob(facts.map.points);
            const at = (i) => raw.charCodeAt(4 * i + 2 * axis) | raw.charCodeAt(4 * i + 2 * axis + 1) << 8;
            const most = Math.max(...facts.map.named.map(([point]) => sign * at(point)));
            const outer = facts.map.named.filter(([point]) => sign * at(point) === most);
            return outer.map(([, item]) => facts.items[item].name);
            """,
            axis,
            sign,
        )
    )


def test_it_draws_everything(shown: Any, case: Case) -> None:
    assert text(shown, "h1") == "features"
    assert "every" not in text(shown, "#figures")
    assert dots_drawn(shown) > 200
    assert text(shown, "#failures-kinds").count("the file is empty") == 1
    assert shown.execute_script("return document.querySelectorAll('#neighbours-rows > li').length") == 12
    assert shown.execute_script("return document.querySelectorAll('.histogram').length") == 4
    broken = "return [...document.images].filter((image) => image.complete && !image.naturalWidth).length"
    assert shown.execute_script(broken) == 0


def test_pointing_at_a_dot_shows_its_picture_and_leaving_hides_it(shown: Any) -> None:
    assert not shown.find_element("id", "card").is_displayed()
    point_at(shown, "coffee-alpha.webp")
    card = shown.find_element("id", "card")
    assert card.is_displayed()
    picture = card.find_element("tag name", "img")
    WebDriverWait(shown, 5).until(lambda _: picture.get_property("naturalWidth"))
    assert picture.get_property("naturalWidth") >= 96
    assert picture.get_attribute("src").startswith("data:image/webp;base64,")
    assert picture.get_attribute("alt").startswith("coffee")
    ActionChains(shown).move_to_element(shown.find_element("id", "neighbours-title")).perform()
    assert not card.is_displayed()


def test_a_file_that_is_gone_has_a_placeholder(shown: Any, case: Case) -> None:
    shown.find_element("id", "find").send_keys(case.gone)
    assert text(shown, "#found") == "1 image"
    assert shown.execute_script("return document.querySelectorAll('.picture.none').length") >= 1
    point_at(shown, case.changed)
    assert "file has changed since" in text(shown, "#card")


def test_the_keyboard_goes_from_image_to_image(shown: Any) -> None:
    canvas = shown.find_element("id", "canvas")
    shown.execute_script("document.getElementById('plane').scrollIntoView({block: 'center'})")
    shown.execute_script("document.getElementById('canvas').focus()")
    for key, axis, sign in ((Keys.ARROW_RIGHT, 0, 1), (Keys.ARROW_UP, 1, 1), (Keys.ARROW_LEFT, 0, -1)):
        canvas.send_keys(key)
        assert shown.find_element("id", "card").is_displayed()
        assert text(shown, "#card .name") in str(shown.find_element("id", "said").get_property("textContent"))
        canvas.send_keys(key * 60)  # as far as it goes, which no image can be left out of
        assert text(shown, "#card .name") in outermost(shown, axis, sign)
    canvas.send_keys("++")
    assert shown.find_element("id", "card").is_displayed()
    canvas.send_keys(Keys.ESCAPE)
    assert not shown.find_element("id", "card").is_displayed()


def test_pictures_can_stand_on_the_map_itself(shown: Any) -> None:
    before = dots_drawn(shown)
    shown.execute_script("document.querySelector('input[value=pictures]').click()")
    WebDriverWait(shown, 5).until(lambda _: dots_drawn(shown) > 10 * before)  # some overlap
    point_at(shown, "coffee-alpha.webp")
    assert shown.find_element("id", "card").is_displayed()
    shown.execute_script("document.querySelector('input[value=dots]').click()")
    assert dots_drawn(shown) < 2 * before


def test_names_are_text_whatever_they_hold(shown: Any) -> None:
    assert shown.title.startswith("features")
    assert shown.execute_script("return document.querySelectorAll('[onerror], main b b, main script').length") == 0
    names = shown.execute_script(
        "return JSON.parse(document.getElementById('facts').textContent).items.map(i => i.name)"
    )
    for name in HOSTILE_NAMES[:3]:
        assert f"odd/{name}" in names
        shown.find_element("id", "find").clear()
        shown.find_element("id", "find").send_keys(name)
        assert text(shown, "#found") == "1 image"
        point_at(shown, f"odd/{name}")
        assert text(shown, "#card .name").startswith("odd/")
    assert any("\\x0a" in name for name in names)
    assert any("\\u202e" in name for name in names)


def background(browser: Any) -> int:
    """How light the page is, 0 to 255."""
    colour = str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    return int(colour.removeprefix("rgb(").split(",")[0])


def test_it_follows_the_theme_and_the_switch(browser: Any, page: Path) -> None:
    show(browser, page, scheme="dark")
    assert background(browser) < 40
    switch = browser.find_element("id", "theme")
    switch.click()
    assert background(browser) > 230
    switch.click()
    assert background(browser) < 40
    show(browser, page, scheme="light")
    assert background(browser) > 230
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [320, 400, 800, 1600])
def test_nothing_runs_out_of_the_window(browser: Any, page: Path, width: int) -> None:
    show(browser, page, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert dots_drawn(browser) > 100


def contrasts(browser: Any) -> list[float]:
    """The WCAG contrast ratios of the texts that are shown, lowest first."""
    return list(
        browser.execute_script(
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
                if (!e.checkVisibility() || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(e.tagName)) continue;
                const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
                found.push((a + .05) / (b + .05));
            }
            return found.sort((x, y) => x - y);
            """
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_readable_on_their_ground(browser: Any, page: Path, scheme: str) -> None:
    show(browser, page, scheme=scheme)
    found = contrasts(browser)
    assert len(found) > 100
    assert found[0] >= 4.5


def test_everything_to_operate_has_a_name(shown: Any) -> None:
    names = shown.execute_script(
        "return [...document.querySelectorAll('button, input, a, canvas, section')].filter((e) => e.checkVisibility())"
        ".map((e) => [e.outerHTML.slice(0, 80), (e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || "
        "e.innerText || (e.labels && e.labels[0] && e.labels[0].textContent) || '').trim()])"
    )
    assert len(names) > 10
    assert [element for element, name in names if not name] == []
    assert shown.execute_script("return [...document.images].filter((i) => !i.alt).length") == 0
    assert shown.execute_script("return document.querySelectorAll('h1').length") == 1
