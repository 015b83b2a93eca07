"""Image formats: their names, extensions and first bytes, and which of them this installation reads.

First bytes are those of each format's specification: JPEG (ITU-T T.81, B.1.1.3), PNG (ISO 15948, 5.2), GIF89a
(section 17), WebP (RFC 9649, 2.4), TIFF 6.0 (section 2) and BigTIFF, ISO base media files (ISO 14496-12, ``ftyp`` with
the brands of HEIF, AV1 Image File Format and Canon's CR3), JPEG 2000 (ISO 15444-1, annex I), JPEG XL (ISO 18181-2).
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

#: What a name's extension says: an image in a format that is read ("read") or not read ("unread"), no image ("other").
NameKind: TypeAlias = Literal["read", "unread", "other"]

#: How many of a file's first bytes :func:`sniff` needs.
SNIFF_BYTES = 1024


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass(frozen=True, slots=True)
class Format:
    """One image format.

    extensions: lower case, without a dot. reader: the library that decodes it, "" if fvcli reads no such file.
    module: what has to be importable for that. extra: the extra of fvcli that installs it, "" for a part of fvcli.
    note: what is read of it; for formats that are not read, what helps.
    """

    name: str
    extensions: tuple[str, ...]
    reader: str = "Pillow"
    module: str = "PIL"
    extra: str = ""
    note: str = ""

    @property
    def readable(self) -> bool:
        """Whether fvcli has a reader for the format, installed or not."""
        return bool(self.reader)

    @property
    def available(self) -> bool:
        """Whether this installation reads the format."""
        return self.readable and _importable(self.module)

    @property
    def remedy(self) -> str:
        """The advice if the format cannot be read here."""
        if not self.readable:
            return self.note
        if self.extra:
            return f"install fvcli with its extra: pip install 'fvcli[{self.extra}]'"
        return f"this installation lacks {self.module}; reinstall fvcli"


_DEVELOP = "develop it to JPEG, TIFF or PNG first, for example with darktable or RawTherapee"
_RENDER = "render it to PNG first, for example with Inkscape or rsvg-convert"
_CONVERT = "convert it to JPEG, PNG or TIFF first, for example with ImageMagick"

_RAW_EXTENSIONS = (
    "3fr arw bay cap cr2 cr3 crw dcr dcs dng drf eip erf fff iiq k25 kdc mdc mef mos mrw nef nrw orf pef ptx pxn raf"
    " rw2 rwl rwz sr2 srf srw x3f"
)


def _read(name: str, extensions: str, note: str = "", **more: str) -> Format:
    return Format(name, _words(extensions), note=note, **more)


def _unread(name: str, extensions: str, note: str) -> Format:
    return Format(name, _words(extensions), reader="", module="", note=note)


#: Every format that fvcli knows of, those that are read first.
FORMATS: tuple[Format, ...] = (
    _read(
        "JPEG",
        "jpg jpeg jpe jif jfi jfif jps mpo pjpeg pjpg pjp",
        "the first picture of a multi-picture file; 8 bits per sample",
        reader="libjpeg-turbo, Pillow",
    ),
    _read("PNG", "png apng", "an animation's default image"),
    _read("WEBP", "webp", "an animation's first frame", module="PIL._webp"),
    _read("GIF", "gif", "an animation's first frame"),
    _read("BMP", "bmp dib rle"),
    _read("TIFF", "tif tiff btf tf8", "the first page; unusual kinds with the extra tiff"),
    _read("AVIF", "avif avifs", "the primary image", module="PIL._avif"),
    _read("HEIF", "heic heif heics heifs hif", "the primary image", reader="pi-heif", module="pi_heif"),
    _read("JPEG2000", "jp2 j2k jpc jpf jpx j2c jph jhc"),
    _read("JXL", "jxl", "the first frame", reader="pillow-jxl-plugin", module="pillow_jxl", extra="jxl"),
    _read("PNM", "pbm pgm ppm pnm pam pfm"),
    _read("TGA", "tga icb vda vst"),
    _read("PCX", "pcx dcx", "the first page"),
    _read("ICO", "ico cur", "the largest picture"),
    _read("ICNS", "icns", "the largest picture"),
    _read("PSD", "psd", "the composite picture"),
    _read("QOI", "qoi"),
    _read("DDS", "dds", "the first texture"),
    _read("SGI", "sgi rgba bw rgb"),
    _read("SUN", "ras sun"),
    _read("BLP", "blp"),
    _read("FTEX", "ftc ftu"),
    _read("GBR", "gbr"),
    _read("FLI", "fli flc", "the first frame"),
    _read("FITS", "fits fit fts", "a picture of two dimensions"),
    _read("IM", "im"),
    _read("MSP", "msp"),
    _read("PIXAR", "pxr"),
    _read("PCD", "pcd", "768 x 512 pixels"),
    _read("SPIDER", "spider spi"),
    _read("XVTHUMB", "p7"),
    _read("XBM", "xbm"),
    _read("XPM", "xpm"),
    _unread("RAW", _RAW_EXTENSIONS, _DEVELOP),
    _unread("SVG", "svg svgz", _RENDER),
    _unread("EPS", "eps epsf epsi ai", "render it to PNG first, for example with Ghostscript"),
    _unread("WMF", "wmf emf", _RENDER),
    _unread("PSB", "psb", "save it as TIFF or PNG first"),
    _unread("XCF", "xcf kra ora", "export it as PNG first"),
    _unread("EXR", "exr", _CONVERT),
    _unread("HDR", "hdr rgbe", _CONVERT),
    _unread("JPEGXR", "jxr wdp hdp", _CONVERT),
    _unread("JPEGLS", "jls", _CONVERT),
    _unread("JBIG2", "jb2 jbig2", _CONVERT),
    _unread("DICOM", "dcm dicom", "export it as PNG or TIFF first, for example with dcm2pnm"),
    _unread("DPX", "dpx cin", _CONVERT),
    _unread("DJVU", "djvu djv", _CONVERT),
    _unread("FLIF", "flif", _CONVERT),
    _unread("BPG", "bpg", _CONVERT),
    _unread("ILBM", "iff ilbm lbm", _CONVERT),
    _unread("KTX", "ktx ktx2", _CONVERT),
    _unread("PICT", "pct pict", _CONVERT),
    _unread("FLASHPIX", "fpx mic", _CONVERT),
)

BY_NAME = {format.name: format for format in FORMATS}
_BY_EXTENSION = {extension: format for format in FORMATS for extension in format.extensions}

#: Extensions that other kinds of files have as well: only the first bytes tell.
_SHARED = frozenset(_words("ai bw cin cap cur dcs fff fit fits fts gbr hdr iff im mic mos msp pct rgb rle sun tf8"))

#: Extensions of files that are never images: such a file need not be opened.
_OTHER = frozenset(
    _words(
        "3gp 7z aac aae avi bak bat bz2 c cfg conf cpp css csv db dll doc docx exe flac flv gz h htm html ini ipynb"
        " iso java jar js json jsonl key lnk lock log lrcat m4a m4v md mid mkv mov mp3 mp4 mpeg mpg msg mts npy npz"
        " numbers odp ods odt ogg opus otf pages parquet part pdf php pkl pp3 ppt pptx ps py pyc rar rb rst rtf sh so"
        " sql sqlite srt tar tgz tmp ts tsv ttf txt url vtt wav webm wma wmv woff woff2 xlsx xml xmp xz yaml yml"
        " xls zip zst"
    )
)


def kind_of_name(name: str) -> NameKind | None:
    """The verdict by the extension of a file's base name; None where only the first bytes can tell.

    None for names without an extension, with one that fvcli does not know, and with one that several kinds of files
    have (``.rgb``, ``.fits``). For those :func:`sniff` decides, and a file that it does not know is no image.
    """
    dot = name.rfind(".")
    extension = name[dot + 1 :].lower() if dot > 0 else ""
    if extension in _OTHER:
        return "other"
    if not extension or extension in _SHARED or extension not in _BY_EXTENSION:
        return None
    return "read" if _BY_EXTENSION[extension].readable else "unread"


_TIFF_STARTS = (b"II\x2a\x00", b"MM\x00\x2a", b"II\x2b\x00", b"MM\x00\x2b")
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"\0\0\0\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cJXL ", "JXL"),
    (b"\xff\x0a", "JXL"),
    (b"\x0a\x00\x01", "PCX"),
    (b"\x0a\x02\x01", "PCX"),
    (b"\x0a\x03\x01", "PCX"),
    (b"\x0a\x05\x01", "PCX"),
    (b"\xb1\x68\xde\x3a", "PCX"),
    (b"icns", "ICNS"),
    (b"8BPS\0\x01", "PSD"),
    (b"8BPS\0\x02", "PSB"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"\x01\xda\x00\x01", "SGI"),
    (b"\x01\xda\x00\x02", "SGI"),
    (b"\x01\xda\x01\x01", "SGI"),
    (b"\x01\xda\x01\x02", "SGI"),
    (b"\x59\xa6\x6a\x95", "SUN"),
    (b"BLP1", "BLP"),
    (b"BLP2", "BLP"),
    (b"FTEX", "FTEX"),
    (b"SIMPLE  =", "FITS"),
    (b"DanM", "MSP"),
    (b"LinS", "MSP"),
    (b"\200\350\000\000", "PIXAR"),
    (b"/* XPM */", "XPM"),
    (b"FUJIFILMCCD-RAW", "RAW"),
    (b"IIRO", "RAW"),
    (b"IIRS", "RAW"),
    (b"MMOR", "RAW"),
    (b"IIU\0", "RAW"),
    (b"\0MRM", "RAW"),
    (b"FOVb", "RAW"),
    (b"II\x1a\0\0\0HEAPCCDR", "RAW"),
    (b"%!PS-Adobe", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"\xd7\xcd\xc6\x9a\0\0", "WMF"),
    (b"gimp xcf", "XCF"),
    (b"\x76\x2f\x31\x01", "EXR"),
    (b"#?RADIANCE", "HDR"),
    (b"#?RGBE", "HDR"),
    (b"II\xbc\x01", "JPEGXR"),
    (b"\x97JB2\r\n\x1a\n", "JBIG2"),
    (b"SDPX", "DPX"),
    (b"XPDS", "DPX"),
    (b"\x80\x2a\x5f\xd7", "DPX"),
    (b"AT&TFORM", "DJVU"),
    (b"FLIF", "FLIF"),
    (b"BPG\xfb", "BPG"),
    (b"\xabKTX ", "KTX"),
)
_PNM = re.compile(rb"P(?:[1-7fF]|[01]?[yY])[\s#]")
_SVG = re.compile(rb"\s*(?:<\?xml|<!--|<!DOCTYPE\s+svg|<(?:\w+:)?svg[\s>])", re.IGNORECASE)
_SVG_ELEMENT = re.compile(rb"<(?:\w+:)?svg[\s>]|<!DOCTYPE\s+svg", re.IGNORECASE)
_AVIF_BRANDS = frozenset([b"avif", b"avis"])
_HEIF_BRANDS = frozenset(
    [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"mif3", b"msf1"]
)
_RAW_BRANDS = frozenset([b"crx "])


def sniff(start: bytes) -> str | None:
    """The name in FORMATS of the format that a file's first SNIFF_BYTES bytes announce, or None.

    Formats without first bytes of their own (TGA, Photo CD) are known by their extension only.
    """
    for magic, name in _STARTS:
        if start.startswith(magic):
            return name
    if start.startswith(_TIFF_STARTS):
        return "RAW" if start[8:11] == b"CR\x02" else "TIFF"
    return next((name for fits, name in _TESTS if fits(start)), None)


def _brand(brands: frozenset[bytes]) -> Callable[[bytes], bool]:
    def fits(start: bytes) -> bool:
        if start[4:8] != b"ftyp":
            return False
        # The major brand, then (after the minor version) the compatible ones: some writers put "mif1" first.
        end = min(max(int.from_bytes(start[:4], "big"), 16), 96, len(start))
        return bool(brands & {start[8:12], *(start[at : at + 4] for at in range(16, end, 4))})

    return fits


def _icon(start: bytes) -> bool:
    """An icon's or cursor's directory: its first picture begins behind it."""
    count, offset = int.from_bytes(start[4:6], "little"), int.from_bytes(start[18:22], "little")
    return start[:4] in (b"\0\0\1\0", b"\0\0\2\0") and 0 < count <= 4096 and 6 + 16 * count <= offset < 1 << 24


def _animation(start: bytes) -> bool:
    return start[4:6] in (b"\x11\xaf", b"\x12\xaf") and start[14:16] in (b"\0\0", b"\3\0")


def _svg(start: bytes) -> bool:
    text = start.removeprefix(b"\xef\xbb\xbf")
    return bool(_SVG.match(text) and _SVG_ELEMENT.search(text))


_TESTS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda start: start[:4] == b"RIFF" and start[8:12] == b"WEBP", "WEBP"),
    (_brand(_AVIF_BRANDS), "AVIF"),
    (_brand(_RAW_BRANDS), "RAW"),
    (_brand(_HEIF_BRANDS), "HEIF"),
    (lambda start: start.startswith(b"P7 332"), "XVTHUMB"),
    (lambda start: _PNM.match(start) is not None, "PNM"),
    (_icon, "ICO"),
    (_animation, "FLI"),
    (lambda start: start[20:24] == b"GIMP" and start[:3] == b"\0\0\0", "GBR"),
    (lambda start: b"Image type: " in start[:100] and b"\n" in start[:100], "IM"),
    (lambda start: start.lstrip()[:7] == b"#define" and b"_width" in start[:200], "XBM"),
    (_svg, "SVG"),
    (lambda start: start[40:44] == b" EMF" and start[:4] == b"\1\0\0\0", "WMF"),
    (lambda start: start[128:132] == b"DICM", "DICOM"),
    (lambda start: start[:4] == b"FORM" and start[8:12] in (b"ILBM", b"PBM "), "ILBM"),
)


@cache
def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def has_image_extension(name: str) -> bool | None:
    """True or False by the extension of a file's base name; None where its first bytes must tell."""
    kind = kind_of_name(name)
    return None if kind is None else kind != "other"
