"""A seeded mutator against the decoders: only ImageError may come out, soon and in bounded memory.

    python -m tests.proofs.fuzz --inputs 100000 --seed 1

Starts from the sample images and one file in every format that fvcli reads, changes bits, bytes, blocks and lengths,
and decodes and fits each result, rare formats in processes of their own. Anything but ImageError, in these processes
too, or an input that takes longer than ``--seconds``, is written to ``--keep`` and ends the run with exit code 1. A
crash of the process leaves the input in ``--keep`` as ``current``.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from fvcli.errors import ImageError
from fvcli.images.loader import ImageLoader
from fvcli.images.memory import Limits
from fvcli.records import ImageFile, InputSpec, Preprocessing
from tests.helpers.samples import samples as format_samples

SAMPLES = Path(__file__).resolve().parents[2] / "sample_images"
INTERESTING = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80")
MARKERS = (b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"IDAT", b"tRNS", b"PLTE", b"VP8L", b"ALPH")


def mutate(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to eight small damages, more often near the start, where the headers are."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        span = len(changed) if chance.random() < 0.5 else min(len(changed), 600)
        at = chance.randrange(max(span, 1))
        kind = chance.randrange(9)
        if kind == 0:
            changed[at : at + 1] = bytes([changed[at] ^ 1 << chance.randrange(8)]) if changed else b"x"
        elif kind == 1:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 2:
            value = chance.choice(INTERESTING)[: chance.choice((1, 2, 4))]
            changed[at : at + len(value)] = value
        elif kind == 3:
            del changed[at : at + chance.choice((1, 2, 16, 300))]
        elif kind == 4:
            changed[at:at] = chance.randbytes(chance.choice((1, 2, 16, 300)))
        elif kind == 5:
            block = changed[at : at + chance.choice((4, 64, 1000))]
            changed[at:at] = block * chance.choice((1, 2, 20))
        elif kind == 6:
            del changed[at:]
        elif kind == 7:
            other = chance.choice(others)
            start = chance.randrange(len(other))
            piece = other[start : start + chance.choice((8, 64, 2000))]
            changed[at : at + len(piece)] = piece
        else:
            changed[at:at] = chance.choice(MARKERS)
    return bytes(changed)


def mend_png(data: bytes) -> bytes:
    """Right checksums for the chunks of a damaged PNG, so that the damage is not found before it does anything."""
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended):
        end = at + 8 + int.from_bytes(mended[at : at + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = zlib.crc32(mended[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended)


def run(inputs: int, seed: int, seconds: float, keep: Path) -> int:
    """Try ``inputs`` mutated files; the number of findings."""
    samples = {path.name: path.read_bytes() for path in sorted(SAMPLES.rglob("*")) if path.is_file()}
    del samples["README.md"]
    samples |= {f"format-{name}": sample.data for name, sample in format_samples().items()}
    names, contents = list(samples), list(samples.values())
    limits = Limits(max_pixels=4_000_000)
    loaders = [
        ImageLoader(InputSpec(160, 160), preprocessing, limits)
        for preprocessing in (
            Preprocessing(),
            Preprocessing("exact", "crop", resize="tf1-bilinear"),
            Preprocessing("exact", "pad", resize="bicubic"),
        )
    ]
    out = np.zeros((160, 160, 3), np.uint8)
    kinds: collections.Counter[str] = collections.Counter()
    keep.mkdir(parents=True, exist_ok=True)
    current = keep / "current"
    findings, slowest = 0, 0.0
    started = time.monotonic()
    for number in range(inputs):
        chance = random.Random(f"{seed}/{number}")
        name = names[number % len(names)]
        data = mutate(chance, samples[name], contents)
        if name.endswith(".png") and chance.random() < 0.7:
            data = mend_png(data)
        current.write_bytes(data)
        found: list[str] = []
        before = time.process_time()
        try:
            info = chance.choice(loaders).prepare(ImageFile(data, "", len(data), 0), out)
            kinds[f"decoded as {info.format}"] += 1
        except ImageError as error:
            kinds[f"{error.stage} {error.kind}"] += 1
            if error.kind.startswith("exit code"):  # not a library's crash: a decoding process let an exception through
                found.append(str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            found.append(f"{type(error).__name__}: {error}")
        took = time.process_time() - before
        slowest = max(slowest, took)
        if took > seconds:
            found.append(f"took {took:.1f} s")
        if found:
            findings += len(found)
            (keep / f"{number}-{name}").write_bytes(data)
            print(f"input {number} ({name}): {', '.join(found)}", file=sys.stderr)
    current.unlink(missing_ok=True)
    # Not getrusage: its peak takes over that of the process which started this one.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
    print(f"{inputs} inputs, seed {seed}, {time.monotonic() - started:.0f} s, {findings} findings")
    print(f"slowest input {slowest:.2f} s CPU, peak memory {peak} MB")
    for kind, count in kinds.most_common():
        print(f"{count:8} {kind}")
    return findings


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    arguments = parser.parse_args()
    return 1 if run(arguments.inputs, arguments.seed, arguments.seconds, arguments.keep) else 0


if __name__ == "__main__":
    sys.exit(main())
