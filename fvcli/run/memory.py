"""Memory that is free, given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

#: Images: what is given back has to be taken again, so that doing it with every row group costs 1 % of a run.
_EVERY = 2500
_KEEP = ctypes.c_size_t(0)


class GiveBack:
    """Told how many images are done, has the C library give back what it holds for later now and then.

    glibc keeps what threads free, between what they still use; without this a run of 10,000 images takes 150 MB, of
    100,000 some more, with it 142 and no more. Where the C library has no such call nothing is done.
    """

    def __init__(self) -> None:
        self._images = 0
        self._trim: Callable[[ctypes.c_size_t], object] | None = None
        with suppress(OSError, AttributeError):
            self._trim = ctypes.CDLL(None).malloc_trim

    def __call__(self, images: int) -> None:
        self._images += images
        if self._images >= _EVERY and self._trim is not None:
            self._images = 0
            self._trim(_KEEP)
