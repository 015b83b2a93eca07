"""Fixtures every room shares."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def sample_images() -> Path:
    """The images that ship with the project, odd and broken ones among them."""
    return REPOSITORY / "sample_images"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Google's model files and many photographs, where the machine has them beside the repository."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("needs the folder ../shared with models and photographs")
    return folder


@pytest.fixture(scope="module")
def photographs(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample images that are whole, 20 and more, in a folder of their own."""
    folder = tmp_path_factory.mktemp("photographs") / "photos"
    shutil.copytree(sample_images, folder, ignore=shutil.ignore_patterns("README.md", "broken*"))
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-avoidable-skips", action="store_true", help="fail where a skipped test only lacks what can be installed"
    )
    parser.addoption("--shuffle", type=int, metavar="SEED", help="mix files, and the tests of each, by this number")


# --- order ------------------------------------------------------------------------------------------------------

#: Beginnings of files that start browsers or clusters or look at the whole machine: never two of them at a time.
ONE_AT_A_TIME = ("tests/report/", "tests/run/test_processes", "tests/run/test_ray")
#: Fast tests that load TensorFlow, which takes seconds: one process does it for all.
WITH_TENSORFLOW = (
    "tests/models/mobilenet/test_frozen_graph.py",
    "tests/models/mobilenet/test_graph.py",
    "tests/models/mobilenet/test_network.py",
    "tests/models/test_engines.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (seed := config.getoption("--shuffle")) is not None:
        mixed = random.Random(seed)
        files = sorted({item.path for item in items})
        mixed.shuffle(files)
        mixed.shuffle(items)
        items.sort(key=lambda item: files.index(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n 2``, each process takes a file at a time: what a module's fixtures made serves all of its tests."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(ONE_AT_A_TIME):
                return "one at a time"
            return "with TensorFlow" if nodeid.startswith(WITH_TENSORFLOW) else nodeid.split("::")[0]

    return ByFile(config, log)


# --- skipped tests ----------------------------------------------------------------------------------------------

#: Why a test may be skipped where everything that can be installed is there.
UNAVOIDABLE = re.compile(
    r"needs the folder \.\./shared"
    r"|pip install 'fvcli\[consumers\]'|could not import '(datasets|faiss|embedding_reader|tensorboard\S*)'"
    r"|cannot mount a tmpfs|there is no mount command"
    r"|this C library gives memory back|no build of the vector library for this machine"
    r"|too busy|all had been read ahead"
    r"|FVCLI_PILLOW_IMAGES names no folder|needs a HEIC picture|needs photographs|no validation photographs"
    r"|needs a package index"
)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("--no-avoidable-skips"):
        for reason in sorted(_avoidable(terminalreporter)):
            terminalreporter.write_line(f"avoidable skip: {reason}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # None in a process of pytest-xdist
    strict = reporter is not None and session.config.getoption("--no-avoidable-skips")
    if strict and session.exitstatus == 0 and _avoidable(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _avoidable(reporter: Any) -> set[str]:
    reasons = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", ())}
    return {reason for reason in reasons if not UNAVOIDABLE.search(reason)}
