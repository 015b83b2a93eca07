"""The page: a template, its styles and scripts, and the facts, as one HTML file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources

from fvcli.report.facts import Facts

_PLACES = ("policy", "title", "style", "facts", "script")  # in the order of the template
_STYLES = ("page", "stage", "sections")
#: One after the other they are one script with one scope; each uses only names of those before it.
_SCRIPTS = (
    "values",
    "rows",
    "pictures",
    "drawing",
    "view",
    "stage",
    "inspector",
    "find",
    "lists",
    "duplicates",
    "sections",
    "details",
    "main",
)


def render(facts: Facts) -> bytes:
    """The whole file, UTF-8. Its content security policy allows nothing but its own style and script."""
    style = "".join(_part(f"{name}.css") for name in _STYLES)
    script = '"use strict";\n(() => {\n' + "".join(_part(f"{name}.js") for name in _SCRIPTS) + "})();\n"
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )
    values = {
        "policy": html.escape(policy),
        "title": html.escape(f"{facts.summary.title} – fvcli report"),
        "style": style,
        "script": script,
        "facts": facts.to_json(),
    }
    # Split first and join after: nothing in a value can be taken for a place.
    page = _part("template.html")
    done: list[str] = []
    for name in _PLACES:
        before, place, page = page.partition(f"{{{{{name}}}}}")
        if not place:
            raise AssertionError(f"the template lacks its {name}")
        done += [before, values[name]]
    # Lone surrogates cannot come from readable(); should one, it stays an escape that JSON understands.
    return "".join([*done, page]).encode("utf-8", "backslashreplace")


def _part(name: str) -> str:
    return (resources.files("fvcli.report") / "web" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The name of an inline element in a content security policy (CSP level 3, 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
