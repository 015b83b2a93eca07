"""Names of files, and what a search takes by them.

Perhaps a million names of one folder are sorted in little memory. Names that are not UTF-8 have stand-ins. Globs and
extensions choose inputs, and what is passed over is counted by kind.
"""

from __future__ import annotations

import heapq
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from fvcli.files import is_ours
from fvcli.sources.folders import LocalFolder
from fvcli.sources.formats import SNIFF_BYTES, has_image_extension, sniff

_RUN = 1 << 15  # names sorted together
_PIECE = 1 << 9  # of them compressed together: neighbors in order are alike, so they take a few bytes each

#: Extensions of archives whose members can be inputs.
ARCHIVE_EXTENSIONS = (".tar", ".zip", ".parquet")
LINKED_FOLDER = "symlinked folder"
SPECIAL = "special file"
LINKED_MEMBER = "archived link"
COMPANION = "macOS companion file"
DATASET_FILE = "dataset file"
NO_EXTENSION = "other file"
_OTHER = "file of another kind"

#: Kinds that are counted apart; a folder may hold a million extensions.
_MOST_KINDS = 200
_PLAIN_EXTENSION = re.compile(r"\.[a-z0-9_+~-]{1,16}")
#: Double extensions that say more than their last part.
_COMPRESSED_TAR = re.compile(r"\.tar\.[a-z0-9]{1,4}$")
#: Kinds that hold files and are not read.
COMPRESSED_ARCHIVES = frozenset(
    [".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4", ".7z", ".rar"]
)

#: Folders of thumbnails, bins and indexes, by lower-case name: NAS (Synology, QNAP), phones, Windows, macOS, Linux.
#: The last one is a dataset's own.
_SET_ASIDE = frozenset(
    [
        "@eadir",
        ".@__thumb",
        ".thumbnails",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "recycler",
        "system volume information",
        ".trash",
        ".trashes",
        ".trashed",
        ".appledouble",
        ".spotlight-v100",
        ".fseventsd",
        ".documentrevisions-v100",
        ".temporaryitems",
        ".fvcli",
    ]
)
_TRASH_OF_USER = re.compile(r"\.trash-\d+")
#: The file systems' own: set aside where it cannot be listed, as nearly everywhere.
LOST_AND_FOUND = "lost+found"


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive whose members can be inputs."""
    return name.lower().endswith(ARCHIVE_EXTENSIONS)


def may_be_input(name: str) -> bool:
    """Whether a base name is that of an image or of an archive, or leaves it to the first bytes."""
    if name.startswith("._"):
        return False
    named = has_image_extension(name)
    return named is not False or (is_archive(name) and not is_ours(name))


def is_input(path: str) -> bool:
    """Whether a walk takes the local file ``path``, or the link of that name that leads nowhere."""
    folder, slash, base = path.rpartition("/")
    if not may_be_input(base):
        return False
    if has_image_extension(base) or is_archive(base):
        return True
    return sniff(LocalFolder(folder + slash).start(base, SNIFF_BYTES)) is not None


def is_set_aside(folder: str) -> bool:
    """Whether a folder's base name is one of thumbnails, of a bin or of an index, which a walk does not enter."""
    lower = folder.lower()
    return lower in _SET_ASIDE or _TRASH_OF_USER.fullmatch(lower) is not None


class PassedOver:
    """A tally by kind: a lower-case extension with its dot, or a phrase in the singular that takes an s."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, count: int = 1) -> None:
        if kind not in self._counts and len(self._counts) >= _MOST_KINDS:
            kind = _OTHER
        self._counts[kind] += count

    def add_file(self, name: str) -> None:
        """Counts a file by the extension of its base name."""
        self.add(kind_of(name))

    def add_folder(self, name: str) -> None:
        """Counts a folder that is not entered, by its base name."""
        self.add(f"{name} folder")

    def to_json(self) -> dict[str, int]:
        """Counts by kind, the largest first."""
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0])))


def kind_of(name: str) -> str:
    """The kind of a file that is no image, by its base name."""
    lower = name.lower()
    if lower.startswith("._"):
        return COMPANION
    if is_ours(name):  # a dataset may be in the folder of its images
        return DATASET_FILE
    if found := _COMPRESSED_TAR.search(lower):
        return found[0]
    dot = lower.rfind(".")
    extension = lower[dot:] if dot > 0 else ""
    return extension if _PLAIN_EXTENSION.fullmatch(extension) else NO_EXTENSION


def told(counts: Mapping[str, int], most: int = 8) -> str:
    """One line for people: "60 .heic, 3 .zip"; beyond ``most`` kinds the rest as a sum. Empty without any."""
    parts = [
        f"{count:,} {kind}{'s' if count != 1 and not kind.startswith('.') else ''}"
        for kind, count in list(counts.items())[:most]
    ]
    rest = list(counts.values())[most:]
    if rest:
        parts.append(f"{sum(rest):,} of {len(rest):,} more kinds")
    return ", ".join(parts)


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
