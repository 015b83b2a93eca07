"""The globs of ``--include`` and ``--exclude``."""

from __future__ import annotations

import re


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
