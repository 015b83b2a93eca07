"""The picture decides, not its wrapping: end markers, trailers, metadata, announced sizes."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fvcli.errors import ImageError
from fvcli.images import jpeg
from fvcli.images.decode import decode
from fvcli.images.jpeg_header import read_header, scans
from fvcli.records import UInt8Array
from tests.helpers.bombs import chunk, png
from tests.helpers.samples import picture, saved

NEEDED = [(1, 1), (160, 160)]


def scene(width: int = 500, height: int = 375) -> Image.Image:
    """With detail in every block."""
    coarse = np.random.default_rng(5).integers(0, 256, (height // 5, width // 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


JPEGS = {
    "sequential": saved("JPEG", scene()),
    "progressive": saved("JPEG", scene(), progressive=True),
    "restarts": saved("JPEG", scene(), restart_marker_rows=2),
    "gray": saved("JPEG", scene().convert("L")),
    "cmyk": saved("JPEG", scene().convert("CMYK")),
    "small": saved("JPEG", scene(60, 40)),
}


def pixels_of(data: bytes, exact: bool = True) -> UInt8Array:
    with decode(data, (160, 160), exact=exact) as image:
        return image.pixels


def kind_of_failure(data: bytes, exact: bool = True) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, (160, 160), exact=exact)
    return caught.value.kind


# --- JPEG ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_is_whole_without_its_end_marker_and_with_anything_behind_it(name: str, exact: bool) -> None:
    data = JPEGS[name]
    expected = pixels_of(data, exact)
    for same in (data[:-2], data + b"a trailer", data + bytes(5000), data + JPEGS["progressive"]):
        assert np.array_equal(pixels_of(same, exact), expected)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", JPEGS)
def test_a_cut_jpeg_is_cut_however_it_is_closed(name: str, exact: bool) -> None:
    data = JPEGS[name]
    for share in (0.4, 0.7, 0.97):
        cut = data[: int(len(data) * share)]
        for closed in (cut, cut + b"\xff\xd9", cut + bytes(len(data) - len(cut)), cut + b"\xff\xd9" + bytes(99)):
            assert kind_of_failure(closed, exact) == "Truncated"


def test_a_jpeg_that_announces_more_rows_than_it_has_is_cut() -> None:
    for name in ("sequential", "progressive", "gray"):
        data = bytearray(JPEGS[name])
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        data[frame + 5 : frame + 7] = struct.pack(">H", 600)
        assert kind_of_failure(bytes(data)) == "Truncated"


def test_a_thumbnails_end_marker_is_not_the_pictures() -> None:
    thumbnail = saved("JPEG", scene(60, 40))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail
    data = saved("JPEG", scene())
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    whole = data[:2] + segment + data[2:]
    assert np.array_equal(pixels_of(whole), pixels_of(data))
    for share in (0.5, 0.9):
        assert kind_of_failure(whole[: int(len(whole) * share)]) == "Truncated"
    assert np.array_equal(pixels_of(whole[:-2]), pixels_of(data))


def test_a_progressive_jpeg_cut_between_two_scans_is_cut() -> None:
    data = JPEGS["progressive"]
    last = data.rindex(b"\xff\xda")
    assert kind_of_failure(data[:last]) == "Truncated"
    header = read_header(data)
    assert header is not None
    assert len(list(scans(data, header))) == data.count(b"\xff\xda")


def test_scans_are_those_of_the_picture_and_not_of_what_follows() -> None:
    data = JPEGS["progressive"]
    header = read_header(data)
    assert header is not None
    followed = data + data * 30
    assert len(list(scans(followed, header))) == len(list(scans(data, header)))
    assert np.array_equal(pixels_of(followed), pixels_of(data))


def test_a_lossless_jpeg_is_read() -> None:
    """Spatial prediction (T.81, annex H), as libjpeg-turbo writes it."""
    imagecodecs = pytest.importorskip("imagecodecs")
    rows = np.asarray(picture())
    data = imagecodecs.jpeg8_encode(rows, lossless=True)
    assert b"\xff\xc3" in data
    assert np.array_equal(pixels_of(data), rows)


@pytest.mark.parametrize(
    ("frame", "depth", "named"), [(0xC1, 12, "12 bits"), (0xC5, 8, "hierarchical"), (0xF7, 8, "JPEG-LS")]
)
def test_kinds_of_jpeg_that_nothing_reads_are_named(frame: int, depth: int, named: str) -> None:
    data = JPEGS["sequential"].replace(b"\xff\xc0\0\x11\x08", b"\xff" + bytes([frame]) + b"\0\x11" + bytes([depth]))
    with pytest.raises(ImageError, match=named) as caught:
        decode(data, (1, 1), exact=False)
    assert caught.value.kind == "Unsupported"


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_has_pillows_pixels_on_the_fast_path(orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved("JPEG", scene(), exif=exif)
    header = read_header(data)
    assert header is not None
    assert jpeg.has_fast_path(header)
    for exact in (True, False):
        fast = pixels_of(data, exact)
        with monkeypatch.context() as patch:
            patch.setattr(jpeg, "has_fast_path", lambda _: False)
            assert np.array_equal(pixels_of(data, exact), fast)


def test_odd_metadata_costs_no_jpeg() -> None:
    data = JPEGS["sequential"]
    for kind, content in (
        (0xE2, b"ICC_PROFILE\0\1"),
        (0xED, b"Photoshop 3.0\x008BIM\4\4"),
        (0xE1, b"Exif\0\0MM\0*\xff"),
    ):
        odd = data[:2] + b"\xff" + bytes([kind]) + struct.pack(">H", len(content) + 2) + content + data[2:]
        assert np.array_equal(pixels_of(odd), pixels_of(data))


# --- PNG -------------------------------------------------------------------------------------------------------------


def test_a_png_is_whole_without_its_end() -> None:
    data = saved("PNG", scene())
    end = data.index(b"IEND") - 4
    for same in (data[:end], data[: end + 6], data[:-1], data[:end] + bytes(500)):
        assert np.array_equal(pixels_of(same), pixels_of(data))


@pytest.mark.parametrize("closed", [False, True])
def test_a_cut_png_is_cut_however_it_is_closed(closed: bool) -> None:
    data = saved("PNG", scene())
    for share in (0.3, 0.8, 0.99):
        cut = data[: int(len(data) * share)]
        if closed:
            cut = cut + data[-12:]
        with pytest.raises(ImageError):
            decode(cut, (1, 1), exact=True)
        with pytest.raises(ImageError):
            decode(cut + bytes(len(data) - len(cut)), (1, 1), exact=True)


def test_a_changed_byte_among_the_pixels_of_a_png_is_damage() -> None:
    """Pillow compares neither checksum of the pixels."""
    stream = io.BytesIO()
    noise = np.random.default_rng(4).integers(1, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(stream, "PNG", compress_level=0)
    data = bytearray(stream.getvalue())
    data[len(data) // 2] ^= 1
    assert kind_of_failure(bytes(data)) == "Corrupt"


def test_a_changed_byte_is_damage_where_the_checksum_of_all_pixels_is_in_a_chunk_of_its_own() -> None:
    """Pillow ends with the last row, before that chunk."""
    rows = np.random.default_rng(4).integers(1, 256, (64, 64, 3), np.uint8)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 0)
    first, last = (b"IDAT", pixels[:-4]), pixels[-4:]
    assert np.array_equal(pixels_of(png(64, 64, 8, 2, last, first)), rows)
    whole = png(64, 64, 8, 2, last, first)
    at = whole.index(b"IDAT") + 4 + len(pixels) // 2
    assert kind_of_failure(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]) == "Corrupt"


def test_a_png_that_announces_more_rows_than_it_has_is_cut() -> None:
    rows = np.asarray(picture())
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    assert np.array_equal(pixels_of(png(120, 80, 8, 2, pixels)), rows)
    for end in (True, False):
        with pytest.raises(ImageError):
            decode(png(120, 90, 8, 2, pixels, end=end), (1, 1), exact=True)


@pytest.mark.parametrize(
    "metadata",
    [
        (b"zTXt", b"k\0\0" + zlib.compress(bytes(5_000_000))),
        (b"iCCP", b"p\0\0" + zlib.compress(bytes(5_000_000))),
        (b"iCCP", b"p\0\0not compressed"),
        (b"iTXt", b"k\0\1\0\0\0" + b"not compressed"),
        (b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        (b"tIME", b""),
        (b"pHYs", b"\0"),
        (b"acTL", b"\0"),
        (b"cHRM", b"\0\1"),
    ],
    ids=lambda metadata: metadata[0].decode(),
)
def test_damaged_or_large_metadata_costs_no_png(metadata: tuple[bytes, bytes]) -> None:
    rows = np.asarray(picture())
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    assert np.array_equal(pixels_of(png(120, 80, 8, 2, pixels, metadata)), rows)


def test_a_wrong_checksum_of_metadata_costs_no_png() -> None:
    data = saved("PNG")
    wrong = bytearray(chunk(b"tEXt", b"Title\0a picture"))
    wrong[-1] ^= 1
    assert np.array_equal(pixels_of(data[:33] + bytes(wrong) + data[33:]), np.asarray(picture()))


def test_orientation_survives_damage_beside_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved("PNG", exif=exif)
    wrong = bytearray(chunk(b"tEXt", b"Title\0a picture"))
    wrong[-1] ^= 1
    with decode(data[:33] + bytes(wrong) + data[33:], (1, 1), exact=True) as image:
        assert (image.width, image.height) == (80, 120)


def test_orientation_in_a_raw_profile_of_a_png_counts() -> None:
    """As ImageMagick writes it: the EXIF block in hexadecimal, as compressed text."""
    exif = Image.Exif()
    exif[0x0112] = 8
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text = b"\nexif\n" + str(len(block)).rjust(8).encode() + b"\n" + block.hex().encode() + b"\n"
    content = b"Raw profile type exif\0\0" + zlib.compress(text)
    rows = np.asarray(picture())
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    with decode(png(120, 80, 8, 2, pixels, (b"zTXt", content)), (1, 1), exact=True) as image:
        assert (image.width, image.height) == (80, 120)
        assert np.array_equal(image.pixels, np.rot90(rows))


def test_a_raw_profile_that_is_no_exif_block_costs_no_png() -> None:
    rows = np.asarray(picture())
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    for text in (b"\nexif\n       4\nno hexadecimal\n", b"\nexif\n       4\n45786966\n", b""):
        content = b"Raw profile type exif\0\0" + zlib.compress(text)
        assert np.array_equal(pixels_of(png(120, 80, 8, 2, pixels, (b"zTXt", content))), rows)


def interlaced(rows: np.ndarray, keep: float = 1.0) -> bytes:
    """A PNG in the seven passes of Adam7 (ISO 15948, section 8.2), of whose filtered bytes a share is there."""
    height, width, _ = rows.shape
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    content = b"".join(b"\0" + row.tobytes() for x, y, across, down in steps for row in rows[y::down, x::across])
    data = png(width, height, 8, 2, zlib.compress(content[: int(len(content) * keep)]))
    header = bytearray(data[16:29])
    header[-1] = 1
    return data[:8] + chunk(b"IHDR", bytes(header)) + data[33:]


def test_an_interlaced_png_needs_all_its_passes() -> None:
    rows = np.asarray(picture())
    assert np.array_equal(pixels_of(interlaced(rows)), rows)
    for keep in (0.01, 0.2, 0.9, 0.999):
        assert kind_of_failure(interlaced(rows, keep)) == "Truncated"


# --- AVIF ------------------------------------------------------------------------------------------------------------


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def with_aperture(data: bytes, numbers: tuple[int, ...]) -> bytes:
    """An AVIF whose primary image has one more property, a clean aperture."""
    clap = box(b"clap", struct.pack(">8i", *numbers))
    ipco, ipma = data.index(b"ipco") - 4, data.index(b"ipma") - 4
    count = len(list(properties(data, ipco)))
    (length,) = struct.unpack_from(">I", data, ipma)
    association = bytearray(data[ipma : ipma + length])
    at = 8 + 8 + 2
    association[at] += 1
    association += bytes([0x80 | count + 1])
    association[:4] = struct.pack(">I", length + 1)
    changed = bytearray(data[:ipma] + clap + bytes(association) + data[ipma + length :])
    more = len(clap) + 1
    for kind, growth in ((b"meta", more), (b"iprp", more), (b"ipco", len(clap))):
        place = changed.index(kind) - 4
        struct.pack_into(">I", changed, place, struct.unpack_from(">I", changed, place)[0] + growth)
    start = data.index(b"mdat") + 4
    iloc = changed.index(b"iloc")
    offset = changed.index(struct.pack(">I", start), iloc)
    struct.pack_into(">I", changed, offset, start + more)
    return bytes(changed)


def properties(data: bytes, ipco: int) -> list[bytes]:
    (length,) = struct.unpack_from(">I", data, ipco)
    at, found = ipco + 8, []
    while at < ipco + length:
        found.append(data[at + 4 : at + 8])
        at += struct.unpack_from(">I", data, at)[0]
    return found


def test_the_clean_aperture_of_an_avif_crops_it() -> None:
    data = saved("AVIF", quality=100, subsampling="4:4:4")
    with decode(data, (1, 1), exact=True) as image:
        full = image.pixels
    centered = with_aperture(data, (60, 1, 40, 1, 0, 1, 0, 1))
    with decode(centered, (1, 1), exact=True) as image:
        assert (image.width, image.height) == (60, 40)
        assert np.array_equal(image.pixels, full[20:60, 30:90])
    moved = with_aperture(data, (60, 1, 40, 1, -30, 1, 20, 1))
    with decode(moved, (1, 1), exact=True) as image:
        assert np.array_equal(image.pixels, full[40:80, 0:60])


def test_an_aperture_outside_of_the_picture_is_ignored() -> None:
    data = saved("AVIF", quality=100, subsampling="4:4:4")
    with decode(with_aperture(data, (60, 1, 40, 1, 100, 1, 0, 1)), (1, 1), exact=True) as image:
        assert (image.width, image.height) == (120, 80)


def test_damaged_exif_costs_no_avif() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    data = saved("AVIF", quality=95, exif=exif)
    with decode(data, (1, 1), exact=True) as image:
        expected = image.pixels
    at = data.rindex(b"MM\0*") if b"MM\0*" in data else data.rindex(b"II*\0")
    for broken in (b"\xff\xff\xff\xff", b"MM\0+", b"\0\0\0\0"):
        with decode(data[:at] + broken + data[at + 4 :], (1, 1), exact=True) as image:
            assert np.array_equal(image.pixels, expected)


# --- icons -----------------------------------------------------------------------------------------------------------


def test_an_icon_is_as_large_as_the_picture_in_it() -> None:
    small = picture().resize((128, 128))
    packed = saved("PNG", small)
    entries = [kind + struct.pack(">I", 8 + len(packed)) + packed for kind in (b"ic07", b"ic08")]
    data = b"icns" + struct.pack(">I", 8 + sum(map(len, entries))) + b"".join(entries)  # ic08 announces 256 x 256
    with decode(data, (1, 1), exact=True) as image:
        assert (image.width, image.height) == (128, 128)
        assert np.array_equal(image.pixels, np.asarray(small))


# --- a scaled decode that fails --------------------------------------------------------------------------------------


def test_a_scaled_decode_that_fails_is_tried_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    data = JPEGS["cmyk"]
    expected = pixels_of(data, exact=True)
    from PIL import JpegImagePlugin

    def refuse(*_: object) -> None:
        raise OSError("broken data stream")

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", refuse)
    assert np.array_equal(pixels_of(data, exact=False), expected)


def test_random_damage_to_metadata_never_changes_a_picture() -> None:
    chance = random.Random(7)
    exif = Image.Exif()
    exif[0x010F] = "a camera" * 20
    stream = io.BytesIO()
    picture().save(stream, "PNG", exif=exif, icc_profile=bytes(500))
    data = stream.getvalue()
    start, end = data.index(b"iCCP") + 4, data.index(b"IDAT") - 8
    kinds, whole = set(), 0
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 3, 20))):
            damaged[chance.randrange(start, end)] = chance.randrange(256)
        try:
            assert np.array_equal(pixels_of(bytes(damaged)), np.asarray(picture()))
            whole += 1
        except ImageError as error:  # a chunk's length or type was hit
            kinds.add(error.kind)
    assert kinds <= {"Corrupt", "Truncated"}
    assert whole > 100, "most damage is to what the picture does not need"
