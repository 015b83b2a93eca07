"""Inputs that a set of sources names, and their order; a search in a thread of its own can be left at any time."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fvcli.errors import ImageError, StoppedError, UsageError
from fvcli.records import ImageRef
from fvcli.sources.discover import Sources, discover, in_background
from fvcli.sources.read import read
from tests.helpers.processes import wait_for

JPEG_START = b"\xff\xd8\xff\xe0" + b"\0" * 40


def found(*paths: str | Path, **options: object) -> list[ImageRef]:
    return list(discover(Sources(tuple(map(str, paths)), **options)))  # type: ignore[arg-type]


def names(refs: list[ImageRef]) -> list[str]:
    return [ref.path for ref in refs]


def make(folder: Path, *files: str | bytes, content: bytes = JPEG_START) -> Path:
    for name in files:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)
    return folder


NASTY = [
    "a.jpg",
    "a/b.jpg",
    "a-b.jpg",
    "a.b/c.png",
    "a b.jpg",
    "a/b/c.jpg",
    "a/b-c.jpg",
    "a0/x.jpg",
    "A.JPG",
    "new\nline.jpg",
    "tab\t.jpeg",
    "émoji 🌼.webp",
    "\uffee.gif",
    "🌼/deep/er.tif",
    "#hash.avif",
    "~/x.bmp",
    ".hidden.jpg",
    ".folder/x.jpg",
    "a/",
]


def test_a_folder_comes_in_the_order_of_its_path_strings(tmp_path: Path) -> None:
    make(tmp_path, *(name for name in NASTY if not name.endswith("/")))
    make(tmp_path, b"caf\xe9.jpg", b"bad\xff/inside.jpg", b"bad\xff/\xc3\xa9.jpg")
    refs = found(tmp_path)
    paths = names(refs)
    assert len(paths) == len(NASTY) - 1 + 3
    assert paths == sorted(paths)
    assert {os.fsdecode(ref.location) for ref in refs} == {
        os.path.join(folder, name) for folder, _, files in os.walk(tmp_path) for name in files
    }
    assert all(os.stat(ref.location).st_size == ref.size_bytes for ref in refs)


@pytest.mark.parametrize("seed", range(5))
def test_order_holds_for_random_trees(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    pieces = [b"a", b"b", b"-", b".", b" ", b"\xff", b"\xc3\xa9", b"0", b"\xf0\x9f\x8c\xbc", b"\\xff", b"\x01"]
    for _ in range(120):
        parts = [b"".join(chance.choices(pieces, k=chance.randint(1, 3))) for _ in range(chance.randint(1, 3))]
        parts = [b"d" + part for part in parts[:-1]] + [parts[-1] + b".jpg"]
        make(tmp_path, b"/".join(parts))
    keys = [(ref.root, ref.path) for ref in found(tmp_path)]
    on_disk = sum(len(files) for _, _, files in os.walk(tmp_path))
    assert len(keys) == on_disk
    assert all(first < second for first, second in itertools.pairwise(keys))


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    make(tmp_path, b"caf\xe9.jpg", b"d\xff/x.jpg", "plain.jpg")
    by_path = {ref.path: ref for ref in found(tmp_path)}
    assert by_path["caf\\xe9.jpg"].path_bytes == b"caf\xe9.jpg"
    assert by_path["d\\xff/x.jpg"].path_bytes == b"d\xff/x.jpg"
    assert by_path["plain.jpg"].path_bytes is None
    assert all(read(ref).data == JPEG_START for ref in by_path.values())


def test_a_stand_in_never_takes_another_files_name(tmp_path: Path) -> None:
    make(tmp_path, b"\xff.jpg", b"\\xff.jpg")
    refs = found(tmp_path)
    assert len({ref.path for ref in refs}) == 2
    assert {ref.location for ref in refs} == {
        os.fsencode(tmp_path) + b"/\xff.jpg",
        os.fsencode(tmp_path) + b"/\\xff.jpg",
    }


def test_a_listed_stand_in_never_takes_another_files_name(tmp_path: Path) -> None:
    make(tmp_path, b"\xff.jpg", b"\\xff.jpg", b"\xff.jpgx")
    listed = [os.path.join(os.fsencode(tmp_path), name) for name in os.listdir(os.fsencode(tmp_path))]
    (tmp_path / "list").write_bytes(b"\n".join(listed * 2))
    refs = found(files_from=str(tmp_path / "list"))
    assert names(refs) == sorted(set(names(refs)))
    assert sorted(ref.location for ref in refs) == sorted(listed)


def test_a_root_that_is_not_utf8_lists_its_files_in_full(tmp_path: Path) -> None:
    root = os.path.join(os.fsencode(tmp_path), b"ro\xfft")
    make(tmp_path, b"ro\xfft/x.jpg", b"ro\xfft/d\xe9/y.jpg")
    refs = found(os.fsdecode(root))
    assert [ref.root for ref in refs] == ["", ""]
    assert {ref.location for ref in refs} == {root + b"/x.jpg", root + b"/d\xe9/y.jpg"}
    assert names(refs) == sorted(names(refs))


def test_extension_or_first_bytes_make_an_image(tmp_path: Path) -> None:
    make(tmp_path, "a.JPG", "b.jfif", "c.Tiff", "no-extension", ".dotted", "photo.")
    make(tmp_path, "text", "README.md", "x.jpg.part", "._a.jpg", content=b"hello")
    assert names(found(tmp_path)) == [".dotted", "a.JPG", "b.jfif", "c.Tiff", "no-extension", "photo."]


def test_what_is_no_regular_file_is_passed_over_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "good.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the names of sockets are short
        server.bind("socket.jpg")
        assert names(found(tmp_path)) == ["good.jpg"]


def test_a_dangling_link_is_an_input_that_fails(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "gone").symlink_to("nowhere")
    refs = found(tmp_path)
    assert [(ref.path, ref.size_bytes) for ref in refs] == [("circle.png", -1), ("gone.jpg", -1)]
    for ref in refs:
        with pytest.raises(ImageError, match="symbolic link"):
            read(ref)


def test_a_folder_that_cannot_be_listed_is_an_input_that_fails(tmp_path: Path) -> None:
    make(tmp_path, "locked/x.jpg", "locked-too.jpg", "z.jpg")
    (tmp_path / "locked").chmod(0)
    program = f"""
