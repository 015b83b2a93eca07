"""Any ONNX model with one image input and one vector output, run by ONNX Runtime: one session and thread per worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fvcli.errors import ModelError, UsageError, first_line
from fvcli.models.frameworks import onnxruntime
from fvcli.models.protocol import is_vector, look_up, pixel_values
from fvcli.models.source_options import (
    MissingOptionError,
    SourceOptions,
    asked_range,
    float_input,
    input_size,
    options_identity,
)
from fvcli.records import Engine, Float32Array, InputSpec, UInt8Array

ENGINE: Final[Engine] = "onnx"

_INPUTS: Final[dict[str, type[np.generic]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, slots=True)
class _Network:
    """The state shared by all instances. channels_first: the input is [1, 3, h, w], else [1, h, w, 3]."""

    name: str
    license: str
    identity: str
    data: bytes
    input_spec: InputSpec
    input_name: str
    input_type: type[np.generic]
    channels_first: bool
    output_name: str


class ONNXModel:
    """A FeatureModel on ONNX Runtime. Images go through one at a time. Raises ModelError if it does not load."""

    def __init__(self, network: _Network, session: Any = None) -> None:
        self._network = network
        self._session = session or _session(network.data, network.name)
        spec = network.input_spec
        self._pixels = np.empty((spec.height, spec.width, 3), network.input_type)
        self._values = None if network.input_type == np.uint8 else pixel_values(spec).astype(network.input_type)
        result = self._run(np.zeros(self._pixels.shape, np.uint8))
        if not is_vector(result.shape) or result.dtype.kind not in "fiu":
            raise ModelError(
                f"{network.name}: its output {network.output_name} {list(result.shape)} is not a vector [1, d] of "
                "numbers; give another model, or name another output with ?output="
            )
        self._dimension = int(result.size)

    @property
    def name(self) -> str:
        return self._network.name

    @property
    def input_spec(self) -> InputSpec:
        return self._network.input_spec

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def identity(self) -> str:
        return self._network.identity

    @property
    def engine(self) -> Engine:
        return ENGINE

    @property
    def license(self) -> str:
        return self._network.license

    def __call__(self, images: UInt8Array) -> Float32Array:
        """uint8 RGB [n, height, width, 3] -> float32 [n, dimension]. Raises ModelError if ONNX Runtime fails."""
        features = np.empty((len(images), self._dimension), np.float32)
        for image, row in zip(images, features, strict=True):
            row[:] = self._run(image).reshape(-1)
        return features

    def per_thread(self) -> ONNXModel:
        return ONNXModel(self._network)

    def _run(self, image: UInt8Array) -> Any:
        """The output for one image, uint8 [h, w, 3]."""
        if self._values is None:
            self._pixels[:] = image
        else:
            look_up(self._values, image, self._pixels)
        pixels = self._pixels.transpose(2, 0, 1) if self._network.channels_first else self._pixels
        feed = {self._network.input_name: np.ascontiguousarray(pixels[np.newaxis])}
        try:
            return self._session.run([self._network.output_name], feed)[0]
        except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
            raise ModelError(f"{self.name}: ONNX Runtime could not run the model: {first_line(error)}") from error


def load_onnx(path: Path, name: str, license: str, options: SourceOptions) -> ONNXModel:
    """The model in a file. Its input is float32, float16 or uint8, channels first or last, of fixed or any size.

    Float inputs need the range of their pixels from ``options``; uint8 takes pixels as they are. Raises ModelError,
    naming the model, for a file that has no such input or does not load; UsageError for options that do not fit.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    session = _session(data, name)
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _INPUTS:
        found = ", ".join(f"{each.name} {each.type}" for each in inputs)
        raise ModelError(f"{name}: takes {found}, not one batch of images as float or uint8; give another model")
    (images,) = inputs
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in images.shape)
    channels_first = _channels_first(shape, name)
    sides = (shape[2], shape[3]) if channels_first else (shape[1], shape[2])
    height, width = input_size(sides, options, name)
    dtype = _INPUTS[images.type]
    if dtype == np.uint8:
        if options.ranges is not None:
            raise UsageError(f"{name}: takes unscaled pixels; omit input-range, mean and std")
        spec = InputSpec(height, width, pixel_table=tuple(range(256)))
    elif options.ranges is None:
        raise asked_range(name)
    else:
        spec = float_input(height, width, options.ranges)
    network = _Network(
        name=name,
        license=license,
        identity=options_identity(hashlib.sha256(data).hexdigest(), options),
        data=data,
        input_spec=spec,
        input_name=images.name,
        input_type=dtype,
        channels_first=channels_first,
        output_name=_output_name(session, name, options),
    )
    return ONNXModel(network, session)


def _channels_first(shape: tuple[int | None, ...], name: str) -> bool:
    """The axis of the three channels. Raises ModelError for a shape that is not a batch of images."""
    if len(shape) == 4 and shape[0] in (1, None) and (shape[1] == 3) != (shape[3] == 3):
        return shape[1] == 3
    sizes = ", ".join("any" if size is None else str(size) for size in shape)
    raise ModelError(f"{name}: takes [{sizes}], not images [1, 3, height, width] or [1, height, width, 3]")


def _output_name(session: Any, name: str, options: SourceOptions) -> str:
    names = [output.name for output in session.get_outputs()]
    if options.output is not None:
        if options.output not in names:
            raise UsageError(f"{name}: has no output {options.output}; its outputs are {', '.join(names)}")
        return options.output
    if len(names) != 1:
        raise MissingOptionError(
            f"{name}: has several outputs ({', '.join(names)}); name one of them, as in ?output={names[0]}"
        )
    return str(names[0])


def _session(data: bytes, name: str) -> Any:
    """A session with one thread. Raises ModelError."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors come as exceptions
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
        raise ModelError(f"{name}: ONNX Runtime cannot load this file, is it damaged? ({first_line(error)})") from error
