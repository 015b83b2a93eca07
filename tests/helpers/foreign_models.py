"""Small embedders of other makers' formats, made here: MediaPipe-style .tflite, ONNX and Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from fvcli.models.frameworks import tensorflow

SIZE = 32
DIMENSION = 6

Normalization = tuple[list[float], list[float]]
MEDIAPIPE: Normalization = ([127.5], [127.5])


def kernels(seed: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A convolution's kernel [3, 3, 3, 8], its bias [8], and a matrix [8, 6] behind it."""
    generator = np.random.default_rng(seed)
    return (
        generator.normal(0, 0.3, (3, 3, 3, 8)).astype(np.float32),
        generator.normal(0.1, 0.1, 8).astype(np.float32),
        generator.normal(0, 1, (8, DIMENSION)).astype(np.float32),
    )


def embed(images: Any) -> Any:
    """float32 [n, h, w, 3] -> [n, 6], in TensorFlow."""
    tf = tensorflow()
    kernel, bias, matrix = kernels()
    maps = tf.nn.relu6(tf.nn.conv2d(images, kernel, 2, "SAME") + bias)
    return tf.matmul(tf.reduce_mean(maps, axis=[1, 2]), matrix)


def write_tflite(
    path: Path,
    kind: Literal["float32", "int8", "uint8"] = "float32",
    normalization: Normalization | None = MEDIAPIPE,
    *,
    size: int | None = SIZE,
    outputs: int = 1,
) -> Path:
    """A file that TensorFlow's converter made, with the metadata that MediaPipe's embedders carry."""
    tf = tensorflow()

    def run(images: Any) -> Any:
        features = embed(images)
        return {"embedding": features} if outputs == 1 else {"embedding": features, "other": features * 2.0}

    shape = tf.TensorSpec([1, size, size, 3], tf.float32, name="image")
    function = tf.function(run, autograph=False).get_concrete_function(shape)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    if kind != "float32":
        generator = np.random.default_rng(2)
        calibration = [generator.uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32) for _ in range(8)]
        calibration[0][...], calibration[1][...] = -1, 1
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    data = converter.convert()
    path.write_bytes(data if normalization is None else with_metadata(data, metadata(*normalization)))
    return path


def with_metadata(data: bytes, values: bytes) -> bytes:
    """The .tflite with one more metadata entry."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(values, np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def metadata(mean: list[float], std: list[float], output: str = "feature") -> bytes:
    """A ModelMetadata flatbuffer: a normalized image in, a named output out."""
    builder = flatbuffers.Builder(256)

    def floats(values: list[float]) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return int(builder.EndVector())

    def offsets(values: list[int]) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependUOffsetTRelative(value)
        return int(builder.EndVector())

    def table(fields: int, **values: int) -> int:
        builder.StartObject(fields)
        for slot, value in values.items():
            builder.PrependUOffsetTRelativeSlot(int(slot[1:]), value, 0)
        return int(builder.EndObject())

    options = table(2, _0=floats(mean), _1=floats(std))
    builder.StartObject(2)
    builder.PrependUint8Slot(0, 1, 0)  # NormalizationOptions
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = builder.EndObject()
    image = table(7, _0=builder.CreateString("image"), _4=offsets([unit]))
    feature = table(7, _0=builder.CreateString(output))
    graph = table(7, _2=offsets([image]), _3=offsets([feature]))
    root = table(8, _0=builder.CreateString("embedder"), _3=offsets([graph]))
    builder.Finish(root, b"M001")
    return bytes(builder.Output())


def write_onnx(
    path: Path,
    layout: Literal["NCHW", "NHWC"] = "NCHW",
    *,
    size: int | None = SIZE,
    outputs: int = 1,
    uint8: bool = False,
) -> Path:
    """A convolution, ReLU, mean and matrix as ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kernel, bias, matrix = kernels()
    side = size or "side"
    shape = ["n", 3, side, side] if layout == "NCHW" else ["n", side, side, 3]
    nodes, images = [], "images"
    if uint8:
        nodes.append(helper.make_node("Cast", [images], ["floats"], to=TensorProto.FLOAT))
        images = "floats"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [images], ["turned"], perm=[0, 3, 1, 2]))
        images = "turned"
    nodes += [
        helper.make_node("Conv", [images, "kernel", "bias"], ["maps"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["embedding"]),
    ]
    results = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])]
    if outputs == 2:
        results.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", 8, 1, 1]))
    kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
    constants = {"kernel": np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), "bias": bias, "matrix": matrix}
    graph = helper.make_graph(
        nodes,
        "embedder",
        [helper.make_tensor_value_info("images", kind, shape)],
        results,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def write_keras(path: Path, *, size: int | None = SIZE) -> Path:
    """The network as a Keras model: .keras or .h5 by the path's ending."""
    tf = tensorflow()
    kernel, bias, matrix = kernels()
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            tf.keras.Input((size, size, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(DIMENSION, use_bias=False),
        ]
    )
    model.layers[0].set_weights([kernel, bias])
    model.layers[2].set_weights([matrix])
    model.save(str(path))
    return path
