"""The files that a search takes for images or archives: by name, by first bytes where the name is silent."""

from __future__ import annotations

from fvcli.sources.archive import is_archive
from fvcli.sources.folders import LocalFolder
from fvcli.sources.formats import SNIFF_BYTES, has_image_extension, sniff


def may_be_input(name: str) -> bool:
    """Whether a base name is that of an image or of an archive, or leaves it to the first bytes."""
    return not name.startswith("._") and (has_image_extension(name) is not False or is_archive(name))


def is_input(path: str) -> bool:
    """Whether a walk takes the local file ``path``, or the link of that name that leads nowhere."""
    folder, slash, base = path.rpartition("/")
    if not may_be_input(base):
        return False
    if has_image_extension(base) or is_archive(base):
        return True
    return sniff(LocalFolder(folder + slash).start(base, SNIFF_BYTES)) is not None
