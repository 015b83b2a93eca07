"""Real encoded files of every kind, whole, cut and hostile, through the decoder."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import GifImagePlugin, Image

from fvcli.errors import ImageError
from fvcli.images.decode import decode
from fvcli.images.fit import scale
from fvcli.images.memory import Budget, DecodedImage, Limits
from fvcli.records import UInt8Array
from tests.helpers.samples import saved

ANY_SIZE = (1, 1)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def whole(data: bytes) -> UInt8Array:
    with decode(data, ANY_SIZE, exact=True) as image:
        return rgb(image)


def rgb(image: DecodedImage) -> UInt8Array:
    """uint8 [H, W, 3], of gray images too."""
    return image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[:, :, None], 3, axis=2)


def size_of(image: DecodedImage) -> tuple[int, int]:
    """(width, height) as decoded."""
    return image.pixels.shape[1], image.pixels.shape[0]


def scene(width: int = 120, height: int = 80) -> Image.Image:
    """A smooth picture without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 / width, y * 255 / height, 127 + 120 * np.sin(x / 17 + y / 31)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def assert_close(first: UInt8Array, second: object, tolerance: float) -> None:
    difference = np.abs(first.astype(float) - np.asarray(second, dtype=float))
    assert first.shape == np.shape(second)
    assert difference.mean() <= tolerance, difference.mean()


