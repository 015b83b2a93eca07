"""The files of the work folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from tests.helpers.networks import plain_network
from training.work import between, load_layers, save_layers


def test_layers_are_read_as_they_were_stored(tmp_path: Path) -> None:
    network, other = plain_network(), plain_network(seed=2)
    path = tmp_path / "layers.npz"
    save_layers(path, network.layers, factors=np.arange(3))
    read, arrays = load_layers(path, other)
    assert [entry.name for entry in tmp_path.iterdir()] == ["layers.npz"]
    for one, two in zip(read.layers, network.layers, strict=True):
        assert one.name == two.name
        np.testing.assert_array_equal(one.kernel, two.kernel)
        np.testing.assert_array_equal(one.bias, two.bias)
    assert read.logits is other.logits, "all else is that of the other network"
    assert arrays["factors"].tolist() == [0, 1, 2]


def test_layers_are_stored_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "layers.npz"
    save_layers(path, plain_network().layers)
    before = path.read_bytes()

    def broken(file: BinaryIO, **_: object) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="no space"):
        save_layers(path, plain_network(seed=2).layers)
    assert path.read_bytes() == before


def test_a_network_between_two_has_a_share_of_the_way() -> None:
    first = plain_network()
    layers = tuple(replace(layer, kernel=layer.kernel + 4, bias=layer.bias - 2) for layer in first.layers)
    part = between(first, replace(first, layers=layers), 0.75)
    for layer, start in zip(part.layers, first.layers, strict=True):
        np.testing.assert_allclose(layer.kernel, start.kernel + 3, rtol=1e-5)
        np.testing.assert_allclose(layer.bias, start.bias - 1.5, rtol=1e-5)
        assert layer.kernel.dtype == np.float32
