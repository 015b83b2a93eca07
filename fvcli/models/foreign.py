"""Networks that TensorFlow runs as they are: Keras models, and SavedModels and modules with images in, vectors out.

The signature of the latter: https://www.tensorflow.org/hub/common_signatures/images
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from fvcli.errors import ModelError, UsageError, first_line
from fvcli.files import file_sha256
from fvcli.machine import stderr_without
from fvcli.models.frameworks import TENSORFLOW, tensorflow, tensorflow_hub
from fvcli.models.hub import SIGNATURES
from fvcli.models.litert import LiteRTModel
from fvcli.models.model_card import ModelCard, input_spec_to_json
from fvcli.models.protocol import is_vector, pixel_values
from fvcli.models.source_options import SourceOptions, asked_range, float_input, input_size, options_identity
from fvcli.models.tensorflow import TensorFlowModel, single_thread
from fvcli.records import InputSpec

GRAPH_FILE: Final = "saved_model.pb"


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A network of TensorFlow's, loaded.

    loaded: what has to stay alive while it runs. run: float32 [n, h, w, 3] -> float32 [n, d].
    """

    name: str
    license: str
    input_spec: InputSpec
    dimension: int
    identity: str
    loaded: Any
    run: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Signature:
    """A function from images to vectors. size: (height, width), None where it takes any."""

    function: Any
    input_name: str
    size: tuple[int | None, int | None]
    output_name: str
    dimension: int

    def run(self, images: Any) -> Any:
        return self.function(**{self.input_name: images})[self.output_name]


def load_saved_model(folder: Path, name: str, license: str, options: SourceOptions) -> ForeignModel:
    """Loads a SavedModel or hub.Module that has the image feature vector signature.

    Its input range is not in its files, so ``options`` has to give it, and a size where it takes any. Raises
    ModelError for another signature, or without these; UsageError for options that do not fit.
    """
    tf, hub = tensorflow(), tensorflow_hub()
    single_thread()
    try:
        with stderr_without(TENSORFLOW):
            loaded = hub.load(str(folder))
        signatures = dict(loaded.signatures)
    except (tf.errors.OpError, AttributeError, OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{name}: not a SavedModel that TensorFlow can load: {first_line(error)}") from error
    for candidate in (*SIGNATURES, "serving_default"):
        if candidate in signatures:
            signature = _image_signature(signatures[candidate], options.output)
            if signature:
                break
    else:
        _refuse(name, signatures, options)
    spec = _input_spec(signature.size, name, options)
    identity = _folder_identity(folder, spec, options.output)
    return ForeignModel(name, license, spec, signature.dimension, identity, loaded, signature.run)


def load_keras(path: Path, name: str, license: str, options: SourceOptions) -> ForeignModel:
    """Loads a Keras model (``.keras`` or ``.h5``) with one image input and one vector output.

    ``options`` has to give its input range, and a size where it takes any. Raises ModelError for another model, or
    without these; UsageError for options that do not fit.
    """
    tf = tensorflow()
    single_thread()
    try:
        with stderr_without(TENSORFLOW):
            model = tf.keras.models.load_model(str(path), compile=False)
        inputs, outputs = (
            list(model.inputs),
            list(getattr(model, "output_names", ["output"])),
        )  # Sequential has no names
    except Exception as error:  # Keras raises whatever a layer's code raises
        raise ModelError(f"{name}: Keras cannot load this file, is it a Keras model? ({first_line(error)})") from error
    shape = tuple(inputs[0].shape) if len(inputs) == 1 else ()
    if len(shape) != 4 or shape[0] not in (None, 1) or shape[3] != 3:
        raise ModelError(f"{name}: takes {[tuple(each.shape) for each in inputs]}, not images [n, height, width, 3]")
    if options.output is not None and options.output not in outputs:
        raise UsageError(f"{name}: has no output {options.output}; its outputs are {', '.join(outputs)}")
    if options.output is None and len(outputs) > 1:
        raise ModelError(f"{name}: has several outputs ({', '.join(outputs)}); name one, as in ?output={min(outputs)}")
    position = outputs.index(options.output) if options.output is not None else 0
    spec = _input_spec((shape[1], shape[2]), name, options)

    def run(images: Any) -> Any:
        results = tf.nest.flatten(model(images, training=False))
        return tf.reshape(results[position], [tf.shape(images)[0], -1])

    result = tuple(tf.nest.flatten(model(tf.zeros([1, spec.height, spec.width, 3]), training=False))[position].shape)
    if not is_vector(result):
        raise ModelError(f"{name}: its output {list(result)} is not a vector [n, d]; give another model or output")
    identity = options_identity(file_sha256(path), options)
    return ForeignModel(name, license, spec, max(result[1:]), identity, model, run)


def tensorflow_model(model: ForeignModel) -> TensorFlowModel:
    """The model as it is, on TensorFlow."""
    tf = tensorflow()
    spec = model.input_spec
    shape = tf.TensorSpec([1, spec.height, spec.width, 3], tf.float32)

    def run(images: Any) -> Any:
        return model.run(images)  # this closure keeps the model's variables alive

    return TensorFlowModel(
        name=model.name,
        input_spec=spec,
        dimension=model.dimension,
        identity=model.identity,
        license=model.license,
        function=tf.function(run, input_signature=[shape], autograph=False),
        pixel_values=pixel_values(spec),
    )


def converted(model: ForeignModel) -> tuple[ModelCard, bytes]:
    """The model converted to a float32 .tflite for one image, and its card.

    Raises ModelError where TensorFlow's converter does not take it, or where the result computes something else.
    """
    tf = tensorflow()
    spec = model.input_spec
    shape = tf.TensorSpec([1, spec.height, spec.width, 3], tf.float32, name="images")
    try:
        with stderr_without(TENSORFLOW):
            concrete = tf.function(model.run, autograph=False).get_concrete_function(shape)
            data = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model.loaded).convert()
    except Exception as error:  # the converter raises classes of its own that it does not export
        reason = first_line(error)
        raise ModelError(f"{model.name}: does not convert to LiteRT ({reason}); use --engine tensorflow") from error
    digest = hashlib.sha256(data).hexdigest()
    card = ModelCard(model.name, model.identity, "float", model.dimension, model.license, spec, digest)
    image = np.random.default_rng(0).integers(0, 100, (1, spec.height, spec.width, 3), np.uint8)
    before, after = tensorflow_model(model)(image), LiteRTModel(card, data)(image)
    # The converter leaves some variables out without an error, and LiteRT then computes with whatever is there.
    if not np.allclose(before, after, rtol=1e-2, atol=1e-2 * float(np.abs(before).max())):
        raise ModelError(f"{model.name}: its conversion to LiteRT computes something else; use --engine tensorflow")
    return card, data


