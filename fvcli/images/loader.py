"""One input, from its name to its slot in a batch."""

from __future__ import annotations

from fvcli.errors import ImageError
from fvcli.images.budget import DECODED, Budget
from fvcli.images.decode import DEFAULT_LIMITS, Limits, decode
from fvcli.images.fit import Fitter
from fvcli.records import ImageFile, ImageInfo, ImageRef, InputSpec, Preprocessing, UInt8Array
from fvcli.sources.read import read


class ImageLoader:
    """Reads, decodes and fits images for one model and one preprocessing. One instance serves all threads."""

    def __init__(
        self,
        spec: InputSpec,
        preprocessing: Preprocessing,
        limits: Limits = DEFAULT_LIMITS,
        budget: Budget = DECODED,
    ) -> None:
        self._fitter = Fitter(spec, preprocessing)
        self._exact = preprocessing.decode == "exact"
        self._limits = limits
        self._budget = budget

    def load(self, ref: ImageRef, out: UInt8Array) -> ImageInfo:
        """Read ``ref`` and put it into ``out``, uint8 RGB [height, width, 3]. Raises ImageError."""
        return self.prepare(read(ref), out)

    def prepare(self, file: ImageFile, out: UInt8Array) -> ImageInfo:
        """The same for a file that has been read. ``out`` is undefined if ImageError is raised."""
        with decode(
            file.data, self._fitter.needed, exact=self._exact, limits=self._limits, budget=self._budget
        ) as decoded:
            width, height, format = decoded.width, decoded.height, decoded.format
            try:
                self._fitter.fit(decoded, out)
            except (MemoryError, ValueError, OSError) as error:
                raise ImageError("fit", "Failed", f"cannot be scaled to the model's input: {error}") from None
        return ImageInfo(file.sha256, file.size_bytes, file.mtime_ns, width, height, format)
