"""Files and folders that a command is asked to write: refused where something else has their name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fvcli.errors import UsageError
from fvcli.text import printable

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def file_to_write(name: str, option: str) -> Path:
    """The path of a file that may be created or replaced.

    Raises UsageError for a device, a pipe, a folder or a symbolic link, none of which is opened, and where the folder
    does not exist.
    """
    path = Path(name)
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            folder = printable(str(path.parent))
            raise UsageError(f"{option} {printable(name)}: the folder {folder} does not exist") from None
        return path
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {printable(name)}: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISLNK(mode):
        aim = printable(os.readlink(path))
        raise UsageError(f"{option} {printable(name)} is a symbolic link to {aim}: name that file, or remove the link")
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise UsageError(f"{option} {printable(name)} is {kind}, not a file that can be replaced")
    return path


def folder_to_write(name: str, option: str) -> str:
    """``name``, where it is a folder, a link to one, an address in a bucket, or not there yet. Raises UsageError."""
    from fvcli.locations import is_remote, local_path

    if is_remote(name):
        return name
    path = local_path(name)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            aim = printable(os.readlink(path))
            raise UsageError(f"{option} {printable(name)} is a symbolic link to {aim}, which does not exist") from None
        return name
    except (OSError, ValueError):  # the store says what is wrong
        return name
    if not stat.S_ISDIR(mode):
        raise UsageError(f"{option} {printable(name)} is {_KINDS.get(stat.S_IFMT(mode), 'a file')}, not a folder")
    return name
