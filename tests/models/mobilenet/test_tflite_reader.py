"""Networks read from .tflite files, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fvcli.errors import ModelError
from fvcli.models.mobilenet.compile import compile_float, compile_int8
from fvcli.models.mobilenet.tflite_reader import parse_tflite, read_tflite
from fvcli.models.mobilenet.tflite_writer import TFLiteWriter
from tests.helpers.networks import GOOGLE_FILES, plain_network, quantops_network


@pytest.mark.parametrize("name", GOOGLE_FILES)
def test_googles_uint8_files_are_read(shared: Path, name: str) -> None:
    multiplier, size, _ = GOOGLE_FILES[name]
    network = read_tflite(shared / "models" / f"{name}.tflite")
    assert (network.depth_multiplier, network.input_spec.height, network.input_spec.width) == (multiplier, size, size)
    assert network.input_spec.pixel_table == tuple(range(256)), "there the pixel is the code"
    assert network.input is not None
    assert (float(network.input.scale), network.input.zero_point) == (0.0078125, 128)
    assert (network.logits is None) == name.endswith("extractor")
    assert network.layers[-1].bias.shape == (1024 * multiplier,)
    for layer in network.layers:
        assert layer.output is not None
        assert 5.99 < float(layer.output.scale) * 255 < 6.01


def test_the_classifier_head_takes_no_image(shared: Path) -> None:
    path = shared / "models" / "mobilenet_v1_1.0_224_quant_classifier_head.tflite"
    with pytest.raises(ModelError, match=r"classifier_head\.tflite: takes an input of shape \[1, 1, 1, 1024\]"):
        read_tflite(path)


def test_compiled_files_read_back_to_the_same_network() -> None:
    network = quantops_network()
    back = parse_tflite(compile_int8(network))
    assert back.identity == network.identity
    for layer, original in zip(back.layers, network.layers, strict=True):
        assert layer.weights is not None
        assert original.weights is not None
        np.testing.assert_array_equal(layer.weights.codes, original.weights.codes)
        np.testing.assert_array_equal(layer.bias_codes, original.bias_codes)
    assert parse_tflite(compile_int8(network, uint8_input=True)).identity == network.identity
    plain = plain_network()
    assert parse_tflite(compile_float(plain)).identity == plain.identity


@pytest.mark.parametrize("end", [0, 7, 8, 100, 5_000, 200_000])
def test_a_file_cut_short_is_refused(end: int) -> None:
    with pytest.raises(ModelError):
        parse_tflite(compile_int8(quantops_network())[:end])


def test_a_changed_weight_is_noticed() -> None:
    network = quantops_network()
    data = bytearray(compile_int8(network))
    assert network.layers[0].weights is not None
    weights = (network.layers[2].kernel / network.layers[2].weights.scale).round().astype(np.int8)  # type: ignore[union-attr]
    place = bytes(data).find(np.ascontiguousarray(weights.transpose(3, 0, 1, 2)).tobytes()[:8])
    assert place > 0
    data[place] ^= 1
    with pytest.raises(ModelError, match="damaged"):
        parse_tflite(bytes(data))


def test_other_networks_are_refused(tmp_path: Path) -> None:
    writer = TFLiteWriter()
    images = writer.tensor("images", (32, 32, 3), np.float32)
    features = writer.tensor("features", (3,), np.float32)
    writer.mean(images, features, axes=(1, 2))
    path = tmp_path / "other.tflite"
    path.write_bytes(writer.finish({"images": images}, {"features": features}))
    with pytest.raises(ModelError, match=r"other\.tflite: has 0 convolutions"):
        read_tflite(path)
    with pytest.raises(ModelError, match="cannot be read"):
        read_tflite(tmp_path / "missing.tflite")
    path.write_bytes(b"PK\3\4 not a model")
    with pytest.raises(ModelError, match=r"not a \.tflite"):
        read_tflite(path)


def test_int8_files_of_others_are_refused() -> None:
    network = quantops_network()
    data = compile_int8(network).replace(b"fvcli\0", b"other\0")
    with pytest.raises(ModelError, match="fvcli did not write"):
        parse_tflite(data)
