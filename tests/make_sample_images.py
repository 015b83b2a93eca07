"""Make ``sample_images/`` anew: real photographs and the odd cases derived from them.

    pip install scikit-image        (only for this script: five free photographs come with it)
    python tests/make_sample_images.py

Everything is drawn or converted from those photographs without randomness; another Pillow version may write other
bytes for the same pictures.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

TARGET = Path(__file__).resolve().parents[1] / "sample_images"
ORIENTATION = 0x0112


def photograph(name: str, longest: int) -> Image.Image:
    """A photograph of scikit-image, scaled so that its longer side is ``longest``."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise SystemExit("pip install scikit-image first")
    with Image.open(Path(found.origin).parent / "data" / name) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return picture


def rotated(picture: Image.Image, orientation: int, path: Path) -> None:
    """Store ``picture`` turned, with the EXIF tag that turns it back."""
    undo = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture.transpose(undo).save(path, quality=85, exif=exif)


def ycck(picture: Image.Image, path: Path) -> None:
    """A JPEG in Adobe's YCCK: Pillow writes the four planes as CMYK, and the Adobe marker is then told what they are.

    Transform 2 in the APP14 marker means YCCK (Adobe Technical Note 5116, section 18).
    """
    ink = ImageOps.invert(picture)  # cyan is the lack of red, and so on
    luma, blueness, redness = ink.convert("YCbCr").split()
    black = Image.new("L", picture.size, 255)  # Adobe stores inks inverted: no black
    planes = Image.merge("CMYK", [plane.point(lambda value: 255 - value) for plane in (luma, blueness, redness, black)])
    planes.save(path, quality=85)
    data = bytearray(path.read_bytes())
    marker = data.index(b"Adobe")
    data[marker + 11] = 2
    path.write_bytes(data)


def cut_out(picture: Image.Image) -> Image.Image:
    """RGBA: the middle of the picture in a soft-edged ellipse."""
    mask = Image.new("L", (picture.width * 4, picture.height * 4), 0)
    ImageDraw.Draw(mask).ellipse((40, 40, mask.width - 40, mask.height - 40), fill=255)
    layered = picture.convert("RGBA")
    layered.putalpha(mask.resize(picture.size, Image.Resampling.BOX))
    return layered


def zoom(picture: Image.Image, size: int) -> list[Image.Image]:
    """A few frames that go closer."""
    width, height = picture.size
    frames = []
    for step in range(4):
        margin_x, margin_y = width * step / 10, height * step / 10
        box = (margin_x, margin_y, width - margin_x, height - margin_y)
        frames.append(picture.resize((size, size * height // width), Image.Resampling.BICUBIC, box))
    return frames


def main() -> None:
    """Write every sample."""
    cat, coffee = photograph("chelsea.png", 320), photograph("coffee.png", 320)
    rocket, camera, sky = (
        photograph("rocket.jpg", 320),
        photograph("camera.png", 256),
        photograph("hubble_deep_field.jpg", 256),
    )
    garden = TARGET / "holiday photos 🌼"
    garden.mkdir(parents=True, exist_ok=True)

    cat.save(TARGET / "cat.jpg", quality=85)
    coffee.save(TARGET / "coffee.jpg", quality=85)
    rocket.save(TARGET / "rocket.jpg", quality=85)
    sky.save(TARGET / "galaxies-progressive.jpg", quality=80, progressive=True)
    coffee.resize((240, 160)).save(garden / "coffee & cake (1).JPG", quality=80)
    rocket.resize((240, 160)).save(TARGET / "rocket-without-extension", "JPEG", quality=80)

    small_cat, small_coffee, small_rocket = (picture.resize((216, 144)) for picture in (cat, coffee, rocket))
    rotated(small_cat, 6, TARGET / "cat-exif-6.jpg")
    rotated(small_coffee, 3, TARGET / "coffee-exif-3.jpg")
    rotated(small_rocket, 7, TARGET / "rocket-exif-7.jpg")
    camera.convert("L").save(TARGET / "camera-gray.jpg", quality=80)
    small_coffee.convert("CMYK").save(TARGET / "coffee-cmyk.jpg", quality=80)
    ycck(small_cat, TARGET / "cat-ycck.jpg")

    shades = np.asarray(camera.convert("L").resize((96, 96), Image.Resampling.BOX), np.uint16)
    Image.fromarray(shades * 257).save(TARGET / "camera-16-bit.png")
    Image.fromarray(shades.astype(np.float32) / 255).save(
        TARGET / "camera-float.tiff", compression="tiff_adobe_deflate"
    )
    small_rocket.resize((108, 72)).save(TARGET / "rocket-lzw.tif", compression="tiff_lzw")
    cut_out(cat.resize((108, 72))).save(TARGET / "cat-alpha.png")
    cut_out(small_coffee).save(TARGET / "coffee-alpha.webp", quality=75)
    palette = cut_out(small_cat).quantize(64, Image.Quantize.FASTOCTREE)
    palette.save(TARGET / "cat-palette-transparent.png")
    camera.convert("1").save(TARGET / "camera-1-bit.png")
    frames = zoom(rocket, 96)
    frames[0].save(TARGET / "rocket-animated.gif", save_all=True, append_images=frames[1:], duration=300, loop=0)
    frames = zoom(coffee, 160)
    frames[0].save(
        TARGET / "coffee-animated.webp", save_all=True, append_images=frames[1:], duration=300, loop=0, quality=60
    )
    cat.save(TARGET / "cat.avif", quality=60)
    sky.resize((72, 63)).save(TARGET / "galaxies.bmp")

    whole = (TARGET / "coffee.jpg").read_bytes()
    (TARGET / "broken-on-purpose.jpg").write_bytes(whole[: len(whole) // 2])
    total = sum(file.stat().st_size for file in TARGET.rglob("*") if file.is_file())
    print(f"{total:,} bytes in {TARGET}")


if __name__ == "__main__":
    main()
