"""Fetches official archives: resumable, and never kept unless the checksum is right."""

from __future__ import annotations

import fcntl
import http.client
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fvcli.errors import ModelError
from fvcli.files import file_sha256
from fvcli.models.cache import cache_folder
from fvcli.models.mobilenet.catalog import PublishedNetwork
from fvcli.models.unpack import unpack

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are, and the bytes there will be (None if the server does not say)."""

_CHUNK: Final = 1 << 18
_TIMEOUT: Final = 30.0
_ATTEMPTS: Final = 4


def archive_folder(entry: PublishedNetwork) -> Path:
    """The path of the unpacked archive, which is missing before a pull."""
    return cache_folder() / "archives" / entry.name


def pull(entry: PublishedNetwork, progress: Progress | None = None) -> Path:
    """Downloads, checks and unpacks an official archive, unless that was done before; returns its folder.

    An interrupted download is resumed. Raises ModelError with what to do when the server cannot be
    reached, or when the archive's SHA-256 is not the published one; then nothing of it is kept.
    """
    folder = archive_folder(entry)
    part = folder.with_name(f"{entry.name}.tgz.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with _one_process(folder.with_name(f".{entry.name}.lock")):
            return folder if folder.is_dir() else _fetched(entry, part, folder, progress)
    except OSError as error:
        raise ModelError(f"{part}: cannot be written ({error.strerror or error}); set FVCLI_CACHE") from error


@contextmanager
def _one_process(lock: Path) -> Iterator[None]:
    """Waits until no other process is fetching the same archive."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetched(entry: PublishedNetwork, part: Path, folder: Path, progress: Progress | None) -> Path:
    download(entry.url, part, progress)
    found = file_sha256(part)
    if found != entry.sha256:
        part.unlink(missing_ok=True)
        raise ModelError(
            f"{entry.url}: SHA-256 is {found}, should be {entry.sha256}; the file was thrown away, so pull again, and "
            "look at the proxy or mirror if it stays so"
        )
    unpack(part, folder)
    part.unlink(missing_ok=True)
    return folder


def download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Fetches ``url`` into ``part``, from the end of what is there. Raises ModelError, or OSError for the disk."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _fetch(url, part, progress)
            return
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and attempt == 1:
                part.unlink(missing_ok=True)  # what is there does not belong to this file
                continue
            raise ModelError(f"{url}: the server answered {error.code} {error.reason}; {_hint(url)}") from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            lost = not isinstance(error, urllib.error.URLError) or isinstance(reason, TimeoutError)
            if lost and attempt < _ATTEMPTS:
                time.sleep(0.2 * attempt)
                continue
            name = urllib.parse.urlsplit(url).hostname
            what = "the name is not known" if isinstance(reason, socket.gaierror) else reason or "connection lost"
            raise ModelError(f"{url}: cannot reach {name} ({what}); {_hint(url)}") from error


def _fetch(url: str, part: Path, progress: Progress | None) -> None:
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            there = 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else there + int(length)
        with open(part, "r+b" if there else "wb") as file:
            file.seek(there)
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                there += len(chunk)
                if progress:
                    progress(there, total)
            file.truncate()
    if total is not None and there < total:
        raise ConnectionError("connection lost")


def _hint(url: str) -> str:
    proxies = urllib.request.getproxies()
    scheme = urllib.parse.urlsplit(url).scheme
    way = f"check the proxy {proxies[scheme]}" if scheme in proxies else "behind a proxy, set HTTPS_PROXY"
    return f"{way}; offline, fetch the file elsewhere and give its path as --model"