# --- every format and mode -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 2),
        ("JPEG", {"quality": 95, "progressive": True}, 2),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 3),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "jpeg"}, 4),
        ("AVIF", {"quality": 95}, 3),
        ("GIF", {}, 6),
    ],
)
def test_each_format_gives_its_pixels(format: str, options: dict[str, object], tolerance: float) -> None:
    with decode(encoded(scene(), format, **options), ANY_SIZE, exact=True) as image:
        assert (image.format, image.width, image.height) == (format, 120, 80)
        assert_close(rgb(image), scene(), tolerance)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_gives_the_upright_image(format: str, orientation: int) -> None:
    # How each orientation is stored, by the definition of where row 0 and column 0 are (CIPA DC-008).
    upright = np.asarray(scene())
    store: dict[int, Callable[[UInt8Array], UInt8Array]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a[:, ::-1].transpose(1, 0, 2),  # row 0 is the right side, column 0 the top
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a[::-1].transpose(1, 0, 2),  # row 0 is the left side, column 0 the bottom
    }
    stored = store[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 98} if format in ("JPEG", "AVIF") else {}
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif, **options)
    with decode(data, ANY_SIZE, exact=True) as image:
        assert (image.width, image.height) == (120, 80)
        assert_close(rgb(image), upright, 0 if format in ("PNG", "WEBP", "TIFF") else 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_and_dct_scaling_together(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(1203, 805), "JPEG", quality=95, exif=exif)
    covering = (270, 180) if orientation < 5 else (180, 270)
    with decode(data, covering, exact=False) as fast, decode(data, ANY_SIZE, exact=True) as exact:
        assert fast.pixels.shape[1] < exact.pixels.shape[1]
        assert (fast.width, fast.height) == (exact.width, exact.height)
        for scaled, full in zip(fast.region, exact.region, strict=True):
            assert scaled == pytest.approx(full / 4, abs=1)
        small = np.empty((2, 60, 60, 3), np.uint8)
        for image, out in zip((fast, exact), small, strict=True):
            scale(image.pixels, image.region, "bilinear", out)
    assert_close(small[0], small[1], 1)


def test_a_damaged_exif_block_costs_no_image() -> None:
    data = encoded(scene(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert_close(whole(data), scene(), 6)


def test_gray_palette_and_bilevel() -> None:
    gray = scene().convert("L")
    spread = np.repeat(np.asarray(gray)[:, :, None], 3, axis=2)
    assert_close(whole(encoded(gray, "PNG")), spread, 0)
    assert_close(whole(encoded(gray, "JPEG", quality=95)), spread, 2)
    palette = scene().quantize(32)
    assert_close(whole(encoded(palette, "PNG")), palette.convert("RGB"), 0)
    bilevel = gray.point(lambda value: 255 * (value > 99)).convert("1")
    expected = np.repeat(np.asarray(bilevel.convert("L"))[:, :, None], 3, axis=2)
    for format, options in (("PNG", {}), ("TIFF", {"compression": "group4"}), ("BMP", {})):
        assert_close(whole(encoded(bilevel, format, **options)), expected, 0)


def test_cmyk_and_ycck(sample_images: Path) -> None:
    coffee = Image.open(sample_images / "coffee.jpg").resize((216, 144))
    cat = Image.open(sample_images / "cat.jpg").resize((216, 144))
    assert_close(whole((sample_images / "coffee-cmyk.jpg").read_bytes()), coffee, 5)
    assert_close(whole((sample_images / "cat-ycck.jpg").read_bytes()), cat, 5)
    assert_close(whole(encoded(scene().convert("CMYK"), "TIFF")), scene(), 1)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    expected = np.repeat(np.floor(values / 257 + 0.5)[:, :, None], 3, axis=2)
    for format in ("PNG", "TIFF"):
        assert_close(whole(encoded(Image.fromarray(values), format)), expected, 0)


def test_sixteen_bit_color_is_scaled() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png(30, 20, 16, 2, zlib.compress(rows))
    assert np.abs(whole(data) - values / 257).max() <= 1


def test_sixteen_bit_transparency_is_white() -> None:
    values = np.array([[7, 7], [65535, 257 * 9]], ">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    data = png(2, 2, 16, 0, zlib.compress(rows), (b"tRNS", struct.pack(">H", 7)))
    assert whole(data)[:, :, 0].tolist() == [[255, 255], [255, 9]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 255.0], [0, 100, 255]),
        ([0.0, 32896.0, 65535.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([1000.0, 101000.0, 201000.0], [1, 128, 255]),
        ([0.0, float("nan"), 1.0], [0, 0, 255]),
        ([0.5, float("inf"), float("-inf")], [128, 255, 0]),
        ([float("nan"), float("nan"), float("nan")], [0, 0, 0]),
    ],
)
def test_floats_are_scaled_by_what_they_hold(values: list[float], expected: list[int]) -> None:
    data = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert whole(data)[0, :, 0].tolist() == expected


def test_signaling_nans_are_black_and_quiet(recwarn: pytest.WarningsRecorder) -> None:
    data = encoded(Image.fromarray(np.array([[0.0, 1.0, 0.5]], np.float32)), "TIFF")
    signaling = data.replace(struct.pack("<f", 0.5), struct.pack("<I", 0x7F800001))
    assert whole(signaling)[0, :, 0].tolist() == [0, 255, 0]
    assert not recwarn.list


def test_wide_integers_are_scaled_by_what_they_hold() -> None:
    for values, expected in (
        ([0, 128, 255], [0, 128, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([-5, 0, 5], [0, 128, 255]),
    ):
        data = encoded(Image.fromarray(np.array([values], np.int32)), "TIFF")
        assert whole(data)[0, :, 0].tolist() == expected


def test_white_is_zero_is_inverted() -> None:
    data = bytearray(encoded(Image.fromarray(np.array([[0, 257 * 55, 65535]], np.uint16)), "TIFF"))
    entry = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    at = data.index(entry)
    data[at + 8] = 0  # PhotometricInterpretation: WhiteIsZero
    assert whole(bytes(data))[0, :, 0].tolist() == [255, 200, 0]


def test_transparency_is_laid_over_white() -> None:
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 120).astype(np.uint8), (80, 1)))
    layered = scene().convert("RGBA")
    layered.putalpha(alpha)
    share = np.asarray(alpha)[:, :, None] / 255
    expected = np.asarray(scene()) * share + 255 * (1 - share)
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert_close(whole(encoded(layered, format, **options)), expected, 0.6)
    assert_close(whole(encoded(layered, "AVIF", quality=95)), expected, 3)
    gray = scene().convert("L").convert("LA")
    gray.putalpha(alpha)
    expected = np.asarray(scene().convert("L"))[:, :, None] * share + 255 * (1 - share)
    assert_close(whole(encoded(gray, "PNG")), np.repeat(expected, 3, axis=2), 0.6)


def test_transparent_palette_entries_and_colors_are_white() -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.putdata([0, 1, 2])
    white, first, third = [255, 255, 255], [10, 20, 30], [70, 80, 90]
    assert whole(encoded(palette, "PNG", transparency=1))[0].tolist() == [first, white, third]
    assert whole(encoded(palette, "GIF", transparency=1))[0].tolist() == [first, white, third]
    assert whole(encoded(palette, "PNG", transparency=bytes([255, 0, 128])))[0, :2].tolist() == [first, white]
    plain = Image.fromarray(np.array([[first, [40, 50, 60]]], np.uint8))
    assert whole(encoded(plain, "PNG", transparency=(40, 50, 60)))[0].tolist() == [first, white]
    gray = Image.fromarray(np.array([[5, 6]], np.uint8))
    assert whole(encoded(gray, "PNG", transparency=6))[0, :, 0].tolist() == [5, 255]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation_counts(format: str) -> None:
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "lime", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert_close(whole(data), frames[0], 3)


def test_a_gif_of_very_many_frames_is_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    second = data.index(b"\x21\xf9", data.index(b"\x2c"))
    many = data[:second] + data[second:-1] * 1000 + b";"
    with Image.open(io.BytesIO(many)) as opened:
        assert opened.n_frames == 1001
    sought: list[int] = []
    seek = GifImagePlugin.GifImageFile._seek

    def counted(picture: GifImagePlugin.GifImageFile, frame: int, *more: bool) -> None:
        sought.append(frame)
        seek(picture, frame, *more)

    monkeypatch.setattr(GifImagePlugin.GifImageFile, "_seek", counted)
    assert whole(many).max() == 0
    assert sought == [0]


# --- DCT scaling -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "target", "scaled"),
    [
        ((500, 375), (160, 160), (250, 188)),
        ((4032, 3024), (160, 160), (504, 378)),
        ((1279, 1279), (160, 160), (320, 320)),
        ((1280, 1280), (160, 160), (160, 160)),
        ((319, 500), (160, 160), (319, 500)),
        ((320, 500), (160, 160), (160, 250)),
        ((100, 50), (160, 160), (100, 50)),
    ],
)
def test_the_smallest_scale_that_covers_the_target(
    size: tuple[int, int], target: tuple[int, int], scaled: tuple[int, int]
) -> None:
    data = encoded(scene(*size), "JPEG")
    with decode(data, target, exact=False) as image:
        assert size_of(image) == scaled
        assert (image.width, image.height) == size
    with decode(data, target, exact=True) as image:
        assert size_of(image) == size


# --- cut, broken and hostile files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {}),
    ],
)
def test_a_cut_file_is_a_failure_or_the_whole_picture(format: str, options: dict[str, object]) -> None:
    data = encoded(scene(500, 375), format, **options)
    picture = whole(data)
    failed = 0
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        cut = data[: int(len(data) * share)]
        for exact in (True, False):
            try:
                with decode(cut, (160, 160), exact=exact) as image:
                    assert np.array_equal(rgb(image), picture)
            except ImageError:
                failed += 1
    assert failed >= 8


