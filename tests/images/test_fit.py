"""Images of any shape into the slot of a batch; the kernels; reading, decoding and fitting as one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fvcli.errors import ImageError
from fvcli.images.decode import decode
from fvcli.images.fit import Fitter, tf1_bilinear
from fvcli.images.loader import ImageLoader
from fvcli.records import Fit, ImageFile, ImageInfo, ImageRef, InputSpec, Preprocessing, Resize, UInt8Array
from fvcli.sources.discover import Sources, discover
from fvcli.sources.read import read

SPEC = InputSpec(160, 160)
RESIZES: tuple[Resize, ...] = ("area", "bilinear", "bicubic", "lanczos", "tf1-bilinear")


def as_png(pixels: UInt8Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def fitted(data: bytes, preprocessing: Preprocessing, spec: InputSpec = SPEC) -> UInt8Array:
    out = np.full((spec.height, spec.width, 3), 77, np.uint8)
    ImageLoader(spec, preprocessing).prepare(ImageFile(data, "", len(data), 0), out)
    return out


def bands(height: int, width: int) -> UInt8Array:
    """Left half red, right half blue; a green frame one eighth of the size wide."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    for edge in (np.s_[: height // 8], np.s_[-(height // 8) :], np.s_[:, : width // 8], np.s_[:, -(width // 8) :]):
        pixels[edge] = (0, 255, 0)
    return pixels


@pytest.mark.parametrize("resize", RESIZES)
def test_squash_keeps_the_whole_image(resize: Resize) -> None:
    out = fitted(as_png(bands(320, 640)), Preprocessing(fit="squash", resize=resize))
    red, green, blue = [255, 0, 0], [0, 255, 0], [0, 0, 255]
    assert [out[y, x].tolist() for y, x in ((5, 80), (80, 5), (80, 40), (80, 120))] == [green, green, red, blue]


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("shape", [(320, 640), (640, 320)])
def test_crop_takes_the_centre_square(resize: Resize, shape: tuple[int, int]) -> None:
    height, width = shape
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 2 - 80 : height // 2 + 80, width // 2 - 80 : width // 2 + 80] = 200
    out = fitted(as_png(pixels), Preprocessing(fit="crop", crop_fraction=0.5, resize=resize))
    assert (out[2:-2, 2:-2] == 200).all()
    out = fitted(as_png(pixels), Preprocessing(fit="crop", crop_fraction=1.0, resize=resize))
    assert (out[:36] == 0).all()
    assert (out[:, :36] == 0).all()
    assert (out[44:116, 44:116] == 200).all()


@pytest.mark.parametrize("resize", RESIZES)
def test_pad_keeps_the_aspect_ratio_on_gray(resize: Resize) -> None:
    out = fitted(as_png(np.full((100, 200, 3), 9, np.uint8)), Preprocessing(fit="pad", resize=resize))
    assert (out[:40] == 128).all()
    assert (out[120:] == 128).all()
    assert (out[40:120] == 9).all()
    thin = fitted(as_png(np.full((1000, 1, 3), 9, np.uint8)), Preprocessing(fit="pad", resize=resize))
    assert (thin == 9).any(axis=(1, 2)).all()


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_a_slot_need_not_be_square(fit: Fit) -> None:
    out = fitted(as_png(bands(200, 400)), Preprocessing(fit=fit, crop_fraction=0.5), InputSpec(100, 200))
    assert out.shape == (100, 200, 3)
    if fit == "crop":
        assert (out[:, :98] == (255, 0, 0)).all()
        assert (out[:, 102:] == (0, 0, 255)).all()
    else:
        assert (out[:10] == (0, 255, 0)).all()


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_scaled_decoding_shows_the_same_picture(resize: Resize, fit: Fit) -> None:
    y, x = np.mgrid[0:805, 0:1203]
    smooth = np.stack([x / 1203 * 255, y / 805 * 255, 127 + 100 * np.sin(x / 90 + y / 70)], axis=-1)
    stream = io.BytesIO()
    Image.fromarray(smooth.astype(np.uint8)).save(stream, "JPEG", quality=95)
    fast = fitted(stream.getvalue(), Preprocessing("fast", fit, resize=resize)).astype(int)
    exact = fitted(stream.getvalue(), Preprocessing("exact", fit, resize=resize)).astype(int)
    difference = np.abs(fast - exact)[4:-4, 4:-4]
    assert difference.mean() < 1.5
    assert not np.array_equal(fast, exact)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(4032, 3024), (500, 375), (333, 1001), (161, 2000)])
def test_scaled_decoding_never_falls_below_the_slot(fit: Fit, size: tuple[int, int]) -> None:
    fitter = Fitter(SPEC, Preprocessing(fit=fit))
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, "JPEG")
    with decode(stream.getvalue(), fitter.needed, exact=False) as image:
        height, width = image.pixels.shape[:2]
        if fit == "squash":
            assert width >= 160
            assert height >= 160
        elif fit == "crop":
            assert min(width, height) * 0.875 >= 160 or (width, height) == size
        else:
            assert max(width, height) >= 160


def test_gray_and_color_of_the_same_picture_agree() -> None:
    gray = np.random.default_rng(3).integers(0, 256, (211, 197), dtype=np.uint8)
    color = np.repeat(gray[:, :, None], 3, axis=2)
    for resize in RESIZES:
        preprocessing = Preprocessing(resize=resize)
        assert np.array_equal(fitted(as_png(gray), preprocessing), fitted(as_png(color), preprocessing))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (160, 160), (40_000, 2)])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("resize", RESIZES)
