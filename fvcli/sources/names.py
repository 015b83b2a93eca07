"""Names of files: perhaps a million sorted in little memory, stand-ins for those that are not UTF-8, and globs."""

from __future__ import annotations

import heapq
import os
import re
import zlib
from collections.abc import Iterator, Sequence

_RUN = 1 << 15  # names sorted together
_PIECE = 1 << 9  # of them compressed together: neighbors in order are alike, so they take a few bytes each


class Names:
    """Takes names, none with a NUL, in any order; iterating gives them ascending, as strings compare."""

    def __init__(self) -> None:
        self._loose: list[str] = []
        self._runs: list[list[bytes]] = []

    def add(self, name: str) -> None:
        self._loose.append(name)
        if len(self._loose) == _RUN:
            self._loose.sort()
            self._runs.append([_packed(self._loose[at : at + _PIECE]) for at in range(0, _RUN, _PIECE)])
            self._loose = []

    def __iter__(self) -> Iterator[str]:
        self._loose.sort()
        return heapq.merge(*map(_unpacked, self._runs), self._loose) if self._runs else iter(self._loose)


def _packed(names: Sequence[str]) -> bytes:
    # Surrogates stand for bytes that are not UTF-8.
    return zlib.compress("\0".join(names).encode("utf-8", "surrogatepass"), 1)


def _unpacked(run: Sequence[bytes]) -> Iterator[str]:
    for piece in run:
        yield from zlib.decompress(piece).decode("utf-8", "surrogatepass").split("\0")


def is_utf8(name: str) -> bool:
    """False for names whose bytes are not UTF-8: the interpreter shows these bytes as surrogates."""
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


class Filter:
    """A filter of paths: an include pattern matches (any path, without one) and no exclude pattern does.

    A pattern is compared with the path below its source folder (the path as given for listed files) and with the base
    name, case and all. ``*`` and ``?`` stand for characters of one name, ``[abc]``, ``[a-z]`` and ``[!a]`` for one,
    ``**`` for any number of folders: ``*.jpg`` is every .jpg, ``2024/**`` all below 2024, ``**/raw/*.png`` each .png
    directly in a folder called raw. A folder that an exclude pattern matches is not entered.
    """

    def __init__(self, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> None:
        self._include = _compile(include)
        self._exclude = _compile(exclude)

    def takes(self, path: str, member: int = 0) -> bool:
        """Whether the file at ``path`` is wanted; ``member`` is where an archive member's own name begins in it."""
        if self._include is not None and not _matches(self._include, path, member):
            return False
        return self._exclude is None or not _matches(self._exclude, path, member)

    def enters(self, path: str) -> bool:
        """Whether the folder at ``path`` (ending in "/") may hold wanted files."""
        return self._exclude is None or not _matches(self._exclude, path.rstrip("/"))


def _matches(pattern: re.Pattern[str], path: str, member: int = 0) -> bool:
    base = max(path.rfind("/") + 1, member)
    return pattern.fullmatch(path) is not None or pattern.fullmatch(path, base) is not None


def _compile(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    if not globs:
        return None
    return re.compile("|".join(f"(?:{_translate(glob)})" for glob in globs), re.DOTALL)


def _translate(glob: str) -> str:
    """A regular expression that matches what the glob does."""
    parts = glob.rstrip("/").split("/")
    expression = ""
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == "**":
            expression += ".+" if last else "(?:.+/)?"
        else:
            expression += _translate_name(part) + ("" if last else "/")
    return expression


def _translate_name(part: str) -> str:
    expression = ""
    at = 0
    while at < len(part):
        character = part[at]
        at += 1
        if character == "*":
            expression += "[^/]*"
        elif character == "?":
            expression += "[^/]"
        elif character == "[" and (end := part.find("]", at + 1 + part.startswith("!", at))) > 0:
            inside = part[at:end].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            expression += f"(?!/)[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
            at = end + 1
        else:
            expression += re.escape(character)
    return expression
