"""The short way for usual JPEGs gives Pillow's pixels, and leaves whatever is in doubt to Pillow."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fvcli.errors import ImageError
from fvcli.images import jpeg
from fvcli.images.decode import decode
from fvcli.images.jpeg import decode_fast, has_fast_path
from fvcli.images.jpeg_header import JpegHeader, read_header
from fvcli.images.memory import Budget, Limits
from fvcli.records import UInt8Array
from tests.helpers.samples import picture, saved
from tests.proofs.fuzz import mutate

pytest.importorskip("simplejpeg")


def fast_header(data: bytes) -> JpegHeader | None:
    """The header of a file that goes the fast path."""
    header = read_header(data)
    return header if header is not None and has_fast_path(header) else None


def scene(width: int, height: int) -> Image.Image:
    """Colors and edges in every direction, so that a wrong upsampling or DCT shows."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 / width, 255 * ((x // 7 + y // 5) % 2), 127 + 120 * np.sin(x / 11 + y * y / 900)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **{"quality": 90, **options})
    return stream.getvalue()


def by_pillow(data: bytes, scale: int) -> UInt8Array:
    with Image.open(io.BytesIO(data)) as picture:
        if scale > 1:
            picture.draft(None, (picture.width // scale, picture.height // scale))
        return np.array(picture)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(640, 480), (500, 375), (333, 521), (71, 64)])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 1},
        {"subsampling": 2},
        {"optimize": True},
        {"progressive": True},
        {"restart_marker_blocks": 3},
    ],
    ids=str,
)
def test_pixels_are_pillows(size: tuple[int, int], scale: int, options: dict[str, object]) -> None:
    for image in (scene(*size), scene(*size).convert("L")):
        data = encoded(image, **options)
        header = fast_header(data)
        assert header is not None
        assert (*header.frame.size, header.frame.components) == (*size, len(image.getbands()))
        pixels = decode_fast(data, header, scale)
        assert pixels is not None
        assert np.array_equal(pixels, by_pillow(data, scale))


def test_profiles_comments_and_what_follows_the_end_do_not_matter() -> None:
    data = encoded(scene(200, 150), icc_profile=bytes(70_000), comment=b"a remark", dpi=(72, 72)) + b"and more"
    header = fast_header(data)
    assert header is not None
    assert np.array_equal(decode_fast(data, header, 1), by_pillow(data, 1))


def exif(orientation: int | None) -> bytes:
    """A block with a camera's name and, unless None, the orientation."""
    tags = Image.Exif()
    tags[0x010F] = "a camera"
    if orientation is not None:
        tags[0x0112] = orientation
    return tags.tobytes()


def app1(data: bytes, *segments: bytes) -> bytes:
    """``data`` with these segments after its first two bytes."""
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(each) + 2) + each for each in segments) + data[2:]


MOTOROLA = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 1, 0, 0)
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta %s/>"


@pytest.mark.parametrize(
    "upright",
    [
        lambda: encoded(scene(200, 150), exif=exif(1)),
        lambda: encoded(scene(200, 150), exif=exif(None)),
        lambda: encoded(scene(200, 150), exif=exif(1), xmp=b"<x:xmpmeta tiff:Orientation='6'/>"),
        lambda: encoded(scene(200, 150), xmp=b"<x:xmpmeta xmp:Rating='5'/>"),
        lambda: app1(encoded(scene(200, 150)), MOTOROLA),
        lambda: app1(encoded(scene(200, 150)), XMP % b"", MOTOROLA, XMP % b"tiff:Orientation='6'"),
    ],
)
def test_what_says_that_it_is_upright_is_usual(upright: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    data = upright()
    assert fast_header(data) is not None
    with decode(data, (200, 150), exact=True) as image:
        straight = image.pixels
    monkeypatch.setattr(jpeg, "has_fast_path", lambda _: False)
    with decode(data, (200, 150), exact=True) as image:
        assert np.array_equal(image.pixels, straight)


@pytest.mark.parametrize(
    "odd",
    [
        lambda: encoded(scene(200, 150), exif=exif(9)),
        lambda: encoded(scene(200, 150), exif=exif(1)[:20]),
        lambda: encoded(scene(200, 150), exif=b"Exif\0\0"),
        lambda: encoded(scene(200, 150), exif=exif(None), xmp=b"<x:xmpmeta tiff:Orientation='6'/>"),
        lambda: encoded(scene(200, 150), xmp=b"<x:xmpmeta tiff:Orientation='6'/>"),
        lambda: app1(encoded(scene(200, 150)), MOTOROLA, exif(6)),
        lambda: app1(encoded(scene(200, 150)), MOTOROLA.replace(b"\0\1\x01\x12", b"\0\2\x01\x12")),
        lambda: app1(encoded(scene(200, 150)), b"something else"),
        lambda: encoded(scene(200, 150).convert("CMYK")),
        lambda: encoded(scene(200, 63)),
        lambda: encoded(scene(200, 150)).replace(b"\xff\xc0", b"\xff\xc9"),  # arithmetic coding
        lambda: encoded(scene(200, 150)).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),  # 12 bits
        lambda: encoded(scene(200, 150))[:250],
        lambda: b"\xff\xd8\xff",
        lambda: b"",
    ],
)
def test_what_is_not_usual_is_left_to_pillow(odd: Callable[[], bytes]) -> None:
    assert fast_header(odd()) is None


