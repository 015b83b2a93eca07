"""One input, from its name to its slot in a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from fvcli.errors import ImageError
from fvcli.images.confined import DecodingProcesses
from fvcli.images.decode import decode
from fvcli.images.fit import Fitter
from fvcli.images.memory import DECODED, DEFAULT_LIMITS, Budget, HeavyImageError, Limits
from fvcli.records import ImageFile, ImageInfo, ImageRef, InputSpec, Preprocessing, UInt8Array
from fvcli.sources.read import read


def _never() -> bool:
    return False


class ImageLoader:
    """Reads, decodes and fits images for one model and one preprocessing. One instance serves all threads."""

    def __init__(
        self,
        spec: InputSpec,
        preprocessing: Preprocessing,
        limits: Limits = DEFAULT_LIMITS,
        budget: Budget = DECODED,
    ) -> None:
        self._spec = spec
        self._preprocessing = preprocessing
        self._fitter = Fitter(spec, preprocessing)
        self._exact = preprocessing.decode == "exact"
        self._limits = limits
        self._budget = budget

    def load(self, ref: ImageRef, out: UInt8Array) -> ImageInfo:
        """Read ``ref`` and put it into ``out``, uint8 RGB [height, width, 3]. Raises ImageError."""
        return self.prepare(read(ref), out)

    def prepare(self, file: ImageFile, out: UInt8Array, stopped: Callable[[], bool] = _never) -> ImageInfo:
        """Put a file that has been read into ``out``, which is undefined if an error is raised.

        Large images and those in rare formats are decoded in a process of their own. Raises ImageError, and
        AbandonedError once ``stopped()``.
        """
        try:
            return self._here(file, out)
        except HeavyImageError as heavy:
            memory = heavy.memory
        with self._budget.held(memory):
            image = self._processes.decode(file.data, memory, stopped)
        out[:] = image.pixels
        return ImageInfo(file.sha256, file.size_bytes, file.mtime_ns, image.width, image.height, image.format)

    @cached_property
    def _processes(self) -> DecodingProcesses:
        """Made for the first large image; of two made at once by two threads, one ends with its first image."""
        return DecodingProcesses(self._spec, self._preprocessing, self._limits)

    def _here(self, file: ImageFile, out: UInt8Array) -> ImageInfo:
        limits, budget = self._limits, self._budget
        with decode(
            file.data, self._fitter.needed, exact=self._exact, limits=limits, budget=budget, light=True
        ) as decoded:
            width, height, format = decoded.width, decoded.height, decoded.format
            try:
                self._fitter.fit(decoded, out)
            except (MemoryError, ValueError, OSError) as error:
                raise ImageError("fit", "Failed", f"cannot be scaled to the model's input: {error}") from None
        return ImageInfo(file.sha256, file.size_bytes, file.mtime_ns, width, height, format)
