"""The four forms out, read back by fvcli and by the programs they are for."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from fvcli.errors import ModelError, UsageError
from fvcli.images.loader import ImageLoader
from fvcli.models.frameworks import tensorflow, tensorflow_hub
from fvcli.models.loading import load_model, load_network
from fvcli.models.mobilenet.compile_uint8 import compile_uint8
from fvcli.models.mobilenet.export import EXPORT_FORMS, export_model
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.models.mobilenet.tflite_reader import parse_tflite, read_tflite
from fvcli.records import ImageRef, InputSpec, Preprocessing
from tests.helpers.networks import GOOGLE_FILES, litert_rows, plain_network, quantops_network, random_images
from tests.helpers.servers import serve

pytestmark = pytest.mark.slow


@dataclass
class Exported:
    network: MobileNetV1
    paths: dict[str, Path]
    images: np.ndarray
    floats: np.ndarray
    """Images as the Hub takes them: float32 in [0, 1]."""
    features: np.ndarray
    """The tensorflow engine's."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    folder = tmp_path_factory.mktemp("exported")
    network, images = quantops_network(), random_images(3, 128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FVCLI_CACHE", str(folder / "cache"))
        patch.setenv("TFHUB_CACHE_DIR", str(folder / "hub"))
        paths = {form: export_model(network, f"m-{form}", form, folder) for form in EXPORT_FORMS}
        features = load_model(str(paths["tflite"]), "tensorflow")(images)
        yield Exported(network, paths, images, (images / 255).astype(np.float32), features)


@pytest.mark.parametrize("form", EXPORT_FORMS)
def test_each_form_reads_back_to_the_same_identity(exported: Exported, form: str) -> None:
    network = load_network(str(exported.paths[form]))
    assert network.identity == exported.network.identity
    assert load_model(str(exported.paths[form])).engine == "int8"


@pytest.mark.parametrize("form", ["hub-module", "saved-model"])
def test_hub_load_gives_the_engines_features_under_both_signatures(exported: Exported, form: str) -> None:
    loaded = tensorflow_hub().load(str(exported.paths[form]))
    assert set(loaded.signatures) == {"default", "image_feature_vector"}
    check_signatures(loaded, exported)


def check_signatures(loaded: Any, exported: Exported) -> None:
    images = tensorflow().constant(exported.floats)
    for signature in ("default", "image_feature_vector"):
        features = loaded.signatures[signature](images=images)
        assert list(features) == ["default"]
        assert np.abs(features["default"].numpy() - exported.features).max() <= 1e-5


def photographs_of(folder: Path, spec: InputSpec, count: int) -> np.ndarray:
    loader, images = ImageLoader(spec, Preprocessing()), []
    for path in sorted(path for path in folder.rglob("*") if path.is_file())[:count]:
        images.append(np.empty((spec.height, spec.width, 3), np.uint8))
        loader.load(ImageRef("", str(path)), images[-1])
    return np.stack(images)


def test_an_exported_tflite_gives_fvclis_vectors_for_raw_pixels(tmp_path: Path, photographs: Path) -> None:
    """The embedded model's pixel table is no identity: without it in the file, half of the pixels are a code off."""
    model = load_model()
    assert model.input_spec.pixel_table != tuple(range(256))
    path = export_model(load_network("embedded"), "e", "tflite", tmp_path)
    images = photographs_of(photographs, model.input_spec, 50)
    images = np.concatenate([images, np.arange(76800, dtype=np.uint8).reshape(1, 160, 160, 3)])
    assert litert_rows(path, images).tobytes() == model(images).tobytes()


@pytest.mark.parametrize("name", GOOGLE_FILES)
def test_exports_of_googles_files_give_fvclis_vectors_for_raw_pixels(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / "models" / f"{name}.tflite"
    model = load_model(str(source))
    path = export_model(read_tflite(source), "e", "tflite", tmp_path)
    images = photographs_of(shared / "data" / "photos", model.input_spec, 12)
    assert litert_rows(path, images).tobytes() == model(images).tobytes()


def test_keras_layers_take_the_saved_model(exported: Exported) -> None:
    hub, path = tensorflow_hub(), str(exported.paths["saved-model"])
    direct = hub.KerasLayer(path)(tensorflow().constant(exported.floats)).numpy()
    assert np.abs(direct - exported.features).max() <= 1e-5
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([hub.KerasLayer(path, input_shape=(128, 128, 3)), tf_keras.layers.Dense(2)])
    assert model.predict(exported.floats, verbose=0).shape == (3, 2)
    first = tf_keras.Sequential([model.layers[0]]).predict(exported.floats, verbose=0)
    assert np.abs(first - exported.features).max() <= 1e-5


def test_a_handle_is_resolved_as_the_hub_answers(exported: Exported) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(exported.paths["hub-module"], arcname=".")
    path = "/google/imagenet/mobilenet_v1_025_128/quantops/feature_vector/3"
    with serve({f"{path}?tf-hub-format=compressed": buffer.getvalue()}) as site:
        handle = site.url + path
        model = load_model(handle)
        assert model.identity == exported.network.identity
        assert (model.engine, model.dimension) == ("int8", 256)
        check_signatures(tensorflow_hub().load(handle), exported)
        site.files.clear()
        assert load_model(handle).identity == model.identity, "a second run needs neither server nor TensorFlow"
        with pytest.raises(ModelError, match="the server answered 404"):
            load_model(f"{site.url}/nobody/nothing/1")
    with pytest.raises(ModelError, match=r"cannot be reached .*set HTTPS_PROXY; offline"):
        load_model("http://127.0.0.1:9/google/x/1")


def test_a_hub_that_sends_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("FVCLI_CACHE", str(cache))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    escapee = f"escaped-{uuid.uuid4().hex}"  # a name that nobody else left in the folders above the cache

    def archive(name: str) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"hello"))
        return buffer.getvalue()

    answers = {
        "/evil/1": archive(f"../../{escapee}"),
        "/page/1": b"<html>please log in</html>",
        "/empty/1": archive("hello.txt"),
    }
    with serve({f"{path}?tf-hub-format=compressed": data for path, data in answers.items()}) as site:
        for path in answers:
            with pytest.raises(ModelError, match=f"{path}: "):
                load_model(site.url + path)
    assert not any((folder / escapee).exists() for folder in (cache, *cache.parents, *cache.rglob("*")))


