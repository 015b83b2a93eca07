"""Text for people, whatever the names in it are."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB")


def printable(text: str) -> str:
    """The text as one line that no terminal takes for a command: control characters and lone surrogates escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )


def in_bytes(value: float) -> str:
    """A size in decimal units, three digits: "1.5 MB"."""
    power = 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {_UNITS[power]}"