def _input_spec(size: tuple[int | None, int | None], name: str, options: SourceOptions) -> InputSpec:
    if options.ranges is None:
        raise asked_range(name)
    return float_input(*input_size(size, options, name), options.ranges)


def _image_signature(function: Any, wanted: str | None) -> _Signature | None:
    """The signature, if images go in and vectors come out. wanted: the output to take, None for the default one."""
    _, inputs = function.structured_input_signature
    outputs = function.structured_outputs
    if len(inputs) != 1:
        return None
    ((input_name, image),) = inputs.items()
    output_name = wanted or ("default" if "default" in outputs else next(iter(outputs)))
    if output_name not in outputs or (wanted is None and output_name != "default" and len(outputs) > 1):
        return None
    features = outputs[output_name]
    if image.dtype.name != "float32" or image.shape.rank != 4 or image.shape[3] not in (3, None):
        return None
    if features.dtype.name != "float32" or features.shape.rank != 2 or features.shape[1] is None:
        return None
    return _Signature(function, input_name, (image.shape[1], image.shape[2]), output_name, int(features.shape[1]))


def _refuse(name: str, signatures: dict[str, Any], options: SourceOptions) -> NoReturn:
    listed = "; ".join(f"{key}: {', '.join(sorted(signatures[key].structured_outputs))}" for key in sorted(signatures))
    wanted = f"gives vectors [n, d] as {options.output}" if options.output else "gives one output with vectors [n, d]"
    raise ModelError(
        f"{name}: none of its signatures takes float images [n, height, width, 3] and {wanted} (TF Hub's image feature "
        f"vector). It has {listed or 'no signature'}; name an output with ?output=NAME, or give another model"
    )


def _folder_identity(folder: Path, spec: InputSpec, output: str | None) -> str:
    """SHA-256 over the graph, the variables, the InputSpec and the output that is asked for."""
    digest = hashlib.sha256(json.dumps(input_spec_to_json(spec), sort_keys=True).encode())
    for path in sorted([folder / GRAPH_FILE, *(folder / "variables").glob("*"), *(folder / "assets").rglob("*")]):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    if output is not None:
        digest.update(output.encode())
    return digest.hexdigest()