import os
from fvcli.sources.discover import Sources, discover, in_background
from fvcli.sources.read import read
from tests.helpers.processes import wait_for
from fvcli.errors import ImageError
if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)
for ref in discover(Sources(({str(tmp_path)!r},))):
    try: read(ref); print(ref.path, "read")
    except ImageError as error: print(ref.path, error.kind)
"""
    temporary = Path(tempfile.gettempdir())
    for folder in (tmp_path, *itertools.takewhile(lambda each: each != temporary, tmp_path.parents)):
        folder.chmod(0o755)  # another user is to come as far as here
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    finally:
        (tmp_path / "locked").chmod(0o755)
    assert done.stdout.splitlines() == ["locked-too.jpg read", "locked/ PermissionDenied", "z.jpg read"]


def test_linked_folders_are_entered_when_asked_and_loops_end(tmp_path: Path) -> None:
    make(tmp_path, "photos/in/x.jpg", "other/y.jpg")
    (tmp_path / "photos/in/up").symlink_to("..")
    (tmp_path / "photos/other").symlink_to("../other")
    (tmp_path / "photos/link.jpg").symlink_to("in/x.jpg")
    assert names(found(tmp_path / "photos")) == ["in/x.jpg", "link.jpg"]
    assert names(found(tmp_path / "photos", follow_symlinks=True)) == ["in/x.jpg", "link.jpg", "other/y.jpg"]


def test_several_roots_and_single_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "b/x.jpg", "b/in/y.jpg", "a/z.jpg", "one.jpg", "two.jpg")
    monkeypatch.chdir(tmp_path)
    refs = found("b/", "two.jpg", "b", "a", "b/in", "two.jpg", "b/x.jpg", "one.jpg")
    assert [(ref.root, ref.path) for ref in refs] == [
        ("", "one.jpg"),
        ("", "two.jpg"),
        ("a", "z.jpg"),
        ("b", "in/y.jpg"),
        ("b", "x.jpg"),
    ]


def test_globs_the_shell_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "p/a.jpg", "p/deep/b.jpg", "p/c.png", "odd[1].jpg")
    (tmp_path / "p/d.jpg").mkdir()
    monkeypatch.chdir(tmp_path)
    assert names(found("p/*.jpg")) == ["p/a.jpg"]
    assert names(found("p/**/*.jpg")) == ["p/a.jpg", "p/deep/b.jpg"]
    assert names(found("odd[1].jpg")) == ["odd[1].jpg"]
    with pytest.raises(UsageError, match=r"p/\*\.gif"):
        discover(Sources(("p/*.gif",)))


def test_a_source_that_does_not_exist_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        discover(Sources((str(tmp_path / "nowhere"),)))
    with pytest.raises(UsageError, match="list of files"):
        discover(Sources(files_from=str(tmp_path / "no-list")))


@pytest.mark.parametrize("kind", [".tar.gz", ".tgz", ".tar.zst", ".7z", ".rar"])
def test_a_compressed_archive_is_refused_with_what_to_do(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"photos{kind}").write_bytes(b"compressed")
    with pytest.raises(
        UsageError, match=f"{kind} archives are not read; unpack it, or pack the images as .tar or .zip"
    ):
        discover(Sources((str(tmp_path / f"photos{kind}"),)))


def test_include_and_exclude(tmp_path: Path) -> None:
    make(tmp_path, "2024/a.jpg", "2024/raw/b.png", "2025/a.jpg", "2025/raw/c.png", "top.jpg", "2024/[x].jpg")
    assert names(found(tmp_path, include=("*.png",))) == ["2024/raw/b.png", "2025/raw/c.png"]
    assert names(found(tmp_path, include=("2024/**",), exclude=("raw",))) == ["2024/[x].jpg", "2024/a.jpg"]
    assert names(found(tmp_path, include=("**/raw/*.png", "t?p.jpg"))) == [
        "2024/raw/b.png",
        "2025/raw/c.png",
        "top.jpg",
    ]
    assert names(found(tmp_path, include=("202[!4]/*",))) == ["2025/a.jpg"]
    assert names(found(tmp_path, exclude=("20*/raw", "[[]x].jpg"))) == ["2024/a.jpg", "2025/a.jpg", "top.jpg"]


@pytest.mark.parametrize("null_separated", [False, True])
def test_a_list_is_sorted_without_duplicates(tmp_path: Path, null_separated: bool) -> None:
    make(
        tmp_path,
        "a.jpg",
        "b c.jpg",
        "\x01.jpg",
        "new\nline.jpg" if null_separated else "é.jpg",
        b"\xff.jpg",
        b"\xe9.jpg",
    )
    listed = [os.path.join(os.fsencode(tmp_path), name) for name in os.listdir(os.fsencode(tmp_path))]
    listed += [listed[0], os.fsencode(tmp_path / "missing.jpg")]
    separator = b"\0" if null_separated else b"\n"
    (tmp_path / "list").write_bytes(separator.join([*listed, b"", *listed]))
    refs = found(files_from=str(tmp_path / "list"), null_separated=null_separated)
    paths = names(refs)
    assert paths == sorted(set(paths))
    assert {ref.location for ref in refs} == set(listed)
    assert all(ref.root == "" for ref in refs)
    assert [ref.size_bytes for ref in refs if ref.path.endswith("missing.jpg")] == [-1]


def test_a_list_on_stdin_and_files_named_beside_it(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    program = """
import sys
from fvcli.sources.discover import Sources, discover, in_background
print([ref.path for ref in discover(Sources(("b.jpg", "a.jpg"), files_from="-"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="c.jpg\nb.jpg\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "['a.jpg', 'b.jpg', 'c.jpg']"


def test_a_null_separated_list_read_by_lines_says_so(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.jpg\0b.jpg\0")
    with pytest.raises(UsageError, match=r"Then add -0$"):
        discover(Sources(files_from=str(tmp_path / "list")))


def test_an_empty_list_and_an_empty_folder_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\n\n")
    assert found(tmp_path / "list", files_from=str(tmp_path / "list"))[0].path == str(tmp_path / "list")
    assert found(files_from=str(tmp_path / "list")) == []
    assert found(tmp_path) == []


def test_long_names_and_deep_paths(tmp_path: Path) -> None:
    long = "n" * 251 + ".jpg"
    make(tmp_path, long)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(40):  # deeper than a path may be long
        os.mkdir("d" * 200, dir_fd=descriptor)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    refs = found(tmp_path)
    assert refs[-1].path == long
    assert read(refs[-1]).data == JPEG_START
    assert [ref.size_bytes for ref in refs[:-1]] == [-1]
    with pytest.raises(ImageError, match="longer than the system allows"):
        read(refs[0])


@pytest.mark.slow
def test_a_million_listed_files_stay_compact(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from fvcli.sources.named import read_listing
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
names = read_listing(sys.argv[1], False)
first = next(names)[0]
count = 1 + sum(1 for _ in names)
print(first, count, (peak() - before) // 1024)
"""
    with open(tmp_path / "list", "w") as stream:
        for number in range(1_000_000):
            stream.write(f"/archive/photographs/2024/batch-{number * 7919 % 1_000_000:07d}/IMG_{number % 10:04d}.jpg\n")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "list")], capture_output=True, text=True, check=True
    )
    first, count, megabytes = done.stdout.split()
    assert (first, count) == ("/archive/photographs/2024/batch-0000000/IMG_0000.jpg", "1000000")
    assert int(megabytes) < 150


def test_times_that_64_bits_do_not_hold_are_clamped(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    for name, date in [("a.jpg", "1601-01-01"), ("b.jpg", "2400-01-01")]:
        subprocess.run(["touch", "-d", date, tmp_path / name], check=True)
    refs = found(tmp_path)
    assert all(-(2**63) <= ref.mtime_ns < 2**63 for ref in refs)
    assert [read(ref).mtime_ns for ref in refs] == [ref.mtime_ns for ref in refs]


def stop() -> None:
    raise StoppedError("stopped", 15)


def test_items_come_in_order_and_an_error_after_those_before_it() -> None:
    assert list(in_background(lambda: iter(range(10_000)), lambda: None)) == list(range(10_000))

    def failing() -> Iterator[int]:
        yield from range(300)
        raise UsageError("no more")

    items = in_background(failing, lambda: None)
    assert list(itertools.islice(items, 300)) == list(range(300))
    with pytest.raises(UsageError, match="no more"):
        next(items)


def test_an_endless_search_ends_with_its_reader() -> None:
    before = threading.active_count()
    endless = in_background(itertools.count, lambda: None)
    assert list(itertools.islice(endless, 3)) == [0, 1, 2]
    endless.close()  # type: ignore[attr-defined]
    wait_for(lambda: threading.active_count() <= before, "the end of the searching thread")


def test_a_pipe_without_a_writer_is_left_when_asked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoppedError):
        list(in_background(lambda: discover(Sources(files_from=str(tmp_path / "pipe"))), stop))
    os.close(os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK))  # lets the thread end
