"""Runs a .tflite with LiteRT, one interpreter with one thread per worker.

Images go through one at a time, so an image gives the same bytes in every batch. A batch in one call is no faster on
one core, and needs as many times the memory for activations.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

import numpy as np

from fvcli.errors import ModelError
from fvcli.machine import stderr_without
from fvcli.models.frameworks import LITERT
from fvcli.models.model_card import ModelCard
from fvcli.models.protocol import look_up, pixel_codes, pixel_values
from fvcli.records import Engine, Float32Array, InputSpec, UInt8Array

_announced = False

_FEW_STEPS: Final = 4

Feed = Callable[[UInt8Array, Any], None]
"""Writes one image [h, w, 3] into the input tensor [h, w, 3]."""


class LiteRTModel:
    """A FeatureModel on LiteRT. The file's bytes are shared by all the instances that ``per_thread`` makes.

    card: what the file is. data: the whole .tflite. output: the name of the tensor that holds the vector, None where
    the file has one output. Raises ModelError if LiteRT does not take the file.
    """

    def __init__(self, card: ModelCard, data: bytes, output: str | None = None) -> None:
        self._card = card
        self._data = data
        self._output_name = output
        size = (card.input_spec.height, card.input_spec.width)
        self._interpreter = new_interpreter(data, card.name, size)
        source, target = self._details()
        self._input = self._interpreter.tensor(source["index"])
        self._output = self._interpreter.tensor(target["index"])
        self._feed = _feed(card.input_spec, source)
        quantized = target["dtype"] != np.float32
        self._quantization: tuple[float, int] | None = target["quantization"] if quantized else None

    @property
    def name(self) -> str:
        return self._card.name

    @property
    def input_spec(self) -> InputSpec:
        return self._card.input_spec

    @property
    def dimension(self) -> int:
        return self._card.dimension

    @property
    def identity(self) -> str:
        return self._card.identity

    @property
    def engine(self) -> Engine:
        return self._card.engine

    @property
    def license(self) -> str:
        return self._card.license

    @property
    def card(self) -> ModelCard:
        return self._card

    def __call__(self, images: UInt8Array) -> Float32Array:
        """uint8 RGB [n, height, width, 3] -> float32 [n, dimension]. Raises ModelError if LiteRT fails."""
        features = np.empty((len(images), self._card.dimension), np.float32)
        try:
            for image, row in zip(images, features, strict=True):
                # The views are recreated each time: LiteRT refuses to run while one is held.
                self._feed(image, self._input()[0])
                self._interpreter.invoke()
                row[:] = self._output().reshape(-1)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self.name}: LiteRT could not run the model: {error}") from error
        if self._quantization is not None:
            scale, zero_point = self._quantization
            features -= np.float32(zero_point)
            features *= np.float32(scale)
        return features

    def per_thread(self) -> LiteRTModel:
        return LiteRTModel(self._card, self._data, self._output_name)

    def _details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The interpreter's details of the input and of the output; both checked against the card."""
        spec = self._card.input_spec
        sources, targets = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if self._output_name is not None:
            targets = [target for target in targets if target["name"] == self._output_name]
        shapes = [tuple(int(size) for size in tensor["shape"]) for tensor in (*sources, *targets)]
        expected = [(1, spec.height, spec.width, 3), self._card.dimension]
        if [*shapes[:1], *(int(np.prod(shape)) for shape in shapes[1:])] != expected:
            raise ModelError(f"{self.name}: the .tflite's shapes {shapes} are not those of its card; it is damaged")
        return sources[0], targets[0]


def _feed(spec: InputSpec, tensor_details: dict[str, Any]) -> Feed:
    """The Feed for images of ``spec`` and an input tensor with these details of LiteRT's."""
    dtype = np.dtype(tensor_details["dtype"])
    if dtype == np.float32:
        return _float_feed(spec)
    if spec.pixel_table is None:
        scale, zero_point = tensor_details["quantization"]
        codes = pixel_codes(spec, scale, zero_point, dtype)
        return lambda image, tensor: look_up(codes, image, tensor)
    # An int8 tensor holds code - 128, which in two's complement is the uint8 code with its highest bit flipped.
    flip = np.uint8(128 if dtype == np.int8 else 0)
    steps = _steps(spec.pixel_table)
    if len(steps) <= _FEW_STEPS:
        above = np.empty((spec.height, spec.width, 3), np.bool_)

        def stepped(image: UInt8Array, tensor: Any) -> None:
            codes = tensor.view(np.uint8)
            np.bitwise_xor(image, flip, out=codes)
            for threshold, step in steps:
                np.greater_equal(image, threshold, out=above)
                # Flipping the highest bit is adding 128, so adding in any order wraps round to the same.
                step(codes, above.view(np.uint8), out=codes)

        return stepped
    table = np.array(spec.pixel_table, np.uint8) ^ flip

    def looked_up(image: UInt8Array, tensor: Any) -> None:
        np.take(table, image, out=tensor.view(np.uint8), mode="clip")

    return looked_up


def _float_feed(spec: InputSpec) -> Feed:
    if spec.channel_ranges is not None:
        values = pixel_values(spec)
        return lambda image, tensor: look_up(values, image, tensor)
    if spec.value_range is None:
        raise ModelError("a float model needs the value range of its input")
    low, high = (np.float32(value) for value in spec.value_range)

    def scaled(image: UInt8Array, tensor: Any) -> None:
        np.divide(image, np.float32(255), out=tensor, dtype=np.float32)
        if spec.value_range != (0.0, 1.0):
            tensor *= high - low
            tensor += low

    return scaled


def _steps(table: tuple[int, ...]) -> list[tuple[np.uint8, np.ufunc]]:
    """(first pixel value, np.add or np.subtract) for each 1 that table[p] - p, modulo 256, changes by from there on.

    A quantops table leaves the pixel by 1 over a part of its range. Comparing and adding takes a fifth of the time of
    looking 76,800 values up.
    """
    offsets = [(code - pixel + 128) % 256 - 128 for pixel, code in enumerate(table)]
    steps: list[tuple[np.uint8, np.ufunc]] = []
    for pixel, (before, after) in enumerate(zip([0, *offsets], offsets, strict=False)):
        steps += [(np.uint8(pixel), np.add if after > before else np.subtract)] * abs(after - before)
    return steps


def new_interpreter(data: bytes, name: str, size: tuple[int, int] | None = None) -> Any:
    """An interpreter of a .tflite with one thread, for one image at a time. Raises ModelError.

    size: height and width of the images, for a file that takes any.
    """
    from ai_edge_litert.interpreter import Interpreter

    global _announced
    try:
        # LiteRT announces itself on the first interpreter of a process, and has no setting against it.
        with nullcontext() if _announced else stderr_without(LITERT):
            interpreter = Interpreter(model_content=data, num_threads=1)
            for source in interpreter.get_input_details():
                if size is not None and -1 in source["shape_signature"][1:3]:
                    interpreter.resize_tensor_input(source["index"], [1, *size, 3])
            interpreter.allocate_tensors()
            _announced = True
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{name}: LiteRT does not take this .tflite: {error}") from error
    return interpreter
