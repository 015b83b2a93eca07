"""Unpacks archives of models from others: nothing lands outside the folder, and nothing without bound."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from fvcli.errors import ModelError

SIZE_LIMIT: Final = 2 << 30
"""Bytes that an archive may unpack to; the largest official one holds 170 MB."""

MEMBER_LIMIT: Final = 10_000


def unpack(archive: Path, target: Path, size_limit: int = SIZE_LIMIT) -> Path:
    """Unpacks a .tar or .tar.gz into the new folder ``target``, which appears whole or not at all; returns it.

    Only files and folders, with relative names without ``..``. Raises ModelError, naming the archive, for anything
    else, for more than ``size_limit`` bytes and for an archive that is damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with tarfile.open(archive, "r:*") as tar:
            _extract(tar, staging / "content", size_limit)
        _appear(staging / "content", target)
    except ModelError as error:
        raise ModelError(f"{archive}: {error}") from error
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, UnicodeError) as error:
        raise ModelError(f"{archive}: not an archive, damaged or cut short ({error}); get it again") from error
    except OSError as error:
        raise ModelError(f"{archive}: cannot be unpacked: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _appear(content: Path, target: Path) -> None:
    try:
        os.replace(content, target)
    except OSError:
        if not target.is_dir():  # else another process has just unpacked the same
            raise


def _extract(tar: tarfile.TarFile, folder: Path, size_limit: int) -> None:
    folder.mkdir()
    left = size_limit
    for count, member in enumerate(tar):
        if count >= MEMBER_LIMIT:
            raise ModelError(f"holds more than {MEMBER_LIMIT:,} files; not unpacked")
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or "\\" in member.name:
            raise ModelError(f"holds {member.name!r}, which would land outside its folder; not unpacked")
        place = folder.joinpath(*name.parts)
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        source = tar.extractfile(member) if member.isreg() else None
        if source is None:
            raise ModelError(f"holds {member.name!r}, which is a link or no file; not unpacked")
        left -= member.size
        if left < 0:
            raise ModelError(f"unpacks to more than {size_limit:,} bytes; not unpacked")
        place.parent.mkdir(parents=True, exist_ok=True)
        with source, open(place, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        if place.stat().st_size != member.size:
            raise ModelError("is cut short; get it again")
    # A tar ends before its gzip does; only at gzip's end is the checksum compared.
    left = max(size_limit, 1 << 20)
    while tar.fileobj is not None and (rest := tar.fileobj.read(1 << 20)):
        left -= len(rest)
        if left < 0:
            raise ModelError(f"unpacks to more than {size_limit:,} bytes; not unpacked")
