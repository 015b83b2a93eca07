"""The files, folders and options that a model's name stands for, and the network that is compiled of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fvcli.errors import ModelError, UsageError
from fvcli.models import protocol, source_options
from fvcli.models.loading import EMBEDDED, load_model, short_name
from fvcli.models.mobilenet.catalog import CATALOG
from fvcli.models.mobilenet.compile import compile_float, compile_int8
from fvcli.models.mobilenet.compile_uint8 import compile_uint8
from fvcli.models.source import Source, SourceKind, find_source
from fvcli.models.source_options import SourceOptions
from fvcli.records import InputSpec
from tests.helpers.networks import plain_network, quantops_network, random_images


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "cache"))


def touched(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("a.tflite", b"", "tflite"),
        ("renamed.bin", b"\x1c\0\0\0TFL3", "tflite"),
        ("a.pb", b"", "frozen"),
        ("a.tar.gz", b"", "archive"),
        ("no-ending", b"\x1f\x8b\x08\0", "archive"),
        ("a.ckpt.index", b"", "checkpoint"),
        ("a.ckpt.data-00000-of-00001", b"", "checkpoint"),
    ],
)
def test_files_are_known_by_content_or_name(tmp_path: Path, file: str, content: bytes, kind: str) -> None:
    assert find_source(str(touched(tmp_path / file, content))).kind == kind


def test_a_checkpoint_is_known_by_its_prefix(tmp_path: Path) -> None:
    touched(tmp_path / "m.ckpt.index")
    assert find_source(str(tmp_path / "m.ckpt")).kind == "checkpoint"


def test_folders_give_the_best_that_they_hold(tmp_path: Path) -> None:
    touched(tmp_path / "f" / "m.ckpt.index")
    assert find_source(str(tmp_path / "f")).kind == "checkpoint"
    frozen = touched(tmp_path / "f" / "m_frozen.pb")
    assert find_source(str(tmp_path / "f")).path == frozen
    lite = touched(tmp_path / "f" / "m.tflite")
    assert find_source(str(tmp_path / "f")).path == lite
    touched(tmp_path / "f" / "inner" / "saved_model.pb")
    assert find_source(str(tmp_path / "f")).path == tmp_path / "f" / "inner"
    touched(tmp_path / "g" / "a.tflite")
    touched(tmp_path / "g" / "b.tflite")
    with pytest.raises(ModelError, match=r"several models \(a\.tflite, b\.tflite\)"):
        find_source(str(tmp_path / "g"))
    touched(tmp_path / "h" / "readme.txt")
    with pytest.raises(ModelError, match="holds no model"):
        find_source(str(tmp_path / "h"))


def test_what_is_said_of_the_input_stays_with_the_name(tmp_path: Path) -> None:
    path = touched(tmp_path / "a.pb")
    source = find_source(f"{path}?input-range=-1,1&image-size=224")
    assert (source.path, source.options) == (path, SourceOptions(((-1.0, 1.0),) * 3, 224))
    assert source.fingerprint() != find_source(str(path)).fingerprint()
    odd = touched(tmp_path / "what?.pb")
    assert find_source(str(odd)).path == odd
    handle = find_source("https://tfhub.dev/google/imagenet/x/1?image-size=96")
    assert (handle.handle, handle.license) == ("https://tfhub.dev/google/imagenet/x/1", "Apache-2.0")
    for bad in ("input-range=1", "input-range=a,b", "input-range=0,nan", "image-size=big", "image-size=3&color=1"):
        with pytest.raises(UsageError, match="after the"):
            find_source(f"{path}?{bad}")


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    first = find_source(str(touched(tmp_path / "a.pb", b"one"))).fingerprint()
    assert find_source(str(touched(tmp_path / "a.pb", b"two"))).fingerprint() != first
    assert find_source(str(touched(tmp_path / "a.pb", b"one"))).fingerprint() == first


def test_unknown_names_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: no such file, folder or model; `fvcli models list`"):
        load_model("nowhere")
    with pytest.raises(ModelError, match=r"notes\.txt: not a model that fvcli reads"):
        load_model(str(touched(tmp_path / "notes.txt")))


def test_a_second_run_takes_the_compiled_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = touched(tmp_path / "m.tflite", compile_int8(quantops_network()))
    first = load_model(str(path))

    def unread(_: object) -> None:
        raise AssertionError("the source was read again")

    monkeypatch.setattr("fvcli.models.source.read_source", unread)
    second = load_model(str(path))
    assert (second.identity, second.name, second.dimension) == (first.identity, str(path), 256)


def test_an_engine_that_a_model_does_not_have_is_refused_though_it_is_compiled_for_another(tmp_path: Path) -> None:
    path = touched(tmp_path / "m.tflite", compile_int8(quantops_network()))
    assert load_model(str(path)).engine == "int8"
    with pytest.raises(UsageError, match="a quantops network runs with --engine int8 or --engine tensorflow"):
        load_model(str(path), "float")


def test_an_unwritable_cache_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(touched(tmp_path / "a-file")))
    with pytest.raises(ModelError, match="set FVCLI_CACHE to another folder"):
        load_model(str(touched(tmp_path / "m.tflite", compile_int8(quantops_network()))))


def test_short_names() -> None:
    assert short_name("/a/b/mobilenet_v1_0.5_160_quant.tflite") == "mobilenet_v1_0.5_160_quant"
    assert short_name("https://tfhub.dev/google/imagenet/mobilenet_v1_100_160/quantops/feature_vector/3") == (
        "mobilenet_v1_100_160_quantops_feature_vector_3"
    )
    assert short_name("x/model.ckpt?image-size=160") == "model"
    assert short_name(EMBEDDED) == "fvcli_embedded_160", "its weights are not Google's, so neither is its name"
    assert short_name(CATALOG[0].name) == CATALOG[0].name


@pytest.mark.slow
@pytest.mark.parametrize("form", ["embedded", "tflite", "uint8", "plain"])
def test_another_image_size_is_applied_to_every_form_of_mobilenet(tmp_path: Path, form: str) -> None:
    path = tmp_path / "m.tflite"
    if form == "plain":
        path.write_bytes(compile_float(plain_network()))
    elif form == "uint8":
        path.write_bytes(compile_uint8(quantops_network()))
    else:
        path.write_bytes(compile_int8(quantops_network()))
    name = EMBEDDED if form == "embedded" else str(path)
    own, larger = load_model(name), load_model(f"{name}?image-size=192")
    assert (larger.input_spec.height, larger.input_spec.width) == (192, 192)
    assert larger.identity != own.identity
    assert larger.name == f"{name}?image-size=192"
    features = larger(random_images(2, 192))
    assert features.shape == (2, own.dimension)
    again = load_model(f"{name}?image-size=192")
    assert again(random_images(2, 192)).tobytes() == features.tobytes(), "the cached one is of that size too"
    size = own.input_spec.height
    assert load_model(f"{name}?image-size={size}").identity == own.identity


@pytest.mark.parametrize("option", ["input-range=0,1", "output=default", "mean=0.5&std=0.5"])
def test_options_that_a_mobilenet_does_not_have_are_refused(tmp_path: Path, option: str) -> None:
    path = touched(tmp_path / "m.tflite", compile_int8(quantops_network()))
    for name in (str(path), EMBEDDED):
        with pytest.raises(UsageError, match="states its own input and output; omit"):
            load_model(f"{name}?{option}")


@pytest.mark.parametrize("size", ["31", "0", "-224", "5000", "224.5"])
def test_impossible_sizes_are_refused(tmp_path: Path, size: str) -> None:
    path = touched(tmp_path / "m.tflite", compile_int8(quantops_network()))
    with pytest.raises(UsageError, match="image-size=PIXELS"):
        load_model(f"{path}?image-size={size}")


def test_mean_and_std_are_of_pixels_from_0_to_1(tmp_path: Path) -> None:
    path = touched(tmp_path / "a.onnx")
    found = find_source(f"{path}?mean=0.5,0.4,0.3&std=0.5,0.25,0.2").options.ranges
    assert found is not None
    np.testing.assert_allclose(found, [(-1, 1), (-1.6, 2.4), (-1.5, 3.5)], rtol=1e-12)
    pixels = "mean=123.7,116.3,103.5&std=58.4,57.1,57.4"
    for bad, said in (
        (pixels, "mean and std are of pixels from 0 to 1"),
        ("mean=0.5,0.5", "mean and std have one or three numbers"),
        ("std=0", "std is above 0"),
        ("mean=0.5&input-range=0,1", "after the ?, write"),
        ("std=nan", "after the ?, write"),
    ):
        with pytest.raises(UsageError, match=re.escape(f"{path}?{bad}: {said}")):
            find_source(f"{path}?{bad}")


def test_a_compiled_model_is_found_again_by_all_that_decides_what_it_computes(tmp_path: Path) -> None:
    file = touched(tmp_path / "m.tflite", b"network")
    source = Source(str(file), "tflite", file, "unknown")
    others = [
        replace(source, kind="frozen"),
        replace(source, options=SourceOptions(image_size=96)),
        replace(source, options=SourceOptions(output="features")),
        replace(source, options=SourceOptions(ranges=((0, 1),) * 3)),
        replace(source, kind="handle", handle="https://tfhub.dev/a/1"),
        replace(source, kind="handle", handle="https://tfhub.dev/a/2"),
        replace(source, path=touched(tmp_path / "n" / "m.tflite", b"Network")),
    ]
    assert len({source.fingerprint(), *(other.fingerprint() for other in others)}) == 8
    same = replace(source, name="as it is called elsewhere", license="MIT")
    moved = replace(source, path=touched(tmp_path / "o" / "m.tflite", b"network"))
    assert {same.fingerprint(), moved.fingerprint()} == {source.fingerprint()}
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        replace(source, path=tmp_path / "gone").fingerprint()


@pytest.mark.parametrize(
    ("kind", "path", "files"),
    [
        ("checkpoint", "m.ckpt", ["m.ckpt.index", "m.ckpt.data-00000-of-00001", "m.ckpt.meta"]),
        ("saved-model", "", ["saved_model.pb", "variables/variables.index", "assets/labels.txt"]),
    ],
)
def test_every_file_of_a_model_counts(tmp_path: Path, kind: SourceKind, path: str, files: list[str]) -> None:
    for name in files:
        touched(tmp_path / name)
    source = Source("m", kind, tmp_path / path, "unknown")
    found = {source.fingerprint()}
    for number, name in enumerate(files):
        touched(tmp_path / name, b"changed")
        found.add(source.fingerprint())
        assert len(found) == number + 2
    touched(tmp_path / "beside.txt")
    assert (source.fingerprint() in found) is (kind == "checkpoint"), "a SavedModel is all of its folder"


def test_a_checkpoints_name_counts_since_it_may_say_the_image_size(tmp_path: Path) -> None:
    for name in ("mobilenet_v1_1.0_128.ckpt", "mobilenet_v1_1.0_224.ckpt"):
        touched(tmp_path / f"{name}.index")
    sources = (find_source(str(path.with_suffix(""))) for path in sorted(tmp_path.glob("*.index")))
    assert len({source.fingerprint() for source in sources}) == 2


SPEC = InputSpec(4, 4, value_range=(-1.0, 1.0))


def test_pixels_become_the_numbers_of_their_range() -> None:
    values = protocol.pixel_values(SPEC)
    assert (values.shape, values.dtype) == ((256, 3), np.float32)
    assert values[[0, 51, 255]].tolist() == [[-1] * 3, [np.float32(-0.6)] * 3, [1] * 3]
    own = protocol.pixel_values(InputSpec(4, 4, channel_ranges=((0, 1), (0, 255), (-5, 5))))
    assert own[0].tolist() == [0, 0, -5]
    assert own[255].tolist() == [1, 255, 5]
    with pytest.raises(ValueError, match="no range"):
        protocol.pixel_values(InputSpec(4, 4))
    codes = protocol.pixel_codes(SPEC, 2 / 255, -1, np.dtype(np.int8))
    assert codes[[0, 128, 255], 0].tolist() == [-128, 0, 126]
    clipped = protocol.pixel_codes(SPEC, 1 / 255, 0, np.dtype(np.int8))
    assert (codes.dtype, clipped[0, 0], clipped[255, 0]) == (np.int8, -128, 127)


@pytest.mark.parametrize(
    ("shape", "vector"),
    [
        *(((1, 9), True), ((1, 1, 1, 9), True), ((1, 9, 1), True), ((1, 1, 1), True)),
        *(((1, 2, 9), False), ((1, 0), False), ((1,), False)),
    ],
)
def test_a_vector_has_one_size_that_is_not_one(shape: tuple[int, ...], vector: bool) -> None:
    assert protocol.is_vector(shape) is vector


def test_sizes_ranges_and_identities_follow_the_options_of_a_name() -> None:
    assert source_options.input_size((None, None), SourceOptions(image_size=96), "m") == (96, 96)
    assert source_options.input_size((32, 48), SourceOptions(), "m") == (32, 48)
    assert source_options.input_size((96, 96), SourceOptions(image_size=96), "m") == (96, 96)
    with pytest.raises(UsageError, match="takes images of 32 x 48 pixels only; omit image-size=96"):
        source_options.input_size((32, 48), SourceOptions(image_size=96), "m")
    for name, mark in (("m", "?"), ("m?output=x", "&")):
        with pytest.raises(ModelError, match=re.escape(f"most often {mark}image-size=224")):
            source_options.input_size((None, 32), SourceOptions(), name)
        assert f"'{name}{mark}input-range=0,1'" in str(source_options.asked_range(name))
    same = source_options.float_input(4, 5, ((0, 1),) * 3)
    assert (same.value_range, same.channel_ranges, same.height, same.width) == ((0, 1), None, 4, 5)
    assert source_options.float_input(4, 5, ((0, 1), (0, 1), (0, 2))).channel_ranges == ((0, 1), (0, 1), (0, 2))
    given = [SourceOptions(), SourceOptions(image_size=9), SourceOptions(output="x"), SourceOptions(((0, 1),) * 3)]
    identities = [source_options.options_identity("ab", options) for options in given]
    assert identities[0] == "ab"
    assert len(set(identities)) == 4
    assert all(len(identity) == 64 for identity in identities[1:])
