"""Locks between hosts for a dataset in an object store.

A lock is an object that is written only where nobody else has written meanwhile: conditional requests (If-None-Match
and If-Match in S3 and Azure, generations in Google's store), which obstore makes. Its holder writes it again every 15
seconds. Another host may take it over after two minutes without that, by the store's own clock.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fvcli.dataset import layout
from fvcli.errors import DatasetError, LockedError
from fvcli.locations import Location, reason

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

HEARTBEAT_SECONDS = 15.0
STALE_SECONDS = 120.0
#: Holders that cannot be reached answer nothing, so each request has an end.
_CLIENT = {"connect_timeout": "5 seconds", "timeout": "30 seconds"}
_RETRIES = {"max_retries": 6, "retry_timeout": timedelta(seconds=30)}
#: Of what a store says that has no conditional writes, and of a client that finds no credentials of its own.
_WITHOUT = ("status code: 501", "169.254.169.254", "metadata.google.internal", "not supported", "not implemented")


class UnavailableError(DatasetError):
    """The store, or its client here, has no conditional writes."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """An object's content, with what tells this version of it from others. modified: Unix time by the store's clock."""

    data: bytes
    version: Mapping[str, str]
    modified: float


class ConditionalObjects:
    """Objects below a location that are written only where they are as they were. Raises DatasetError."""

    def __init__(self, location: Location) -> None:
        """Raises UnavailableError without obstore."""
        try:
            import obstore  # noqa: F401
        except ImportError:
            raise UnavailableError("pip install 'fvcli[buckets]' changes that") from None
        self._location = location
        self._store = _client(location)
        self._prefix = location.path.partition("/")[2]

    def read(self, key: str) -> Versioned | None:
        """The object, None where there is none."""
        with self._translated("read", key):
            try:
                found = self._store.get(self._path(key))
            except FileNotFoundError:
                return None
            meta = found.meta
            version = {name: str(meta[name]) for name in ("e_tag", "version") if meta.get(name)}
            return Versioned(bytes(found.bytes()), version, meta["last_modified"].timestamp())

    def write(self, key: str, data: bytes, version: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """Writes where the object still has this version (None: where there is no object).

        Returns the new version, None where somebody else has written. ``data`` is unique, so that a second try whose
        first one has arrived is known by its content.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._translated("write", key):
            try:
                mode: Any = "create" if version is None else dict(version)
                done = self._store.put(self._path(key), data, mode=mode)
                return {name: str(value) for name, value in done.items() if value}
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                pass
        found = self.read(key)
        return found.version if found is not None and found.data == data else None

    def now(self) -> float:
        """The store's clock, Unix time."""
        key = f"{layout.STATE}/clock-{os.urandom(4).hex()}"
        with self._translated("write", key):
            self._store.put(self._path(key), b"")
            told: float = self._store.head(self._path(key))["last_modified"].timestamp()
            self._store.delete(self._path(key))
        return told

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _translated(self, action: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, NotSupportedError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (NotSupportedError, PermissionDeniedError, UnauthenticatedError) as error:
            raise UnavailableError(f"cannot {action} {self._location.below(key)}: {reason(error)}") from error
        except (BaseError, OSError) as error:
            kind = UnavailableError if any(word in str(error).lower() for word in _WITHOUT) else DatasetError
            raise kind(f"cannot {action} {self._location.below(key)}: {reason(error)}") from error


class BucketLease:
    """A lock as its holder sees it. It is certain for a while after each renewal, and is asked for after that."""

    def __init__(self, objects: ConditionalObjects, key: str, place: str, machine: str) -> None:
        self._objects = objects
        self._key = key
        self._place = place
        self._mine = {**layout.this_holder(), "machine": machine, "token": os.urandom(8).hex()}
        self._beats = 0
        self._version: Mapping[str, str] | None = None
        self._renewed = 0.0
        self._one_at_a_time = threading.Lock()
        self._gone = False

    def take(self) -> None:
        """Raises LockedError naming the holder, UnavailableError where the store knows no conditional writes."""
        self._version = None
        if self._write():
            return
        found = self._objects.read(self._key)
        if found is None:
            raise layout.in_use(self._place, {})
        require_free(self._objects, found, str(self._mine["machine"]), self._place)
        self._version = found.version
        if not self._write():
            raise layout.in_use(self._place, {})

    def renew(self) -> None:
        """Raises DatasetError where the store does not answer; whether the lock was lost is known afterwards."""
        with self._one_at_a_time:
            if not self._gone and not self._write():
                self._gone = True

    def lost(self) -> bool:
        """Whether another host has taken the lock over."""
        if not self._gone and _clock() - self._renewed > STALE_SECONDS / 2:
            self.renew()
        return self._gone

    def release(self) -> None:
        """Leaves an empty object: to delete one only where it is unchanged is not possible everywhere."""
        with self._one_at_a_time, suppress(DatasetError):
            if not self._gone and self._version is not None:
                self._objects.write(self._key, b"", self._version)

    def _write(self) -> bool:
        began = _clock()
        self._beats += 1
        data = json.dumps({**self._mine, "beat": self._beats}).encode()
        version = self._objects.write(self._key, data, self._version)
        if version is None:
            return False
        self._version, self._renewed = version, began
        return True


class BucketLocks:
    """The locks of a dataset in a bucket, and the guard of its manifest while one is held."""

    def __init__(self, location: Location, machine: str) -> None:
        """machine: the same for all processes that a lock on this machine keeps apart. Raises UnavailableError."""
        self._objects = ConditionalObjects(location)
        self._machine = machine
        self._place = str(location)
        self._manifest: Mapping[str, str] | None = None
        self._guards = False

    @contextmanager
    def hold(self, key: str, others: Sequence[str]) -> Iterator[BucketLease]:
        """Holds a lock while none of ``others`` is held. Raises LockedError, DatasetError, UnavailableError."""
        lease = BucketLease(self._objects, key, self._place, self._machine)
        lease.take()
        stop = threading.Event()
        heart = threading.Thread(target=_beat, args=(lease, stop), name="bucket lock", daemon=True)
        heart.start()
        try:
            for other in others:
                found = self._objects.read(other)
                if found is not None:
                    require_free(self._objects, found, self._machine, self._place)
            found = self._objects.read(layout.MANIFEST)
            self._manifest, self._guards = (None if found is None else found.version), True
            yield lease
        finally:
            self._guards = False
            stop.set()
            heart.join()
            lease.release()

    def replace_manifest(self, data: bytes) -> bool:
        """Replaces the manifest where it is as the holder found or left it; False where no lock is held.

        Raises LockedError where another run has replaced it.
        """
        if not self._guards:
            return False
        version = self._objects.write(layout.MANIFEST, data, self._manifest)
        if version is None:
            raise LockedError(f"another run has replaced the manifest of {self._place}; repeat the command")
        self._manifest = version
        return True

    def holder(self, key: str) -> dict[str, object] | None:
        """The holder of a lock, by this machine's clock; None where it is free."""
        found = self._objects.read(key)
        if found is None or not found.data or time.time() - found.modified > STALE_SECONDS:
            return None
        return layout.holder_in(found.data)


def require_free(objects: ConditionalObjects, found: Versioned, machine: str, place: str) -> None:
    """Raises LockedError where another machine holds a lock and has renewed it.

    A holder on this machine is dead, or the lock there had refused this process.
    """
    holder = layout.holder_in(found.data)
    if not found.data or holder.get("machine") == machine:
        return
    if objects.now() - found.modified <= STALE_SECONDS:
        raise layout.in_use(place, holder)


def _beat(lease: BucketLease, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(DatasetError):
            lease.renew()


def _clock() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


def _client(location: Location) -> S3Store | GCSStore | AzureStore:
    """The client of a location's bucket, with the credentials of the environment or, for S3, of the profile."""
    from obstore.store import AzureStore, GCSStore, S3Store

    bucket, options = location.bucket.path, dict(location.options)
    retries: Any = _RETRIES
    if location.scheme == "gs":
        return GCSStore(bucket, client_options=_CLIENT, retry_config=retries)
    scheme, host = options.get("scheme", "https"), options.get("endpoint_override")
    if location.scheme == "az":
        server = {"endpoint": f"{scheme}://{host}"} if host else {}
        account = options.get("account") or os.environ.get("AZURE_STORAGE_ACCOUNT", "")
        client = {**_CLIENT, "allow_http": scheme == "http"}
        return AzureStore(bucket, account_name=account, client_options=client, retry_config=retries, **server)
    endpoint = (
        f"{scheme}://{host}" if host else os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    values: dict[str, Any] = {"region": location.filesystem.region, **_profile()}
    if endpoint:
        values["endpoint"] = endpoint if "://" in endpoint else f"https://{endpoint}"
    if options.get("anonymous", "").lower() in ("true", "1", "yes"):
        values["skip_signature"] = True
    client = {**_CLIENT, "allow_http": str(endpoint).startswith("http://")}
    return S3Store(bucket, client_options=client, retry_config=retries, **values)


def _profile() -> dict[str, str]:
    """The keys of the user's profile, where the environment has none and the profile has keys of its own."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return {}
    import configparser

    file = configparser.ConfigParser()
    with suppress(configparser.Error, UnicodeDecodeError):
        file.read(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.expanduser("~/.aws/credentials"))
    name = os.environ.get("AWS_PROFILE", "default")
    found = dict(file[name]) if file.has_section(name) else {}
    keys = {"access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key"}
    keys["session_token"] = "aws_session_token"
    return {ours: found[theirs] for ours, theirs in keys.items() if theirs in found}
