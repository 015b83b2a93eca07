"""Checkpoints against their own training graphs, and what is missing in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fvcli.errors import ModelError
from fvcli.models.frameworks import tensorflow
from fvcli.models.loading import load_model
from fvcli.models.mobilenet.checkpoint import (
    network_from_variables,
    network_variable_name,
    read_checkpoint,
    size_in_name,
)
from fvcli.models.mobilenet.graph import classifier, convolutions
from fvcli.models.mobilenet.network import nudged_range

MULTIPLIER = 0.25


def slim_variables(*, quantized: bool) -> dict[str, np.ndarray]:
    """A checkpoint of a TF-Slim training run: BatchNorm apart, ranges under doubled scopes, and tensors of training."""
    generator = np.random.default_rng(11)
    variables: dict[str, np.ndarray] = {"global_step": np.array(100, np.int64)}
    for shape in [*convolutions(MULTIPLIER), classifier(MULTIPLIER)]:
        scope = f"MobilenetV1/{shape.name}"
        fan_in = np.prod(shape.kernel_shape[:2]) if shape.depthwise else np.prod(shape.kernel_shape[:3])
        kernel = generator.normal(0, 1.2 / np.sqrt(fan_in), shape.kernel_shape)
        variables[f"{scope}/{'depthwise_weights' if shape.depthwise else 'weights'}"] = kernel
        variables[f"{scope}/weights/RMSProp"] = kernel * 0
        if shape.name.startswith("Logits"):
            variables[f"{scope}/biases"] = generator.normal(0, 0.1, shape.channels)
        else:
            norm = f"{scope}/BatchNorm"
            variables[f"{norm}/gamma"] = generator.uniform(0.8, 1.6, shape.channels)
            variables[f"{norm}/beta"] = generator.normal(0.4, 0.3, shape.channels)
            variables[f"{norm}/moving_mean"] = generator.normal(0, 0.3, shape.channels)
            variables[f"{norm}/moving_variance"] = generator.uniform(0.5, 2.0, shape.channels)
        if quantized:
            doubled = f"MobilenetV1/{scope}"
            variables[f"{doubled}/weights_quant/min"] = np.array(-2.5)
            variables[f"{doubled}/weights_quant/max"] = np.array(2.25)
            last = shape.name.startswith("Logits")
            variables[f"{doubled}/act_quant/min"] = np.array(-9.0 if last else 0.0)
            variables[f"{doubled}/act_quant/max"] = np.array(11.0 if last else 5.9997)
            variables[f"{doubled}/act_quant/{doubled}/act_quant/max/biased"] = np.array(77.0)
    return {name: value if value.dtype == np.int64 else value.astype(np.float32) for name, value in variables.items()}


def save(prefix: Path, variables: dict[str, np.ndarray]) -> Path:
    tf = tensorflow()
    names = sorted(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(variables[name]) for name in names],
    )
    return prefix


def training_graph(variables: dict[str, np.ndarray], images: np.ndarray, *, quantized: bool) -> np.ndarray:
    """The features as training computes them, op by op: fold, FakeQuant, convolve, bias, ReLU6, FakeQuant."""
    tf = tensorflow()
    x = tf.constant(images * 2 - 1, tf.float32)
    if quantized:
        x = tf.quantization.fake_quant_with_min_max_args(x, -1.0, 127 / 128)
    for shape in convolutions(MULTIPLIER):
        scope = f"MobilenetV1/{shape.name}"
        norm = {
            part: variables[f"{scope}/BatchNorm/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        }
        kernel = variables[f"{scope}/{'depthwise_weights' if shape.depthwise else 'weights'}"]
        strides = [1, shape.stride, shape.stride, 1]
        operation = tf.nn.depthwise_conv2d if shape.depthwise else tf.nn.conv2d
        if quantized:
            factor = norm["gamma"] / np.sqrt(norm["moving_variance"] + 0.001)
            folded = kernel * (factor[:, None] if shape.depthwise else factor)
            folded = tf.quantization.fake_quant_with_min_max_args(folded, -2.5, 2.25, narrow_range=True)
            x = operation(x, folded, strides, "SAME") + (norm["beta"] - norm["moving_mean"] * factor)
            x = tf.quantization.fake_quant_with_min_max_args(tf.nn.relu6(x), 0.0, 5.9997)
        else:
            x = tf.nn.batch_normalization(
                operation(x, kernel, strides, "SAME"),
                norm["moving_mean"],
                norm["moving_variance"],
                norm["beta"],
                norm["gamma"],
                0.001,
            )
            x = tf.nn.relu6(x)
    return tf.reduce_mean(x, [1, 2]).numpy()


@pytest.mark.slow
def test_a_plain_checkpoint_computes_what_its_training_graph_does(tmp_path: Path) -> None:
    variables = slim_variables(quantized=False)
    prefix = save(tmp_path / "mobilenet_v1_0.25_128.ckpt", variables)
    network = read_checkpoint(prefix)
    assert not network.quantized
    assert network.logits is not None
    images = np.random.default_rng(2).integers(0, 256, (2, 128, 128, 3), np.uint8)
    expected = training_graph(variables, images / 255, quantized=False)
    assert expected.std() > 0.1
    np.testing.assert_allclose(load_model(str(prefix))(images), expected, atol=2e-4)


@pytest.mark.slow
def test_a_quantops_checkpoint_computes_what_its_training_graph_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "cache"))
    variables = slim_variables(quantized=True)
    prefix = save(tmp_path / "model.ckpt", variables)
    with pytest.raises(ModelError, match=r"model\.ckpt\?image-size=160"):
        load_model(str(prefix))
    network = read_checkpoint(prefix.with_name("model.ckpt.index"), 128)
    assert network.layers[0].output == nudged_range(0.0, 5.9997, (0, 255))
    assert network.input_spec.pixel_table == tuple(range(256)), "without a range the pixel is the code"
    images = np.random.default_rng(2).integers(0, 256, (2, 128, 128, 3), np.uint8)
    expected = training_graph(variables, images / 256, quantized=True)
    features = load_model(f"{prefix}?image-size=128", "tensorflow")(images)
    assert expected.std() > 0.1
    # Folding in another order may turn a rounding here and there.
    assert np.abs(features - expected).mean() < 0.01 * expected.std()
    assert load_model(f"{prefix}?image-size=128").engine == "int8"


@pytest.mark.slow
def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    variables = slim_variables(quantized=True)
    name = "MobilenetV1/MobilenetV1/Conv2d_3_depthwise/act_quant/max"
    prefix = save(tmp_path / "mobilenet_v1_0.25_128_quant.ckpt", {k: v for k, v in variables.items() if k != name})
    with pytest.raises(ModelError, match=r"_quant\.ckpt: the variable Conv2d_3_depthwise/act_quant/max is missing"):
        read_checkpoint(prefix)
    wrong = {**variables, "MobilenetV1/Conv2d_5_pointwise/weights": np.zeros((1, 1, 3, 3), np.float32)}
    prefix = save(tmp_path / "mobilenet_v1_0.25_160_quant.ckpt", wrong)
    with pytest.raises(ModelError, match=r"Conv2d_5_pointwise/weights is \[1, 1, 3, 3\]"):
        read_checkpoint(prefix)
    data = tmp_path / "mobilenet_v1_0.25_160_quant.ckpt.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(prefix)
    data.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(prefix)


def test_without_gamma_batch_norm_does_not_scale() -> None:
    variables = {
        name: value
        for full, value in slim_variables(quantized=False).items()
        if (name := network_variable_name(full)) is not None
    }
    ones = {name: np.ones_like(value) if name.endswith("gamma") else value for name, value in variables.items()}
    without = {name: value for name, value in variables.items() if not name.endswith("gamma")}
    assert len(variables) - len(without) == 27
    assert network_from_variables(without, 128).identity == network_from_variables(ones, 128).identity
    assert network_from_variables(variables, 128).identity != network_from_variables(ones, 128).identity


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenet_v1_1.0_160_quant.ckpt", 160),
        ("mobilenet_v1_0.25_128", 128),
        ("mobilenet_v1_1.0_2240_quant.ckpt", None),
        ("mobilenet_v1_2018_08_02", None),
        ("model.ckpt-160", None),
    ],
)
def test_the_image_size_is_that_of_a_name_in_googles_form(name: str, size: int | None) -> None:
    assert size_in_name(name) == size
