"""Text for people, whatever the names in it are."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text as one line that no terminal takes for a command: control characters and lone surrogates escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )
