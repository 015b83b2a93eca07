"""The schedulers' examples, run as far as this machine has what runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fvcli

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    everything = {**os.environ, "PATH": path, **environment}
    return subprocess.run(["sh", "-c", command], cwd=cwd, env=everything, capture_output=True, text=True, check=False)


@pytest.fixture
def place(sample_images: Path, tmp_path: Path) -> Path:
    """A folder with photos/ in it, one of them broken."""
    (tmp_path / "photos").mkdir()
    for name in ("cat.jpg", "rocket.jpg", "broken-on-purpose.jpg"):
        shutil.copy(sample_images / name, tmp_path / "photos")
    return tmp_path


def test_crontab(place: Path) -> None:
    (line,) = [line for line in (EXAMPLES / "crontab").read_text().splitlines() if not line.startswith("#")]
    assert "%" not in line  # cron makes line ends of them
    command = line.split(maxsplit=5)[5]
    for there, here in (("/srv/pictures", str(place)), ("/var/lib/node_exporter/textfile", str(place))):
        command = command.replace(there, here)
    done = run(command, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(fvcli.open_dataset(place / "features")) == 2
    assert "fvcli_last_run_exit_code" in (place / "fvcli.prom").read_text()
    shutil.rmtree(place / "photos")
    assert run(command, place).returncode != 0


def test_slurm_array(place: Path) -> None:
    assert run("fvcli plan photos -o features --shard-size 1", place).returncode == 0
    for number in ("1", "2"):
        slurm = {"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_COUNT": "2"}
        assert run(f"bash {EXAMPLES}/slurm.sh", place, **slurm).returncode == 0
    assert run("fvcli finalize features", place).returncode == 3
    assert len(fvcli.open_dataset(place / "features")) == 2


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_makefile(place: Path) -> None:
    done = run(f"make -f {EXAMPLES}/Makefile report.html", place)
    assert done.returncode == 0, done.stderr
    assert (place / "report.html").stat().st_size > 1000


@pytest.mark.skipif(shutil.which("parallel") is None, reason="needs GNU parallel")
def test_gnu_parallel(place: Path) -> None:
    for name in ("a", "b c"):
        shutil.copytree(place / "photos", place / "all" / name)
    done = run(f"bash {EXAMPLES}/parallel.sh all", place)
    assert done.returncode == 0, done.stderr
    assert [len(fvcli.open_dataset(place / "features" / name)) for name in ("a", "b c")] == [2, 2]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_units(tmp_path: Path) -> None:
    for name in ("fvcli.service", "fvcli.timer"):
        text = (EXAMPLES / name).read_text().replace("/usr/local/bin/fvcli", shutil.which("true") or "")
        (tmp_path / name).write_text(text)
    done = run(f"systemd-analyze verify --man=no {tmp_path}/fvcli.service {tmp_path}/fvcli.timer", tmp_path)
    ours = [line for line in done.stderr.splitlines() if "fvcli." in line]
    assert ours == []
