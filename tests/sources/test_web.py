"""Lists of URLs, read through fsspec."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fvcli import locations
from fvcli.errors import ImageError
from fvcli.records import ImageRef
from fvcli.sources.read import read
from tests.helpers.trees import found

pytest.importorskip("fsspec")

JPEG = b"\xff\xd8\xff\xe0 not much of a picture"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with /a.jpg and /b.jpg?size=2; other paths answer with the status in their name."""
    monkeypatch.setattr(locations, "_FIRST_PAUSE_SECONDS", 0.001)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = {"/a.jpg": 200, "/b.jpg?size=2": 200}.get(self.path) or int(self.path[1:4])
            self.send_response(status)
            self.end_headers()
            if status == 200:
                self.wfile.write(JPEG + self.path.encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def error_of(ref: ImageRef) -> ImageError:
    with pytest.raises(ImageError) as raised:
        read(ref)
    return raised.value


def test_urls_in_a_list_are_inputs(site: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{site}/b.jpg?size=2\n{site}/a.jpg\n")
    refs = found(files_from=str(tmp_path / "list"))
    assert [(ref.root, ref.path) for ref in refs] == [("", f"{site}/a.jpg"), ("", f"{site}/b.jpg?size=2")]
    assert [read(ref).data for ref in refs] == [JPEG + b"/a.jpg", JPEG + b"/b.jpg?size=2"]
    assert [read(ref).size_bytes for ref in refs] == [len(JPEG) + 6, len(JPEG) + 13]


@pytest.mark.parametrize(("status", "kind"), [(404, "NotFound"), (403, "PermissionDenied"), (503, "IOError")])
def test_what_a_server_refuses_is_a_failure_of_that_address(site: str, status: int, kind: str) -> None:
    assert error_of(ImageRef("", f"{site}/{status}.jpg")).kind == kind
    assert read(ImageRef("", f"{site}/a.jpg")).data == JPEG + b"/a.jpg"


def test_without_the_library_a_list_of_urls_says_what_to_install(tmp_path: Path) -> None:
    program = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "fsspec" else find(name, *more)
from fvcli.errors import UsageError
from fvcli.sources.discover import Sources, discover
for source in (Sources(files_from=sys.argv[1]), Sources(("hf://datasets/x/y",)), Sources(("ftps://x/y.jpg",))):
    try: list(discover(source))
    except UsageError as error: print(error)
"""
    (tmp_path / "list").write_text("https://host/a.jpg\n")
    command = [sys.executable, "-c", program, str(tmp_path / "list")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "https:// needs an extra: pip install 'fvcli[remote]'"
    assert lines[1] == "hf:// needs an extra: pip install 'fvcli[remote]'"
    assert lines[2].startswith("ftps:// is not a kind of address")
