"""The network in torch is the one that the product runs in TensorFlow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.network import MobileNetV1
from tests.helpers.networks import plain_network, random_images

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from training.float_network import HINT, FloatNetwork, to_tensorflow, to_torch  # noqa: E402


@pytest.fixture(scope="module")
def network() -> MobileNetV1:
    return plain_network(160, 0.25)


@pytest.mark.parametrize("size", [96, 160, 192, 224])
def test_its_maps_are_those_of_the_product(network: MobileNetV1, size: int) -> None:
    images = random_images(2, size)
    expected = graph.endpoints(graph.network_arrays(network), images / np.float32(255))

    with torch.no_grad():
        hint, last = FloatNetwork(network)(torch.from_numpy(images).permute(0, 3, 1, 2))

    for name, given in ((HINT, hint), ("Conv2d_13_pointwise", last)):
        wanted = expected[name].numpy()
        assert wanted.std() > 0.1
        assert wanted.max() == 6, "some results are clipped"
        np.testing.assert_allclose(given.permute(0, 2, 3, 1), wanted, atol=2e-4, err_msg=name)


def test_its_layers_are_those_it_was_made_of(network: MobileNetV1) -> None:
    for before, after in zip(network.layers, FloatNetwork(network).layers(), strict=True):
        assert after.name == before.name
        np.testing.assert_array_equal(after.kernel, before.kernel)
        np.testing.assert_array_equal(after.bias, before.bias)


def test_gains_are_multiplied_into_the_kernels_of_its_layers(network: MobileNetV1) -> None:
    trained = FloatNetwork(network)
    with torch.no_grad():
        for number, gain in enumerate(trained.gains):
            gain.copy_(torch.linspace(0.5, 1.5, len(gain)) + 0.01 * number)
        hint, last = trained(torch.from_numpy(random_images(1, 96)).permute(0, 3, 1, 2))
        again = FloatNetwork(replace(network, layers=trained.layers()))
        hints, lasts = again(torch.from_numpy(random_images(1, 96)).permute(0, 3, 1, 2))
    np.testing.assert_allclose(hint, hints, atol=1e-4)
    np.testing.assert_allclose(last, lasts, atol=1e-4)
    first, before = trained.layers()[0].kernel, network.layers[0].kernel
    np.testing.assert_allclose(first[..., 0] / before[..., 0], 0.5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 3, 8), (1, 1, 8, 16), (3, 3, 16, 1)])
def test_the_layouts_of_kernels_are_inverse(shape: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    turned = to_torch(kernel)
    depthwise = shape[3] == 1
    assert turned.shape == ((16, 1, 3, 3) if depthwise else (shape[3], shape[2], *shape[:2]))
    np.testing.assert_array_equal(to_tensorflow(torch.from_numpy(turned), depthwise), kernel)
