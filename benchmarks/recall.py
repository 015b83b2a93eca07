"""The share of changed copies that ``fvcli duplicates`` finds, per kind of copy and threshold.

    python -m benchmarks.recall [FOLDER] [--thresholds 0.98 0.95 0.9]

FOLDER holds photographs as JPEG. Takes every 20th color photograph, 24 of them, and makes five copies of each: half the
size, a light edit, the next frame of a burst, a crop of 5 % on each side, a mirror image (``tests/helpers/copies.py``).
Prints how many copies have at least each threshold's cosine with their original, and the highest cosine of two files of
different photographs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.speed import PHOTOGRAPHS, heading
from fvcli.dataset.reader import open_dataset
from fvcli.explore.neighbors import normalized
from fvcli.records import Float32Array
from tests.helpers.copies import KINDS, write_phone_folder


def vectors_of(photographs: Path) -> dict[str, Float32Array]:
    """The unit vectors [photographs, dimension] of the originals, and of each kind of copy."""
    with tempfile.TemporaryDirectory() as place:
        folder, output = Path(place) / "photos", Path(place) / "features"
        folder.mkdir()
        write_phone_folder(photographs, folder)
        subprocess.run([Path(sys.executable).with_name("fvcli"), "extract", folder, "-o", output, "-q"], check=True)
        dataset = open_dataset(output)
        units = normalized(dataset.vectors().astype(np.float32))
        kinds = [Path(path).stem.partition("-")[2] for path in dataset.metadata(["path"]).column("path").to_pylist()]
    return {name: units[[kind == name for kind in kinds]] for name in ("original", *KINDS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOGRAPHS, help="photographs (JPEG)")
    parser.add_argument("--thresholds", nargs="+", type=float, default=[0.98, 0.95, 0.9])
    given = parser.parse_args()
    vectors = vectors_of(given.folder)
    originals = vectors["original"]
    every = np.stack(list(vectors.values()), axis=1)  # [photographs, kinds, dimension]
    between = np.einsum("akd,bld->abkl", every, every)
    highest = between[~np.eye(len(originals), dtype=bool)].max()
    print("\n".join(heading("benchmarks.recall", sys.argv[1:])))
    print(f"{len(originals)} photographs; the highest cosine of two files of different ones is {highest:.2f}.\n")
    print(f"| copy | {' | '.join(f'{threshold:.2f}' for threshold in given.thresholds)} |")
    print(f"|---|{'---:|' * len(given.thresholds)}")
    for kind in KINDS:
        cosines = (originals * vectors[kind]).sum(axis=1)
        print(f"| {kind} | {' | '.join(str((cosines >= least).sum()) for least in given.thresholds)} |")


if __name__ == "__main__":
    main()
