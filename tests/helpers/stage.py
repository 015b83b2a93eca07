"""The report in a browser: where its pictures are, what is drawn there, and how they are touched."""

from __future__ import annotations

from typing import Any

from selenium.webdriver.common.action_chains import ActionChains

from tests.helpers.pages import paths, unpacked


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


def extent(browser: Any, canvas: str) -> list[int]:
    """[left, top, right, bottom] of a canvas's opaque pixels."""
    reach = (
        "((b) => (p.forEach((v, i) => {"
        " if (i % 4 !== 3 || v <= 200) return;"
        " const x = (i >> 2) % c.width, y = Math.floor((i >> 2) / c.width);"
        " b = [Math.min(b[0], x), Math.min(b[1], y), Math.max(b[2], x + 1), Math.max(b[3], y + 1)]; }), b)"
        ")([c.width, c.height, 0, 0])"
    )
    return list(image_data(browser, canvas, "0, 0, c.width, c.height", reach))


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
