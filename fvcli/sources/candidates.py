"""The files that a search takes for images or archives, by name or first bytes, and counts of what it passes over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from fvcli.files import is_ours
from fvcli.sources.folders import LocalFolder
from fvcli.sources.formats import SNIFF_BYTES, has_image_extension, sniff

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
