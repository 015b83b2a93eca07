"""``failures/*.jsonl``: one JSON object per line for each input that gave no vector."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fvcli.dataset import layout
from fvcli.dataset.layout import FAILURES, STATE
from fvcli.dataset.manifest import Key, Manifest
from fvcli.dataset.store import Store
from fvcli.errors import DamagedError, DatasetError
from fvcli.records import Failure, ImageRef


@dataclass(frozen=True, slots=True)
class FailureLine:
    """An input and why it failed. ``size_bytes`` and ``mtime_ns`` tell a later run whether the file has changed.

    circumstances: what else decided (limits, decoding libraries), as a short hash; empty where nothing else did.
    """

    ref: ImageRef
    failure: Failure
    circumstances: str = ""

    @property
    def key(self) -> Key:
        return (self.ref.root, self.ref.path)

    def to_json(self) -> str:
        values: dict[str, object] = {
            "root": self.ref.root,
            "path": self.ref.path,
            "stage": self.failure.stage,
            "error": self.failure.error,
            "message": self.failure.message,
            "size_bytes": self.ref.size_bytes,
            "mtime_ns": self.ref.mtime_ns,
        }
        if self.ref.path_bytes is not None:
            values["path_bytes"] = self.ref.path_bytes.hex()
        if self.circumstances:
            values["circumstances"] = self.circumstances
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> FailureLine:
        """Raises ValueError for a line that is something else."""
        values = layout.parse("failure", line)
        path_bytes = bytes.fromhex(values["path_bytes"]) if "path_bytes" in values else None
        ref = ImageRef(values["root"], values["path"], path_bytes, int(values["size_bytes"]), int(values["mtime_ns"]))
        failure = Failure(values["stage"], values["error"], values["message"])
        return cls(ref, failure, values.get("circumstances", ""))


def to_bytes(lines: Iterable[FailureLine]) -> bytes:
    return "".join(line.to_json() + "\n" for line in lines).encode("utf-8", "backslashreplace")


def read(store: Store, key: str) -> Iterator[FailureLine]:
    """The lines of one file, none where it is missing. Raises DatasetError where a line is not what it should be."""
    data = store.read(key) or b""
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        if not line:
            continue
        try:
            yield FailureLine.from_json(line)
        except ValueError as error:
            advice = "run fvcli repair"
            if not key.startswith(FAILURES):
                advice = f"remove {store.describe(STATE)} while no run is in progress, and repeat the command"
            raise DatasetError(f"{store.describe(key)}, line {number}, is damaged ({error}); {advice}") from error


@dataclass(frozen=True, slots=True)
class FailureList:
    """The lines of one file, read each time that they are iterated over."""

    store: Store
    key: str

    def __iter__(self) -> Iterator[FailureLine]:
        return read(self.store, self.key)


def of(store: Store, manifest: Manifest) -> Iterator[FailureLine]:
    """All failures of a dataset, sorted by (root, path). Raises DamagedError where a list's bytes have changed."""
    for file in manifest.failures:
        if store.size(file.file) is None or store.sha256(file.file) != file.sha256:
            raise DamagedError(f"{store.describe(file.file)} is missing or damaged; run fvcli repair {store.place}")
        yield from read(store, file.file)
