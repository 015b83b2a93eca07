"""Readable stand-ins for names that are not UTF-8. The interpreter shows such a name's bytes as surrogates."""

from __future__ import annotations

import os
from collections.abc import Sequence


def is_utf8(name: str) -> bool:
    """False for names whose bytes are not UTF-8."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(name: str) -> str:
    """The name itself, or its stand-in: bytes that are not UTF-8 as ``\\xe9``."""
    return name if is_utf8(name) else os.fsencode(name).decode(errors="backslashreplace")


def decoded(name: bytes) -> tuple[str, bytes | None]:
    """(readable name, its bytes where they are not UTF-8)."""
    try:
        return name.decode(), None
    except UnicodeDecodeError:
        return name.decode(errors="backslashreplace"), name


def with_stand_ins(names: Sequence[str]) -> list[tuple[str, str]]:
    """(readable, name) for the names of one folder; the readable forms are unique. Folders' names end in "/"."""
    pairs = [(name, name) for name in names if is_utf8(name)]
    if len(pairs) == len(names):
        return pairs
    taken = {shown for shown, _ in pairs}
    for name in sorted(name for name in names if not is_utf8(name)):
        shown = readable(name)
        while shown in taken:
            shown = shown[:-1] + "\\/" if shown.endswith("/") else shown + "\\"
        taken.add(shown)
        pairs.append((shown, name))
    return pairs