@pytest.mark.parametrize("exact", [True, False])
def test_a_jpeg_filled_up_with_zeros_is_no_gray_stripe(exact: bool) -> None:
    data = encoded(scene(500, 375), "JPEG")
    for share in (0.4, 0.8):
        kept = int(len(data) * share)
        with pytest.raises(ImageError, match="ends in the middle"):
            decode(data[:kept] + bytes(len(data) - kept), (160, 160), exact=exact)


def png(width: int, height: int, depth: int, color: int, pixels: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG put together chunk by chunk (ISO 15948, section 5)."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", pixels), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def bombs() -> dict[str, bytes]:
    huge_jpeg = bytearray(encoded(scene(16, 16), "JPEG"))
    at = huge_jpeg.index(b"\xff\xc0")
    huge_jpeg[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    huge_tiff = struct.pack("<2sHIH", b"II", 42, 8, 4)
    for tag, value in ((256, 2_000_000_000), (257, 2_000_000_000), (262, 1), (273, 8)):
        huge_tiff += struct.pack("<HHII", tag, 4, 1, value)
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + b"\xff\xff\xff" * 2
    return {
        "PNG": png(30_000, 30_000, 8, 2, zlib.compress(bytes(1000))),
        "JPEG": bytes(huge_jpeg),
        "TIFF": huge_tiff + bytes(64),
        "WEBP": b"RIFF" + struct.pack("<I", 22) + b"WEBP" + vp8x,
        "GIF": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
        "BMP": b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, 40000, 40000, 1, 24, 0, 0, 0, 0, 0, 0),
    }


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
def test_a_bomb_is_refused_by_its_header(format: str) -> None:
    with pytest.raises(ImageError, match="more than the limit of 200,000,000") as caught:
        decode(bombs()[format], (160, 160), exact=False)
    assert caught.value.kind == "TooManyPixels"


