"""The libraries that make pixels on this machine, as a recipe names them."""

from __future__ import annotations

from fvcli.images.jpeg import decoded_by_pillow
from fvcli.images.scale import scaled_by_pillow
from fvcli.records import Resize


def resizer(kernel: Resize) -> str:
    """The library that scales images with this kernel. ``tf1-bilinear`` is fvcli's own arithmetic everywhere."""
    if kernel == "tf1-bilinear":
        return "numpy"
    return "pillow" if scaled_by_pillow() else "cykooz-resizer"


def decoder() -> str:
    """The library that decodes ordinary JPEGs."""
    return "pillow" if decoded_by_pillow() else "simplejpeg"
