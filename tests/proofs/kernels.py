"""The cost of each resize kernel after DCT-scaled decoding, and how far that decoding moves its result.

    python -m tests.proofs.kernels FOLDER

For each image the fastest of 15 interleaved repetitions counts, so that other work on the machine shows little.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np

from fvcli.images.decode import decode
from fvcli.images.fit import Fitter
from fvcli.records import InputSpec, Preprocessing, Resize

REPETITIONS = 15


def main(folder: str) -> None:
    """Print one line a kernel."""
    spec = InputSpec(160, 160)
    fitters = {resize: Fitter(spec, Preprocessing(resize=resize)) for resize in get_args(Resize)}
    files = [path for path in sorted(Path(folder).iterdir()) if path.suffix.lower() in (".jpg", ".jpeg")][::4]
    best = {resize: [float("inf")] * len(files) for resize in fitters}
    moved: dict[str, list[float]] = {resize: [] for resize in fitters}
    fast, full = np.zeros((160, 160, 3), np.uint8), np.zeros((160, 160, 3), np.uint8)
    for number, path in enumerate(files):
        data = path.read_bytes()
        with decode(data, (160, 160), exact=False) as scaled, decode(data, (160, 160), exact=True) as exact:
            for _ in range(REPETITIONS):
                for resize, fitter in fitters.items():
                    started = time.perf_counter()
                    fitter.fit(scaled, fast)
                    best[resize][number] = min(best[resize][number], time.perf_counter() - started)
            for resize, fitter in fitters.items():
                fitter.fit(scaled, fast)
                fitter.fit(exact, full)
                moved[resize].append(float(np.abs(fast.astype(int) - full).mean()))
    print(f"{len(files)} images; kernel, microseconds a fit, mean |fast - exact| in pixel values")
    for resize in fitters:
        print(f"{resize:14}{np.mean(best[resize]) * 1e6:6.0f}{np.mean(moved[resize]):8.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
