"""The disk refuses one of the calls that a run makes; then it works again, and the run is repeated.

``python -m tests.proofs.refusals`` fails in turn every call that changes the output (``--calls N``: so many of
them, at random), except for the single writes to a file, of which ``--writes N`` are taken at random: with each errno,
that call alone or (``+``) it and all after it; in a first run and in an update. Each time the command must exit 1 with
one line that says where and why (or succeed without what is only tidying up), the dataset must be whole as it stands,
and the same command must complete it as if nothing had happened.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.helpers import contents, pictures
from tests.helpers.commands import Forks, Outcome

ERRORS = ("ENOSPC+", "ENOSPC", "EDQUOT+", "EIO+", "EIO", "EMFILE", "EACCES+", "EROFS+")


def told(done: Outcome, word: str) -> None:
    """Exit 1 with one line that a user can act on."""
    assert done.code == 1, done
    assert word in done.said, done
    for alarming in ("Traceback", "unexpected", "a bug"):
        assert alarming not in done.said, done


def arguments(folder: Path) -> list[str | Path]:
    """The command that extracts ``photographs`` in the folder into ``features`` there."""
    return ["extract", folder / "photographs", "-o", folder / "features", "--shard-size", "7", "-q"]


def prepare(folder: Path, forks: Forks, update: bool) -> None:
    """Thirty photographs and a broken one; for an update, after a dataset of what was there before."""
    pictures.make_folder(folder / "photographs", range(30))
    if update:
        done = forks.run(*arguments(folder))
        assert done.code == 0, done
        for number in range(5):
            later = pictures.SOME_TIME_NS + 10**9
            pictures.put(folder / "photographs", f"{7 * number:04d}.png", pictures.picture(500 + number), later)
        (folder / "photographs" / "0001.png").unlink()
    pictures.put(folder / "photographs", "broken.png", pictures.broken(99))


def sweep(
    folder: Path, forks: Forks, error: str, update: bool, choose: Callable[[Sequence[str]], Sequence[int]]
) -> tuple[int, int]:
    """Fails those calls that ``choose`` picks from the names of all (counted from 1); returns runs and exits 1."""
    prepare(folder, forks, update)
    command, features, base = arguments(folder), folder / "features", folder / "base"
    if update:
        shutil.copytree(features, base)
    calls = forks.calls_of(*command)
    undisturbed = contents.state(features)
    chosen, refused = choose(calls), 0
    for number in chosen:
        shutil.rmtree(features)
        if update:
            shutil.copytree(base, features)
        done = forks.run_faulty(error, number, *command)
        if done.code != 3:
            told(done, str(folder))
            refused += 1
        if features.exists():
            contents.check_moment(features)
        again = forks.run(*command)
        assert again.code == 3, (number, calls[number - 1], done, again)
        assert contents.state(features) == undisturbed, (number, calls[number - 1])
    return len(chosen), refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int)
    parser.add_argument("--writes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)

    def choose(calls: Sequence[str]) -> list[int]:
        others = [number for number, call in enumerate(calls, start=1) if call != "write"]
        writes = [number for number, call in enumerate(calls, start=1) if call == "write"]
        if asked.calls is not None:
            others = rng.sample(others, min(asked.calls, len(others)))
        return sorted([*others, *rng.sample(writes, min(asked.writes, len(writes)))])

    with Forks() as forks:
        for error in ERRORS:
            for update in (False, True):
                with tempfile.TemporaryDirectory(prefix="fvcli-refusals-") as folder:
                    runs, refused = sweep(Path(folder), forks, error, update, choose)
                what = "an update" if update else "a first run"
                print(f"{error} in {what}: {runs} runs, {refused} exited 1, all completed when repeated")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