def test_an_archive_of_a_module_is_a_model(exported: Exported, tmp_path: Path) -> None:
    archive = tmp_path / "module.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(exported.paths["hub-module"], arcname="wrapped")
    assert load_model(str(archive)).identity == exported.network.identity


@pytest.mark.parametrize("form", ["hub-module", "saved-model"])
def test_damaged_folders_are_refused(exported: Exported, form: str, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "changed"
    shutil.copytree(exported.paths[form], folder)
    data = folder / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(ModelError, match=r"changed: (damaged: its numbers|its variables cannot be read)"):
        load_network(str(folder))
    (folder / "variables" / "variables.index").unlink()
    with pytest.raises(ModelError, match=r"changed: its variables cannot be read"):
        load_network(str(folder))


def test_any_image_feature_vector_runs_as_it_is(exported: Exported, tmp_path: Path) -> None:
    """A SavedModel that fvcli knows nothing of: three color means out of images of any size."""
    tf = tensorflow()
    module = tf.Module()
    module.gain = tf.Variable([1.0, 2.0, 4.0])
    shape = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")

    def run(images: Any) -> Any:
        return {"default": tf.reduce_mean(images, axis=[1, 2]) * module.gain}

    path = str(tmp_path / "means")
    tf.saved_model.save(module, path, signatures={"image_feature_vector": tf.function(run, input_signature=[shape])})
    with pytest.raises(ModelError, match=r"--model '.*means\?input-range=0,1'"):
        load_model(path)
    with pytest.raises(ModelError, match="&image-size=224"):
        load_model(f"{path}?input-range=0,1")
    with pytest.raises(UsageError, match="input-range=LOW,HIGH"):
        load_model(f"{path}?input-range=1,0")
    with pytest.raises(UsageError, match="runs with --engine tensorflow or float; int8 is for other models"):
        load_model(f"{path}?input-range=0,1&image-size=32", "int8")
    images = random_images(4, 32)
    means = images.mean(axis=(1, 2)) / 255
    for engine in ("tensorflow", "float"):
        model = load_model(f"{path}?input-range=0,1&image-size=32", engine)
        assert (model.engine, model.dimension, model.input_spec.height) == (engine, 3, 32)
        np.testing.assert_allclose(model(images), means * [1, 2, 4], rtol=1e-5)
        other = load_model(f"{path}?input-range=-1,1&image-size=32", engine)
        np.testing.assert_allclose(other(images), (means * 2 - 1) * [1, 2, 4], atol=1e-5)
        assert other.identity != model.identity
    assert load_model(f"{path}?input-range=0,1&image-size=32").engine == "tensorflow"


def test_another_signature_is_refused(exported: Exported, tmp_path: Path) -> None:
    tf = tensorflow()
    module = tf.Module()
    shape = tf.TensorSpec([None], tf.string)
    function = tf.function(lambda text: {"length": tf.strings.length(text)}, input_signature=[shape])
    tf.saved_model.save(module, str(tmp_path / "text"), signatures={"default": function})
    with pytest.raises(ModelError, match=r"text: none of its signatures takes float images.*It has default: length"):
        load_model(str(tmp_path / "text"))


@pytest.mark.parametrize("name", GOOGLE_FILES)
def test_the_classic_form_computes_what_googles_file_does(shared: Path, name: str) -> None:
    path = shared / "models" / f"{name}.tflite"
    images = random_images(4, GOOGLE_FILES[name][1])
    network = read_tflite(path)
    data = compile_uint8(network)
    assert parse_tflite(data).identity == network.identity
    np.testing.assert_array_equal(outputs(data, images), outputs(path.read_bytes(), images))


def outputs(data: bytes, images: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    found = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel().copy())
    assert np.stack(found).any()
    return np.stack(found)


def test_plain_networks_have_float_forms_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "cache"))
    network = plain_network()
    with pytest.raises(UsageError, match="--as tflite"):
        export_model(network, "plain", "tflite-uint8", tmp_path)
    path = export_model(network, "plain", "tflite", tmp_path)
    assert load_network(str(path)).identity == network.identity
    module = export_model(network, "module", "hub-module", tmp_path)
    assert load_network(str(module)).identity == network.identity
    images = random_images(2, 128)
    np.testing.assert_allclose(load_model(str(path))(images), load_model(str(module), "tensorflow")(images), atol=1e-4)
    with pytest.raises(UsageError, match="--engine float"):
        load_model(str(path), "int8")


def test_nothing_is_overwritten_or_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = plain_network()
    path = export_model(network, "plain", "tflite", tmp_path)
    with pytest.raises(UsageError, match=r"plain\.tflite exists"):
        export_model(network, "plain", "tflite", tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ModelError, match="No space left on device"):
        export_model(network, "other", "tflite", tmp_path)
    assert list(tmp_path.iterdir()) == [path]
