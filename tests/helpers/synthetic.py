"""A dataset made of given vectors, without images or a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fvcli.dataset.columns import Encoding, Rows
from fvcli.dataset.layout import KINDS, DataFormat, DType, shard_name
from fvcli.dataset.manifest import Counts, DataFile, Manifest, Shard
from fvcli.dataset.reader import Dataset, open_dataset
from fvcli.dataset.shard_file import ShardWriter
from fvcli.dataset.store import LocalStore
from fvcli.records import Float32Array, ImageInfo, ImageRef, Preprocessing, Recipe


def rows_of(vectors: Float32Array, start: int = 0, root: str = "photos", contents: Iterable[str] | None = None) -> Rows:
    """Rows called 000000000.jpg and so on from ``start``; each has a content of its own unless told."""
    numbers = range(start, start + len(vectors))
    if contents is None:  # in no order, as those of files are
        contents = (hashlib.sha256(str(number).encode()).hexdigest() for number in numbers)
    hashes = list(contents)
    refs = [ImageRef(root, f"{number:09d}.jpg") for number in numbers]
    infos = [ImageInfo(sha256, 1000, 1, 640, 480, "JPEG") for sha256 in hashes]
    return Rows(refs, infos, vectors)


def write_dataset(
    folder: Path, shards: Iterable[Rows], format: DataFormat = "parquet", dtype: DType = "float32"
) -> Dataset:
    """The files as a run writes them, and a manifest that names them. All rows have as many labels as the first."""
    store = LocalStore(folder)
    for key in ("tmp", *(kind for kind, _, _ in KINDS[format])):
        store.make_folder(key)
    described = []
    dimension, labels = 1, 0
    for number, rows in enumerate(shards):
        dimension, labels = rows.vectors.shape[1], len(rows.infos[0].labels)
        writer = ShardWriter(store.path("tmp"), f"{number:05d}", Encoding(format, dtype, dimension, {}, labels > 0))
        for row in zip(rows.refs, rows.infos, rows.vectors, strict=True):
            writer.append(*row)
        files = []
        for (kind, prefix, suffix), written in zip(KINDS[format], writer.close(), strict=True):
            file = DataFile(
                f"{kind}/{shard_name(prefix, number, suffix, written.sha256)}", written.bytes, written.sha256
            )
            written.path.rename(store.path(file.file))
            files.append(file)
        first, last = rows.refs[0], rows.refs[-1]
        described.append(Shard(number, len(rows), tuple(files), (first.root, first.path), (last.root, last.path)))
    total = sum(shard.rows for shard in described)
    manifest = Manifest(
        format,
        dtype,
        dimension,
        model={"name": "none", "identity": "0" * 64, "license": "unknown"},
        recipe=Recipe("0" * 64, "int8", Preprocessing(), labels=labels, classifier="1" * 64 if labels else None),
        environment={"fvcli": "0", "python": "0", "cpu": "none", "platform": "none"},
        roots=tuple(sorted({shard.first[0] for shard in described})),
        shards=tuple(described),
        counts=Counts(discovered=total, extracted=total),
    )
    store.replace("manifest.json", manifest.to_bytes())
    return open_dataset(folder)