def test_max_pixels_is_the_callers() -> None:
    data = encoded(scene(), "PNG")
    decode(data, ANY_SIZE, exact=True, limits=Limits(max_pixels=120 * 80)).close()
    with pytest.raises(ImageError, match="120 x 80"):
        decode(data, ANY_SIZE, exact=True, limits=Limits(max_pixels=120 * 80 - 1))


def test_a_progressive_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded(scene(), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    many = data[:scan] + data[scan:-2] * 500 + data[-2:]
    with pytest.raises(ImageError, match="scans"):
        decode(many, ANY_SIZE, exact=True, limits=Limits(max_pixels=20_000))


@pytest.mark.slow
def test_compressed_text_and_profile_bombs_end() -> None:
    zeros = zlib.compress(bytes(200_000_000), 9)
    pixels = zlib.compress(b"\0\0\0\0")
    for chunk in ((b"zTXt", b"k\0\0" + zeros), (b"iCCP", b"p\0\0" + zeros)):
        try:
            assert whole(png(1, 1, 8, 2, pixels, chunk)).tolist() == [[[0, 0, 0]]]
        except ImageError:
            pass


@pytest.mark.parametrize(
    "data", [b"", b"hello, I am a text", b"Plain text", b"<html><body></body></html>", b"\0" * 100, b"%PDF-1.7"]
)
def test_what_is_no_image_says_so(data: bytes) -> None:
    with pytest.raises(ImageError, match="not an image") as caught:
        decode(data, ANY_SIZE, exact=False)
    assert caught.value.kind == "NotAnImage"


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF", "PPM", "TGA", "PCX", "SGI"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_that_ends_too_soon_is_cut_and_not_corrupt(format: str, share: float) -> None:
    data = encoded(scene(), format)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * share)], ANY_SIZE, exact=True)
    assert caught.value.kind == "Truncated"


def test_a_file_is_what_its_bytes_say(sample_images: Path) -> None:
    polyglot = encoded(scene(), "JPEG") + encoded(Image.new("RGB", (9, 9)), "PNG") + b"PK\x03\x04"
    with decode(polyglot, ANY_SIZE, exact=True) as image:
        assert (image.format, image.width) == ("JPEG", 120)


