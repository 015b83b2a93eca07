"""Vectors that cannot be stored as they are become failures, and nothing of them is written."""

from __future__ import annotations

import numpy as np
import pytest

from fvcli.records import Float32Array, UInt8Array
from tests.helpers import contents, pictures
from tests.helpers.in_process import Bench


def giving(bench: Bench, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose vector has this value wherever the image's first byte is odd."""

    def model(self: object, images: UInt8Array) -> Float32Array:
        vectors = np.ones((len(images), 12), np.float32)
        vectors[images.reshape(len(images), -1)[:, 0] % 2 == 1, 3] = value
        return vectors

    monkeypatch.setattr(type(bench.model), "__call__", model)


@pytest.mark.parametrize("format", ["parquet", "npy"])
@pytest.mark.parametrize(
    ("dtype", "value", "kind"),
    [
        ("float16", 65_505.0, "OutOfRange"),
        ("float16", -70_000.0, "OutOfRange"),
        ("float32", np.inf, "NotFinite"),
        ("float16", np.nan, "NotFinite"),
    ],
)
def test_a_vector_that_cannot_be_stored_is_a_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, format: str, dtype: str, value: float, kind: str
) -> None:
    pictures.make_folder(bench.photographs, range(25))
    giving(bench, value, monkeypatch)
    bench.extract(format=format, dtype=dtype)
    failed = contents.failures(bench.features)
    assert 0 < len(failed) < 25
    assert {(line["stage"], line["error"]) for line in failed} == {("infer", kind)}
    assert bench.damages() == []
    assert bench.counts()["rows"] == 25 - len(failed)


@pytest.mark.parametrize("value", [65_504.0, -65_504.0, 0.0])
def test_what_float16_holds_is_stored(bench: Bench, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    pictures.make_folder(bench.photographs, range(5))
    giving(bench, value, monkeypatch)
    bench.extract(dtype="float16")
    assert bench.failed() == {}
    assert bench.damages() == []
    vectors = [np.frombuffer(row.vector, np.float32) for row in bench.rows().values()]
    assert {float(vector[3]) for vector in vectors} == {1.0, value}
    assert all((np.delete(vector, 3) == 1).all() for vector in vectors)