def test_any_size_fits(size: tuple[int, int], fit: Fit, resize: Resize) -> None:
    out = fitted(as_png(np.full((*size, 3), 50, np.uint8)), Preprocessing(fit=fit, resize=resize))
    assert set(np.unique(out)) <= {50, 128}
    assert 50 in out


@pytest.mark.slow
def test_tf1_bilinear_is_tensorflows(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    shapes = [(375, 500), (160, 160), (100, 90), (161, 159), (3024, 403), (1, 1), (2, 333), (333, 2)]
    rng = np.random.default_rng(5)
    images = {
        f"image{number}": rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for number, shape in enumerate(shapes)
    }
    np.savez(tmp_path / "in.npz", **images)
    program = """
import sys, numpy as np, tensorflow as tf
images = np.load(sys.argv[1])
resize = tf.compat.v1.image.resize_bilinear
np.savez(sys.argv[2], **{k: np.stack([resize(images[k][None], [160, 160])[0],
    np.resize(resize(images[k][None], [128, 224])[0], (160, 160, 3))]) for k in images.files})
"""
    arguments = [sys.executable, "-c", program, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run(arguments, check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"})
    with np.load(tmp_path / "out.npz") as expected:
        for name, pixels in images.items():
            np.testing.assert_allclose(tf1_bilinear(pixels, 160, 160), expected[name][0], rtol=0, atol=1e-4)
            other = np.resize(tf1_bilinear(pixels, 128, 224), (160, 160, 3))
            np.testing.assert_allclose(other, expected[name][1], rtol=0, atol=1e-4)


def test_loading_from_a_folder_says_what_was_found(sample_images: Path) -> None:
    loader = ImageLoader(SPEC, Preprocessing())
    out = np.empty((160, 160, 3), np.uint8)
    failures = []
    infos: dict[str, ImageInfo] = {}
    for ref in discover(Sources((str(sample_images),))):
        try:
            infos[ref.path] = loader.load(ref, out)
        except ImageError as error:
            failures.append((ref.path, error.stage, error.kind))
    assert failures == [("broken-on-purpose.jpg", "decode", "Truncated")]
    assert len(infos) == 23
    assert {info.format for info in infos.values()} == {"JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"}
    rotated = infos["cat-exif-6.jpg"]
    assert (rotated.width, rotated.height, rotated.size_bytes) == (216, 144, 7984)


@pytest.mark.parametrize("preprocessing", [Preprocessing(), Preprocessing("exact", "crop", resize="tf1-bilinear")])
def test_the_same_pixels_from_any_thread(sample_images: Path, preprocessing: Preprocessing) -> None:
    refs = list(discover(Sources((str(sample_images),), exclude=("broken*",))))
    loader = ImageLoader(SPEC, preprocessing)

    def load_all() -> UInt8Array:
        batch = np.zeros((len(refs), 160, 160, 3), np.uint8)
        for ref, slot in zip(refs, batch, strict=True):
            loader.load(ref, slot)
        return batch

    alone = load_all()
    results: list[UInt8Array] = []
    threads = [threading.Thread(target=lambda: results.append(load_all())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert all(np.array_equal(alone, result) for result in results)


def ref_to(path: Path) -> ImageRef:
    return ImageRef("", str(path))


@pytest.mark.slow
def test_reading_gives_bytes_hash_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    os.utime(tmp_path / "x", ns=(0, 123_456_789))
    file = read(ref_to(tmp_path / "x"))
    assert file == ImageFile(b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3, 123_456_789)
    large = np.random.default_rng(0).bytes(40_000_001)
    (tmp_path / "large").write_bytes(large)
    assert read(ref_to(tmp_path / "large")).data == large


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(tmp_path / "huge.jpg", "wb") as stream:
        stream.truncate(5 * 1024**3)
    cases = {
        "empty.jpg": ("Empty", "the file is empty"),
        "pipe.jpg": ("NotRegular", "a pipe, socket or device, not a file"),
        "missing.jpg": ("NotFound", "does not exist"),
        "huge.jpg": ("TooLarge", "5,368,709,120 bytes"),
        ".": ("NotRegular", "a folder, not a file"),
        "empty.jpg/x": ("NotFound", "not a folder"),
        "nul\0.jpg": ("NotFound", "name"),
    }
    for name, (kind, message) in cases.items():
        with pytest.raises(ImageError, match=message) as caught:
            read(ImageRef("", f"{tmp_path}/{name}"))
        assert (caught.value.stage, caught.value.kind) == ("read", kind)
    with pytest.raises(ImageError, match="a pipe, socket or device, not a file"):
        read(ImageRef("", "/dev/zero"))


@pytest.mark.slow
def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "growing.jpg"
    path.write_bytes(bytes(64 * 1024**2))
    stop = threading.Event()

    def grow() -> None:
        with open(path, "ab", buffering=0) as stream:
            while not stop.is_set():
                stream.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        while path.stat().st_size == 64 * 1024**2:
            time.sleep(0.001)
        with pytest.raises(ImageError, match="changed while"):
            read(ref_to(path))
    finally:
        stop.set()
        writer.join()
