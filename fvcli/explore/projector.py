"""A dataset in the form that TensorBoard's Embedding Projector reads.

The format is TensorBoard's own: ``projector_config.pbtxt`` (tensorboard/plugins/projector/projector_config.proto)
names a file of tab-separated numbers, one vector a line, and one of tab-separated labels under a line of headings.
https://projector.tensorflow.org takes the same two .tsv files.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np

from fvcli.dataset.reader import Dataset
from fvcli.files import replacing, translated
from fvcli.text import printable

TENSORS, METADATA, CONFIG = "tensors.tsv", "metadata.tsv", "projector_config.pbtxt"

# Points are labeled by the first, unless something else is chosen.
_LABELS = ("path", "root", "format", "width", "height", "size_bytes", "sha256")
_CONFIG = f"""embeddings {{
  tensor_name: "fvcli"
  tensor_path: "{TENSORS}"
  metadata_path: "{METADATA}"
}}
"""
#: Spreadsheets take a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@")


def write_projector(dataset: Dataset, folder: Path) -> list[Path]:
    """Writes the three files into ``folder`` and returns their paths. Raises DatasetError.

    Numbers have nine digits, so every float32 reads back as it was.
    """
    with translated("create the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    return [
        _write(folder / TENSORS, lambda file: _tensors(dataset, file)),
        _write(folder / METADATA, lambda file: _metadata(dataset, file)),
        _write(folder / CONFIG, lambda file: file.write(_CONFIG)),
    ]


def _write(path: Path, fill: Callable[[TextIO], object]) -> Path:
    """The file is there when it is whole, or as it was before."""
    with translated("write", path), replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        fill(text)
        text.detach()
    return path


def _tensors(dataset: Dataset, file: TextIO) -> None:
    for _, block in dataset.vector_blocks():
        np.savetxt(file, block, fmt="%.9g", delimiter="\t")


def _metadata(dataset: Dataset, file: TextIO) -> None:
    file.write("\t".join(_LABELS) + "\n")
    for batch in dataset.batches(_LABELS):
        columns = (batch.column(name).to_pylist() for name in _LABELS)
        file.writelines("\t".join(map(_cell, row)) + "\n" for row in zip(*columns, strict=True))


def _cell(value: object) -> str:
    """A value as one cell: control characters escaped, and an apostrophe before what would be a formula."""
    text = printable(str(value).replace("\\", "\\\\"))
    return f"'{text}" if text.startswith(_FORMULA) else text
