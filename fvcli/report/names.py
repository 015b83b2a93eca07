"""Names of files as text that a page can show: one line, nothing hidden, nothing that turns the line round."""

from __future__ import annotations

import unicodedata

#: Longer names lose their middle; the page's size stays bounded whatever the files are called.
NAME_CHARACTERS = 160
MESSAGE_CHARACTERS = 300

# They only join emoji or choose how one looks; escaped, a family would fall apart.
_HARMLESS = frozenset("\u200d\ufe0e\ufe0f")


def readable(text: str, limit: int = NAME_CHARACTERS) -> str:
    """The text with control, direction and other invisible characters escaped, of at most ``limit`` characters."""
    if len(text) > limit * 4:  # a path may be 4 KiB and there are many: escape no more than can be shown
        text = f"{text[: limit * 2]}{text[-limit * 2 :]}"
        cut = True
    else:
        cut = False
    shown = "".join(char if _visible(char) else _escaped(char) for char in text)
    if len(shown) <= limit and not cut:
        return shown
    head = (limit - 1) // 2
    return f"{shown[:head]}…{shown[-(limit - 1 - head) :]}"


def _visible(char: str) -> bool:
    return char == " " or char in _HARMLESS or unicodedata.category(char)[0] not in "CZ"


def _escaped(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
