"""Products of codes by LiteRT, against numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from fvcli.explore.code_products import CodeProducts, product_layer


@pytest.mark.parametrize("width", [1, 5, 64, 128, 301])
@pytest.mark.parametrize("step", [1.0, 3.7, 612.25, 1e5])
def test_products_are_within_one_of_the_exact_quotients(width: int, step: float) -> None:
    random = np.random.default_rng(width)
    codes, others = (random.integers(-127, 128, (count, width), np.int8) for count in (90, 50))
    codes[0] = others[0] = 127
    codes[1] = others[1] = -127
    offsets = random.integers(-2_000_000, 2_000_000, 90).astype(np.int32)
    offsets[2:6] = -(2**30), 2**30, 2**24 + 1, 0
    products = CodeProducts(product_layer(codes, offsets, step), 64)
    exact = np.clip((others.astype(np.float64) @ codes.astype(np.float64).T + offsets) / np.float64(step), -128, 127)
    for count in (50, 1):  # fewer than there is room for
        found = products(others[:count]).astype(np.float64)
        assert found.shape == (count, 90)
        assert np.abs(found - exact[:count]).max() <= 1
