"""Addresses in object stores: what they mean, how they are reached, and which requests are made again.

``s3://bucket/key``, ``gs://bucket/key`` and ``az://container/key`` go through pyarrow.fs, other schemes (``hf://``,
``https://``) through fsspec, which the extra ``remote`` installs. Keys are taken as they are, nothing is
percent-decoded. A query at the end may say how to reach a compatible server: ``endpoint_override=HOST:PORT``,
``scheme=http``, ``region=...``, ``anonymous=true``, for az ``account=NAME``; without one, ``AWS_ENDPOINT_URL`` counts
for s3. Credentials come from each store's usual chain (environment, profile, instance) and never from an address, so
none can end up in a dataset.

pyarrow raises OSError with a store's answer in its text. The code in it decides whether to ask again, never a word of
it: the text also holds names of buckets and keys.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from fvcli.errors import FvcliError, UsageError, first_line

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


#: Schemes of object stores, which hold sources and datasets.
STORES = ("s3", "gs", "az")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
_WEB = ("http", "https")
_BY_FSSPEC = ("hf", *_WEB)
_OPTIONS = frozenset(["endpoint_override", "scheme", "region", "anonymous", "account"])
_SECRET = re.compile(rb"(?<=://)[^/@]*@|(?<=endpoint_override=)[^&]*@")

ATTEMPTS = 7
_FIRST_PAUSE_SECONDS = 0.1

#: Codes in the texts of S3 (AWS's SDK), Azure's and Google's client libraries, the last one counts.
_CODE = re.compile(
    r"AWS Error (?P<aws>[A-Z_]+)(?: \(HTTP status (?P<status>\d+)\))? during \w+ operation"
    r"(?:: Unable to parse ExceptionName: (?P<name>\w+))?"
    r"|Azure Error: \[(?P<azure>\w+)\]"
    r"|google::cloud::Status\((?P<google>[A-Z_]+)"
)
_DENIED_WORDS = """
    ACCESS_DENIED PERMISSION_DENIED UNAUTHENTICATED INVALID_ACCESS_KEY_ID SIGNATURE_DOES_NOT_MATCH INVALID_SIGNATURE
    REQUEST_TIME_TOO_SKEWED REQUEST_EXPIRED MISSING_AUTHENTICATION_TOKEN INVALID_CLIENT_TOKEN_ID UNRECOGNIZED_CLIENT
    ExpiredToken ExpiredTokenException InvalidToken TokenRefreshRequired AuthenticationFailed AuthorizationFailure
    AuthorizationPermissionMismatch InsufficientAccountPermissions NoAuthenticationInformation
    HTTP_400 HTTP_401 HTTP_403
"""
_MISSING_WORDS = """
    NO_SUCH_BUCKET NO_SUCH_KEY RESOURCE_NOT_FOUND NOT_FOUND BlobNotFound ContainerNotFound HTTP_404 HTTP_410
"""
#: The store refuses the user, or no longer accepts the credentials.
_DENIED = frozenset(_DENIED_WORDS.split())
#: The object or bucket does not exist.
_MISSING = frozenset(_MISSING_WORDS.split())
#: Client-error statuses (4xx) that mean "try later".
_LATER = frozenset(["HTTP_408", "HTTP_425", "HTTP_429"])

T = TypeVar("T")


class AddressError(UsageError):
    """An address that means no place in a store."""


class UnreachableError(FvcliError):
    """A store does not answer, whatever it is asked, or no longer lets the user in."""


def is_remote(place: str) -> bool:
    """Whether a name is an address in a store, or one that would be if its scheme were known."""
    found = _SCHEME.match(place)
    return found is not None and found[1] != "file"


def without_credentials(name: bytes) -> bytes:
    """A line of a list, in the place of a user and password in it ``***``: names become part of a dataset."""
    return _SECRET.sub(b"***@", name) if _SCHEME.match(name[:32].decode("latin-1")) else name


def local_path(place: str) -> str:
    """The path that a ``file://`` URI names; other names as they are."""
    return unquote(urlsplit(place).path) if place.startswith("file://") else place


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a store. path: bucket and key, on the web the whole URL. options: the query, sorted."""

    scheme: str
    path: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Raises AddressError where the URI lacks a bucket, holds credentials or has a scheme that is not known."""
        plain, query = cut_query(uri)
        scheme, _, rest = plain.partition("://")
        _require_scheme(scheme)
        options = tuple(sorted(parse_qsl(query[1:], keep_blank_values=True)))
        bucket = rest.partition("/")[0]
        if not bucket:
            raise AddressError(f"{scheme}:// needs a bucket: {scheme}://bucket/folder")
        if "@" in bucket or "@" in dict(options).get("endpoint_override", ""):
            raise AddressError(
                f"no credentials belong in a {scheme}:// address: set them in the environment or a profile"
            )
        location = cls(scheme, uri if scheme in _WEB else rest.rstrip("/"), options)
        location.require_reachable()
        return location

    def require_reachable(self) -> None:
        """Raises AddressError for a key that object stores allow and their clients do not reach."""
        if self.scheme in STORES and "//" in self.path:
            raise AddressError("two slashes in a row: such a key cannot be reached; copy the object to another key")

    @property
    def on_the_web(self) -> bool:
        """Whether a web server has it, where each address stands alone."""
        return self.scheme in _WEB

    def copy_command(self, folder: str) -> str:
        """A command line that copies everything below this place into a local folder."""
        return {
            "gs": f"gcloud storage cp --recursive gs://{self.path}/ {folder}",
            "az": f"azcopy copy --recursive https://ACCOUNT.blob.core.windows.net/{self.path} {folder}",
        }.get(self.scheme, f"aws s3 cp --recursive s3://{self.path} {folder}")

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
        return self.path if self.on_the_web else f"{self.scheme}://{self.path}"


