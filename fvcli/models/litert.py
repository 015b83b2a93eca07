"""Runs a compiled .tflite, one interpreter with one thread for each worker.

Images go through one at a time. A batch of 8 or 32 in one call was measured no faster on one core (within 1 %), needs
as many times the memory for activations, and here the same image cannot but give the same bytes in every batch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

import numpy as np

from fvcli.errors import ModelError
from fvcli.models.model_card import ModelCard
from fvcli.models.stderr_filter import LITERT, stderr_without
from fvcli.records import Engine, Float32Array, InputSpec, UInt8Array

_announced = False

_FEW_STEPS: Final = 4

Feed = Callable[[UInt8Array, Any], None]


class LiteRTModel:
    """A FeatureModel on LiteRT. The file's bytes are shared by all the instances that ``per_thread`` makes.

    card: what the file is. data: the whole .tflite. Raises ModelError if LiteRT does not take the file.
    """

    def __init__(self, card: ModelCard, data: bytes) -> None:
        self._card = card
        self._data = data
        self._interpreter = _interpreter(data, card.name)
        self._input, self._output = self._tensors()
        self._feed = _feed(card.input_spec, self._input().dtype)

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
    def licence(self) -> str:
        return self._card.licence

    @property
    def card(self) -> ModelCard:
        return self._card

    def __call__(self, images: UInt8Array) -> Float32Array:
        """uint8 RGB [n, height, width, 3] -> float32 [n, dimension]. Raises ModelError if LiteRT fails."""
        features = np.empty((len(images), self._card.dimension), np.float32)
        try:
            for image, row in zip(images, features, strict=True):
                # The views are made anew each time: LiteRT refuses to run while one is held.
                self._feed(image, self._input()[0])
                self._interpreter.invoke()
                row[:] = self._output()[0]
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self.name}: LiteRT could not run the model: {error}") from error
        return features

    def per_thread(self) -> LiteRTModel:
        return LiteRTModel(self._card, self._data)

    def _tensors(self) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Functions that give views of the input and the output; both checked against the card."""
        spec = self._card.input_spec
        source, target = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shapes = [tuple(int(size) for size in tensor["shape"]) for tensor in (*source, *target)]
        if shapes != [(1, spec.height, spec.width, 3), (1, self._card.dimension)]:
            raise ModelError(f"{self.name}: the .tflite's shapes {shapes} are not those of its card; it is damaged")
        return self._interpreter.tensor(source[0]["index"]), self._interpreter.tensor(target[0]["index"])


def _feed(spec: InputSpec, dtype: np.dtype[Any]) -> Feed:
    """How one image [h, w, 3] is written into the input tensor of ``dtype``."""
    if dtype == np.float32:
        if spec.value_range is None:
            raise ModelError("a float model needs the value range of its input")
        low, high = (np.float32(value) for value in spec.value_range)

        def scaled(image: UInt8Array, tensor: Any) -> None:
            np.divide(image, np.float32(255), out=tensor, dtype=np.float32)
            if spec.value_range != (0.0, 1.0):
                tensor *= high - low
                tensor += low

        return scaled
    # An int8 tensor holds code - 128, which in two's complement is the uint8 code with its highest bit flipped.
    flip = np.uint8(128 if dtype == np.int8 else 0)
    steps = _steps(spec.pixel_table or tuple(range(256)))
    if len(steps) <= _FEW_STEPS:

        def stepped(image: UInt8Array, tensor: Any) -> None:
            codes = tensor.view(np.uint8)
            np.bitwise_xor(image, flip, out=codes)
            for threshold, step in steps:
                # Flipping the highest bit is adding 128, so adding in any order wraps round to the same.
                codes += (image >= threshold).view(np.uint8) * step

        return stepped
    table = np.array(spec.pixel_table, np.uint8) ^ flip

    def looked_up(image: UInt8Array, tensor: Any) -> None:
        np.take(table, image, out=tensor.view(np.uint8), mode="clip")

    return looked_up


def _steps(table: tuple[int, ...]) -> list[tuple[np.uint8, np.uint8]]:
    """(first pixel value, what is added from there on, modulo 256) wherever table[p] - p changes.

    A quantops table leaves the pixel by 1 over a part of its range. Comparing and adding takes a quarter of the time of
    looking 76,800 values up.
    """
    offsets = [(code - pixel) % 256 for pixel, code in enumerate(table)]
    changes = [
        (pixel, after - before) for pixel, (before, after) in enumerate(zip([0, *offsets], offsets, strict=False))
    ]
    return [(np.uint8(pixel), np.uint8(change % 256)) for pixel, change in changes if change]


def _interpreter(data: bytes, name: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    global _announced
    try:
        # LiteRT announces itself on the first interpreter of a process, and has no setting against it.
        with nullcontext() if _announced else stderr_without(LITERT):
            interpreter = Interpreter(model_content=data, num_threads=1)
            interpreter.allocate_tensors()
            _announced = True
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{name}: LiteRT does not take this .tflite: {error}") from error
    return interpreter
