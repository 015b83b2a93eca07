"""Inner products of int8 codes, a million at a time, on the CPU's own int8 instructions.

numpy has no fast product of int8 matrices. LiteRT has one, as a fully connected layer whose weights are one of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fvcli.models.litert import new_interpreter
from fvcli.models.mobilenet.tflite_writer import Quantization, TFLiteWriter

_NAME = "inner products"


def product_layer(codes: NDArray[np.int8], offsets: NDArray[np.int32], step: float) -> bytes:
    """A .tflite that multiplies others' codes with ``codes``, int8 [n, k], adds ``offsets``, [n], divides by ``step``.

    Codes are in [-127, 127], the step is at least 1.
    """
    writer, one = TFLiteWriter(), Quantization.per_tensor(1, 0)
    others = writer.tensor("others", [codes.shape[1]], np.int8, one)
    products = writer.tensor("products", [len(codes)], np.int8, Quantization.per_tensor(step, 0))
    weights, bias = writer.constant("codes", codes, one), writer.constant("offsets", offsets, one)
    writer.fully_connected([others, weights, bias], products)
    return writer.finish({"others": others}, {"products": products})


class CodeProducts:
    """Runs a product layer for at most ``rows`` others at once. It is for one thread.

    A result is within 1 of (others . codes + offset) / step, cut off to [-128, 127]. The sums are exact in int32.
    LiteRT rounds their quotients to nearest, some of its kernels after a fixed-point product.
    """

    def __init__(self, layer: bytes, rows: int) -> None:
        self._interpreter = new_interpreter(layer, _NAME)
        (source,), (target,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._interpreter.resize_tensor_input(source["index"], (rows, source["shape"][1]))
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.tensor(source["index"])
        self._output = self._interpreter.tensor(target["index"])

    def __call__(self, others: NDArray[np.int8]) -> NDArray[np.int8]:
        """int8 [m, k] -> int8 [m, n], a view that must be dropped before the next call."""
        self._input()[: len(others)] = others
        self._interpreter.invoke()
        result: NDArray[np.int8] = self._output()[: len(others)]
        return result