def test_nothing_is_written_to_the_terminal(capfd: pytest.CaptureFixture[str], sample_images: Path) -> None:
    for file in sorted(sample_images.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            for cut in (data, data[: len(data) * 3 // 4], data[:-100] + bytes(100), data[:60] + data[100:]):
                try:
                    decode(cut, ANY_SIZE, exact=True).close()
                except ImageError:
                    pass
    assert capfd.readouterr() == ("", "")


# --- the budget ------------------------------------------------------------------------------------------------------


def test_images_in_flight_share_one_budget() -> None:
    data = encoded(scene(400, 300), "PNG")
    budget = Budget(4 * 400 * 300 * 12)
    highest, done = 0, []

    def work() -> None:
        nonlocal highest
        for _ in range(5):
            with decode(data, ANY_SIZE, exact=True, budget=budget) as image:
                highest = max(highest, budget.used)
                done.append(image.width)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 80
    assert 0 < highest <= 4 * 400 * 300 * 12
    assert budget.used == 0


def test_one_image_larger_than_the_budget_runs_alone() -> None:
    budget = Budget(1000)
    data = encoded(scene(), "PNG")
    first = decode(data, ANY_SIZE, exact=True, budget=budget)
    second: list[DecodedImage] = []
    thread = threading.Thread(target=lambda: second.append(decode(data, ANY_SIZE, exact=True, budget=budget)))
    thread.start()
    thread.join(0.2)
    assert not second  # waits for the first
    first.close()
    thread.join(30)
    second[0].close()
    assert budget.used == 0


def test_a_large_request_is_not_overtaken_for_ever() -> None:
    budget = Budget(100)
    budget.acquire(60)
    order: list[str] = []

    def take(name: str, amount: int) -> None:
        budget.acquire(amount)
        order.append(name)
        budget.release(amount)

    large = threading.Thread(target=take, args=("large", 100))
    large.start()
    while not budget._queue:
        time.sleep(0.001)
    small = threading.Thread(target=take, args=("small", 10))
    small.start()
    small.join(0.1)
    assert order == []
    budget.release(60)
    large.join(30)
    small.join(30)
    assert order == ["large", "small"]


def test_an_image_gives_its_share_back_once_however_often_it_is_closed() -> None:
    budget = Budget(10_000_000)
    images = [decode(encoded(scene(), "PNG"), ANY_SIZE, exact=True, budget=budget) for _ in range(2)]
    share = budget.used // 2
    assert share > 0
    for _ in range(3):
        images[0].close()
    assert budget.used == share
    images[1].close()
    assert budget.used == 0


def test_failures_give_their_share_back() -> None:
    budget = Budget(10_000_000)
    data = encoded(scene(), "PNG")
    for cut in (data[:200], data[:-40], b"nothing"):
        with pytest.raises(ImageError):
            decode(cut, ANY_SIZE, exact=True, budget=budget)
    assert budget.used == 0


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16"])
def test_a_very_large_picture_is_averaged_on_the_way(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Pictures are very large from 3,000 pixels on, here; what is needed is 4 x 5, and 8 times that is enough."""
    monkeypatch.setattr("fvcli.images.decode.LIGHT_PIXELS", 3000)
    monkeypatch.setattr("fvcli.images.convert._STRIP_PIXELS", 100 * 7)
    blocks = np.random.default_rng(3).integers(0, 200, (50, 33)).astype(np.uint8)  # each 3 x 2 pixels large
    values = blocks.repeat(2, axis=0).repeat(3, axis=1)
    if mode == "I;16":
        picture = Image.fromarray(values.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(values).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    with decode(stream.getvalue(), (4, 5), exact=False) as decoded:
        assert (decoded.width, decoded.height) == (99, 100)
        assert decoded.region == (0, 0, 33, 50)
        gray = decoded.pixels if decoded.pixels.ndim == 2 else decoded.pixels[:, :, 0]
        assert gray.shape == (50, 33)
        if mode != "I;16":
            assert np.array_equal(gray, blocks)
        else:
            assert np.abs(gray.astype(int) - blocks).max() <= 1


def test_memory_that_runs_out_is_no_damage_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    with pytest.raises(ImageError, match="not enough memory") as caught:
        decode(saved("BMP"), (1, 1), exact=True)
    assert caught.value.kind == "OutOfMemory"
