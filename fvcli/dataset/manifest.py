"""``manifest.json``: what the dataset holds, and the only thing a reader trusts.

Its JSON Schema ships beside this file.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any

from fvcli.dataset import layout
from fvcli.dataset.layout import KINDS, MANIFEST, DataFormat, DType
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError
from fvcli.records import Recipe

SCHEMA_VERSION = 1
RUNS_KEPT = 100


class NewerDatasetError(DatasetError):
    """The dataset was written by a newer fvcli; it is whole, and only this fvcli cannot read it.

    identity: SHA-256 (hex) of its manifest.
    """

    def __init__(self, message: str, identity: str) -> None:
        super().__init__(message)
        self.identity = identity


Key = tuple[str, str]  # (root, path), what rows are sorted by


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file below the dataset's folder. sha256 is hexadecimal."""

    file: str
    bytes: int
    sha256: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DataFile:
        return cls(values["file"], int(values["bytes"]), values["sha256"])


@dataclass(frozen=True, slots=True)
class Shard:
    """Some consecutive rows. ``files`` holds one for Parquet, the vectors and their metadata for npy.

    zero_vectors: rows whose vector is all zeros.
    """

    number: int
    rows: int
    files: tuple[DataFile, ...]
    first: Key
    last: Key
    zero_vectors: int = 0

    def to_json(self) -> dict[str, Any]:
        vectors = self.files[0]
        values: dict[str, Any] = {"number": self.number, "rows": self.rows, **asdict(vectors)}
        if len(self.files) > 1:
            values["metadata"] = asdict(self.files[1])
        values |= {"first": list(self.first), "last": list(self.last)}
        return {**values, "zero_vectors": self.zero_vectors} if self.zero_vectors else values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Shard:
        described = [values, values["metadata"]] if "metadata" in values else [values]
        files = tuple(map(DataFile.from_json, described))
        first, last = ((str(root), str(path)) for root, path in (values["first"], values["last"]))
        return cls(int(values["number"]), int(values["rows"]), files, first, last, values.get("zero_vectors", 0))

    def is_of(self, format: DataFormat) -> bool:
        """Whether its files are those of this format."""
        folders = [folder for folder, _, _ in KINDS[format]]
        return [file.file.split("/")[0] for file in self.files] == folders


@dataclass(frozen=True, slots=True)
class Counts:
    """discovered = extracted + reused + failed; rows = extracted + reused + stale + elsewhere.

    stale: rows whose files were looked for and are gone. elsewhere: rows that the run did not look for.
    pruned: rows that the run dropped.
    """

    discovered: int = 0
    extracted: int = 0
    reused: int = 0
    failed: int = 0
    stale: int = 0
    elsewhere: int = 0
    pruned: int = 0

    @property
    def rows(self) -> int:
        return self.extracted + self.reused + self.stale + self.elsewhere

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(operator.add, astuple(self), astuple(other)))

    def to_json(self) -> dict[str, int]:
        return {**asdict(self), "rows": self.rows}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Counts:
        return cls(*(int(values[name]) for name in cls.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dataset's description. ``base_folder``: see :class:`fvcli.records.ImageRef`.

    ``runs`` has the newest last, RUNS_KEPT at most.
    """

    format: DataFormat
    dtype: DType
    dimension: int
    model: Mapping[str, Any]
    recipe: Recipe
    environment: Mapping[str, Any]
    base_folder: str = ""
    roots: tuple[str, ...] = ()
    shards: tuple[Shard, ...] = ()
    failures: tuple[DataFile, ...] = ()
    counts: Counts = field(default_factory=Counts)
    runs: tuple[Mapping[str, Any], ...] = ()

    @property
    def zero_vectors(self) -> int:
        """Rows whose vector is all zeros."""
        return sum(shard.zero_vectors for shard in self.shards)

    @property
    def files(self) -> Iterator[DataFile]:
        """Every file the manifest vouches for."""
        for shard in self.shards:
            yield from shard.files
        yield from self.failures

    @property
    def identity(self) -> str:
        """The SHA-256 (hex) of the manifest's bytes, by which a plan knows the manifest that it builds on."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def with_run(self, run: Mapping[str, Any]) -> Manifest:
        return replace(self, runs=(*self.runs, run)[-RUNS_KEPT:])

    def to_bytes(self) -> bytes:
        values = {
            "schema_version": SCHEMA_VERSION,
            "format": self.format,
            "dtype": self.dtype,
            "dimension": self.dimension,
            "model": dict(self.model),
            "recipe": {**self.recipe.to_json(), "identity": self.recipe.identity},
            "environment": dict(self.environment),
            "base_folder": self.base_folder,
            "roots": list(self.roots),
            "counts": self.counts.to_json(),
            "shards": [shard.to_json() for shard in self.shards],
            "failures": [asdict(file) for file in self.failures],
            "runs": [dict(run) for run in self.runs],
        }
        return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Manifest:
        """Raises DatasetError naming ``place`` when the bytes are not a manifest this version can read."""
        try:
            version = _version(data)
            if version > SCHEMA_VERSION:
                raise NewerDatasetError(
                    f"{place} was written by a newer fvcli (schema version {version}, this fvcli reads "
                    f"{SCHEMA_VERSION}); update fvcli, or replace the dataset with --overwrite",
                    hashlib.sha256(data).hexdigest(),
                )
            values = layout.parse("manifest", data)
            recipe = values["recipe"]
            found = cls(
                format=values["format"],
                dtype=values["dtype"],
                dimension=int(values["dimension"]),
                model=values["model"],
                recipe=Recipe.from_json({name: recipe[name] for name in recipe if name != "identity"}),
                environment=values["environment"],
                base_folder=values["base_folder"],
                roots=tuple(values["roots"]),
                shards=tuple(map(Shard.from_json, values["shards"])),
                failures=tuple(map(DataFile.from_json, values["failures"])),
                counts=Counts.from_json(values["counts"]),
                runs=tuple(values["runs"]),
            )
            if any(shard.rows > sum(file.bytes for file in shard.files) for shard in found.shards):
                raise ValueError("a shard has more rows than bytes")
            if not all(shard.is_of(found.format) for shard in found.shards):
                raise ValueError(f"not all of its shards are of the format {found.format}")
        except ValueError as error:
            raise DatasetError(
                f"{place} is not a dataset's manifest ({error}); "
                "restore it from a backup, or replace the dataset with --overwrite"
            ) from error
        return found


def _version(data: bytes) -> int:
    """The schema version that a manifest names, 0 where it names none."""
    values = layout.decode(data)
    version = values.get("schema_version") if isinstance(values, dict) else None
    return version if isinstance(version, int) else 0


def load(store: Store, key: str = MANIFEST) -> Manifest | None:
    """The manifest, None where there is none yet. Raises DatasetError when it is damaged."""
    data = store.read(key)
    return None if data is None else Manifest.from_bytes(data, store.describe(key))