def cut_query(place: str) -> tuple[str, str]:
    """An address without and with only its query ("?" and all); a local name as it is.

    A "?" begins a query only where all that follows are known options: a key may hold one too.
    """
    if "?" not in place or not is_remote(place):
        return place, ""
    key, _, query = place.rpartition("?")
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    known = names and _OPTIONS.issuperset(names) and not place.startswith(("http://", "https://"))
    return (key, f"?{query}") if known else (place, "")


def _require_scheme(scheme: str) -> None:
    """Raises AddressError for a scheme that is not read, UsageError where an extra is missing."""
    if scheme in STORES:
        return
    if scheme not in _BY_FSSPEC:
        raise AddressError(
            f"{scheme}:// is not a kind of address that is read; there are s3://, gs:// and az://, and with the extra "
            "fvcli[remote] hf:// and https://"
        )
    if importlib.util.find_spec("fsspec") is None:
        raise UsageError(f"{scheme}:// needs an extra: pip install 'fvcli[remote]'")


@lru_cache(maxsize=64)
def _filesystem(scheme: str, bucket: str, options: tuple[tuple[str, str], ...], endpoint: str | None) -> FileSystem:
    values: dict[str, Any] = dict(options)
    anonymous = values.pop("anonymous", "false").lower() in ("true", "1", "yes")
    try:
        if scheme == "s3":
            return _s3(bucket, values, anonymous, endpoint)
        if scheme == "az":
            return _azure(values)
        from pyarrow import fs

        if scheme == "gs":
            return fs.GcsFileSystem(anonymous=anonymous, **{name: values[name] for name in values.keys() - {"region"}})
        from fvcli.fsspec_bridge import filesystem

        return filesystem(scheme)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnreachableError(f"cannot reach {scheme}://{bucket}: {reason(error)}") from error


def _s3(bucket: str, values: dict[str, Any], anonymous: bool, endpoint: str | None) -> FileSystem:
    from pyarrow import fs

    if "endpoint_override" not in values and endpoint:
        parts = urlsplit(endpoint)
        if "@" in endpoint:
            raise UsageError("no credentials belong in AWS_ENDPOINT_URL: set them in the environment or a profile")
        values |= {"endpoint_override": parts.netloc or endpoint, "scheme": parts.scheme or "https"}
    if "region" not in values and "endpoint_override" not in values:
        values["region"] = fs.resolve_s3_region(bucket)
    once = fs.AwsStandardS3RetryStrategy(max_attempts=1)  # trying again is retried's business
    return fs.S3FileSystem(
        anonymous=anonymous, allow_delayed_open=True, connect_timeout=5, retry_strategy=once, **values
    )


def _azure(values: dict[str, Any]) -> FileSystem:
    from pyarrow import fs

    account = values.get("account") or os.environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise UsageError("az:// needs a storage account: set AZURE_STORAGE_ACCOUNT, or add ?account=NAME")
    server: dict[str, str] = {}
    if "endpoint_override" in values:
        host, scheme = values["endpoint_override"], values.get("scheme", "https")
        server = {
            f"{kind}_storage_{part}": value
            for kind in ("blob", "dfs")
            for part, value in (("authority", host), ("scheme", scheme))
        }
    key, token = os.environ.get("AZURE_STORAGE_KEY"), os.environ.get("AZURE_STORAGE_SAS_TOKEN")
    return fs.AzureFileSystem(account, account_key=key, sas_token=None if key else token, **server)


def retried(action: Callable[[], T]) -> T:
    """Returns the result of ``action``, after up to ATTEMPTS tries with growing pauses. Raises the last OSError.

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
    """Whether another try cannot help."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return True
    code = code_of(error)
    return is_denied(error) or code in _MISSING or (code.startswith("HTTP_4") and code not in _LATER)


def is_denied(error: OSError) -> bool:
    """Whether a store refuses because of who asks."""
    return isinstance(error, PermissionError) or code_of(error) in _DENIED


def code_of(error: BaseException) -> str:
    """The code of a store's answer, such as ``ACCESS_DENIED`` or ``HTTP_503``; empty where the text has none."""
    code = ""
    for found in _CODE.finditer(str(error)):
        code = found["name"] or found["azure"] or found["google"] or ""
        if not code:
            unknown = found["aws"] == "UNKNOWN" and found["status"]
            code = f"HTTP_{found['status']}" if unknown else found["aws"]
    return code


def reason(error: BaseException) -> str:
    """One line of what a store's library said; it names buckets, keys and hosts, never credentials."""
    line = first_line(error)
    return line if len(line) <= 300 else line[:297] + "..."
