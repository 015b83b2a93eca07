"""Object stores: what their URIs mean, how they are reached, and what is tried again.

``s3://bucket/key`` and ``gs://bucket/key`` go through pyarrow.fs. Keys are taken as they are, nothing is
percent-decoded. A query at the end may say how to reach a compatible server: ``endpoint_override=HOST:PORT``,
``scheme=http``, ``region=...``, ``anonymous=true``; without one, ``AWS_ENDPOINT_URL`` counts for s3. Credentials come
from each store's usual chain (environment, profile, instance) and never from a URI, so none can end up in a dataset.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from fvcli.errors import FvcliError, UsageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SCHEMES = ("s3://", "gs://")
ATTEMPTS = 7
_FIRST_PAUSE_SECONDS = 0.1
_OPTIONS = frozenset(["endpoint_override", "scheme", "region", "anonymous"])

# What the stores' libraries say when asking again cannot help.
_FINAL = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "PERMISSION", "UNAUTHEN")

T = TypeVar("T")


class AddressError(UsageError):
    """An address that means no place in a store."""


class UnreachableError(FvcliError):
    """A store does not answer, whatever it is asked."""


def is_remote(place: str) -> bool:
    """Whether a name is an object store's."""
    return place.startswith(SCHEMES)


def without_credentials(name: bytes) -> bytes:
    """A line of a list, in the place of a user and password in it ``***``: names become part of a dataset."""
    scheme, _, rest = name.partition(b"://")
    authority, slash, path = rest.partition(b"/")
    if b"@" not in authority or not scheme.isalnum():
        return name
    return scheme + b"://***@" + authority.rpartition(b"@")[2] + slash + path


def local_path(place: str) -> str:
    """The path that a ``file://`` URI names; other names as they are."""
    return unquote(urlsplit(place).path) if place.startswith("file://") else place


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a store. path: bucket and key, as pyarrow.fs wants them. options: the query, sorted."""

    scheme: str
    path: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Raises AddressError where the URI lacks a bucket, holds credentials or asks for something unknown."""
        plain, query = cut_query(uri)
        scheme, _, rest = plain.partition("://")
        options = tuple(sorted(parse_qsl(query[1:], keep_blank_values=True)))
        bucket = rest.split("/", 1)[0]
        if not bucket:
            raise AddressError(f"{scheme}:// needs a bucket: {scheme}://bucket/folder")
        if "@" in bucket:
            raise AddressError(f"no credentials in a {scheme}:// address: set them in the environment or a profile")
        return cls(scheme, rest.rstrip("/"), options)

    @property
    def bucket(self) -> Location:
        return Location(self.scheme, self.path.split("/", 1)[0], self.options)

    def below(self, key: str) -> Location:
        return Location(self.scheme, f"{self.path}/{key}" if key else self.path, self.options)

    @property
    def filesystem(self) -> FileSystem:
        """Raises UnreachableError where the store's client cannot be set up."""
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return _filesystem(self.scheme, self.bucket.path, self.options, endpoint)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"


def cut_query(place: str) -> tuple[str, str]:
    """An address without and with only its query ("?" and all); a local name as it is.

    A "?" begins a query only where all that follows are known options: a key may hold one too.
    """
    if "?" not in place or not is_remote(place):
        return place, ""
    key, _, query = place.rpartition("?")
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    return (key, f"?{query}") if names and _OPTIONS.issuperset(names) else (place, "")


@lru_cache(maxsize=64)
def _filesystem(scheme: str, bucket: str, options: tuple[tuple[str, str], ...], endpoint: str | None) -> FileSystem:
    from pyarrow import fs

    values: dict[str, Any] = dict(options)
    anonymous = values.pop("anonymous", "false").lower() in ("true", "1", "yes")
    try:
        if scheme == "gs":
            values.pop("region", None)
            return fs.GcsFileSystem(anonymous=anonymous, **values)
        if "endpoint_override" not in values and endpoint:
            parts = urlsplit(endpoint)
            values |= {"endpoint_override": parts.netloc or endpoint, "scheme": parts.scheme or "https"}
        if "region" not in values and "endpoint_override" not in values:
            values["region"] = fs.resolve_s3_region(bucket)
        once = fs.AwsStandardS3RetryStrategy(max_attempts=1)  # trying again is retried's business
        return fs.S3FileSystem(
            anonymous=anonymous, allow_delayed_open=True, connect_timeout=5, retry_strategy=once, **values
        )
    except (OSError, ValueError) as error:
        raise UnreachableError(f"cannot reach {scheme}://{bucket}: {reason(error)}") from error


def retried(action: Callable[[], T]) -> T:
    """What ``action`` returns, after up to ATTEMPTS tries with growing pauses. Raises the last OSError.

    What is not there, or not allowed, is not tried again.
    """
    pause = _FIRST_PAUSE_SECONDS
    for _ in range(ATTEMPTS - 1):
        try:
            return action()
        except OSError as error:
            if is_final(error):
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause *= 2
    return action()


def is_final(error: OSError) -> bool:
    """Whether asking again cannot help."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return True
    text = str(error).upper()
    return any(word in text for word in _FINAL)


def require_answer(location: Location, error: OSError) -> None:
    """After ``error``: raises UnreachableError where the store does not answer for the bucket itself either."""
    try:
        retried(lambda: location.filesystem.get_file_info(location.bucket.path))
    except OSError:
        raise UnreachableError(
            f"{location.bucket} does not answer ({reason(error)}); what was committed is safe, "
            "the same command goes on from there"
        ) from error


def reason(error: BaseException) -> str:
    """One line of what a store's library said; it names buckets, keys and hosts, never credentials."""
    line = str(error).strip().split("\n", 1)[0]
    return line if len(line) <= 300 else line[:297] + "..."
