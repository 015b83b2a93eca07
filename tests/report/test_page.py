"""The page as a file: nothing in it comes from a name, nothing in it refers to anything outside."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.helpers.pages import Parts


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