def test_damage_that_the_library_remarks_on_is_left_to_pillow() -> None:
    data = encoded(scene(200, 150))
    header = fast_header(data)
    assert header is not None
    assert decode_fast(data[:-2] + b"remark" + data[-2:], header, 2) is None
    for cut in (data[:-2000], data[:-2000] + b"\xff\xd9", data[:-2000] + bytes(100) + b"\xff\xd9"):
        with pytest.raises(ImageError) as caught:
            decode(cut, (60, 60), exact=False)
        assert caught.value.kind == "Truncated"


@pytest.mark.slow
def test_no_damaged_file_gives_other_pixels_than_pillow(sample_images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = [path.read_bytes() for path in sorted(sample_images.glob("*.jpg"))]
    usual = [data for data in everything if fast_header(data)]
    chance, alike = random.Random(5), 0
    for _ in range(1500):
        data = mutate(chance, chance.choice(usual), everything)
        needed = chance.choice([(160, 160), (60, 60), (9999, 9999)])
        results = []
        for fast in (has_fast_path, lambda _: False):
            monkeypatch.setattr(jpeg, "has_fast_path", fast)
            try:
                with decode(data, needed, exact=False) as image:
                    results.append((image.pixels.shape, image.region, image.pixels.tobytes()))
                    alike += fast is has_fast_path
            except ImageError as error:
                results.append(error.kind)
        assert results[0] == results[1]
    assert alike > 200


def test_without_the_library_pillow_does_it_all(sample_images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (sample_images / "coffee.jpg").read_bytes()
    with decode(data, (160, 160), exact=False) as image:
        expected = image.pixels
    monkeypatch.setattr(jpeg, "decode_jpeg", None)
    with decode(data, (160, 160), exact=False) as image:
        assert np.array_equal(image.pixels, expected)


def test_the_budget_is_whole_again_when_the_fast_path_gives_up() -> None:
    """A warning that costs no picture, one that does, and a file without an end marker."""
    data = encoded(scene(200, 150))
    budget = Budget(1 << 30)
    warned = data[:-2] + b"remark" + data[-2:]
    for file in (data, warned, encoded(scene(200, 150).convert("CMYK")), data[:-2]):
        with decode(file, (60, 60), exact=False, budget=budget):
            assert budget.used > 0
        assert budget.used == 0
    for file in (data[:-2000], warned[:-2], data[:300]):
        with pytest.raises(ImageError):
            decode(file, (60, 60), exact=False, budget=budget)
        assert budget.used == 0


def test_scans_that_are_missing_are_missed_and_so_is_data_that_its_size_needs() -> None:
    data = saved("JPEG", picture().resize((160, 120)), progressive=True, quality=90)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError) as cut:
        decode(data[:last], (1, 1), exact=True)
    assert cut.value.kind == "Truncated"
    frame = data.index(b"\xff\xc2")
    large = data[: frame + 5] + struct.pack(">HH", 9000, 9000) + data[frame + 9 :]
    header = read_header(large)
    assert header is not None
    assert header.frame.size == (9000, 9000)
    with pytest.raises(ImageError) as short:
        jpeg.closed(large, header)
    assert short.value.kind == "Truncated"


def test_all_coefficients_of_a_progressive_jpeg_are_counted_and_so_are_its_scans() -> None:
    used = []
    for progressive in (False, True):
        budget = Budget(1 << 30)
        data = saved("JPEG", picture().resize((160, 120)), progressive=progressive, quality=90, subsampling="4:2:0")
        with decode(data, (1, 1), exact=True, budget=budget):
            used.append(budget.used)
    assert used[1] - used[0] == (20 * 15 + 2 * 10 * 8) * 64 * 2  # blocks of 64 numbers with 16 bits
    last = data.rindex(b"\xff\xda")
    many = data[:last] + data[last:-2] * 30 + data[-2:]
    with pytest.raises(ImageError, match="scans is more work") as refused:
        decode(many, (1, 1), exact=True, limits=Limits(160 * 120))
    assert refused.value.kind == "TooManyPixels"
