"""A small server that speaks as much S3 as fvcli needs, in memory, on loopback. It can refuse, and it can be stopped.

Path-style requests of the S3 REST API: GET, HEAD and PUT of objects (with If-Match and If-None-Match), ranges,
ListObjectsV2 with pages, deletion of one and of several, multipart uploads. Signatures are not checked.
"""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

PAGE = 7  # keys of a listing that are told at once

Object = tuple[bytes, float]  # content, time of the last change


#: (command, "bucket/key" or "bucket") -> (status, code) that is answered instead; None for the right answer.
Fault = Callable[[str, str], tuple[int, str] | None]


class S3Server:
    """``objects`` are named "bucket/key". refuse: the share of requests that get 503.

    fault: decides about each request. short: how many of the next bodies end before they should.
    lose: after how many of the next writes the answer is an error although the object is there.
    real_time: whether objects have the time at which they were put, and not one second more than the object before.
    """

    def __init__(self, refuse: float = 0.0) -> None:
        self.objects: dict[str, Object] = {}
        self.requests: list[str] = []
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.refuse = refuse
        self.refused = 0
        self.fault: Fault = lambda command, name: None
        self.short = 0
        self.lose = 0
        self.real_time = False
        self.stop_after: int | None = None
        self._random = random.Random(1)
        self._clock = 1_700_000_000.0
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return self._port

    def __enter__(self) -> S3Server:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def put(self, name: str, data: bytes, match: str | None = None, none_match: str | None = None) -> tuple[int, str]:
        """Stores an object. match: the ETag that it must have, none_match: "*" where there must be none.

        Returns the status and code of the refusal, (200, "") where there is none.
        """
        with self._lock:
            found = self.objects.get(name)
            if none_match == "*" and found is not None:
                return 412, "PreconditionFailed"
            if match is not None and found is None:
                return 404, "NoSuchKey"
            if match is not None and found is not None and match != etag(found[0]):
                return 412, "PreconditionFailed"
            self._clock = time.time() if self.real_time else self._clock + 1
            self.objects[name] = (data, self._clock)
            return 200, ""

    def admits(self, request: str) -> bool | None:
        """Whether a request is served (True), refused (False) or never answered (None)."""
        with self._lock:
            self.requests.append(request)
            if self.stop_after is not None and len(self.requests) > self.stop_after:
                return None
            if self._random.random() < self.refuse:
                self.refused += 1
                return False
            return True

    def names(self, bucket: str) -> list[str]:
        with self._lock:
            return sorted(name.split("/", 1)[1] for name in self.objects if name.startswith(f"{bucket}/"))

    def below(self, prefix: str) -> dict[str, bytes]:
        """The contents of all objects whose names begin so, by the rest of their names."""
        with self._lock:
            return {
                name.removeprefix(prefix): data
                for name, (data, _) in self.objects.items()
                if name.startswith(prefix) and not name.endswith("/")
            }


def etag(data: bytes) -> str:
    """The entity tag of an object with this content."""
    return f'"{hashlib.md5(data).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    owner: S3Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body may wait 40 ms for the acknowledgment of its headers

    def log_message(self, *_: object) -> None: ...

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        name = unquote(parts.path).strip("/") if parts.path.count("/") < 2 else unquote(parts.path)[1:]
        query = parse_qs(parts.query, keep_blank_values=True)
        body = self._body()
        admitted = self.owner.admits(f"{self.command} {self.path}")
        if admitted is None:
            self.close_connection = True
            self.connection.close()
            return
        if not admitted:
            self._error(503, "SlowDown")
            return
        fault = self.owner.fault(self.command, name.strip("/") if "/" not in name.strip("/") else name)
        if fault is not None:
            self._error(*fault)
            return
        getattr(self, f"_{self.command.lower()}")(name, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815

    def _get(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if "/" not in name:
            self._list(name, query)
            return
        found = self.owner.objects.get(name)
        if found is None:
            self._error(404, "NoSuchKey")
            return
        data, changed = found
        headers = {"Last-Modified": formatdate(changed, usegmt=True), "ETag": etag(data)}
        wanted = self.headers.get("Range")
        if wanted is None:
            self._answer(200, data, headers)
            return
        first, last = wanted.removeprefix("bytes=").split("-")
        start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        self._answer(206, data[start : end + 1], headers)

    def _head(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if "/" in name:
            self._get(name, query, body)
        elif self.owner.names(name):
            self._answer(200, b"")
        else:
            self._error(404, "NoSuchBucket")

    def _put(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if "uploadId" in query:
            self.owner.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
        else:
            headers = self.headers
            status, code = self.owner.put(name, body, headers.get("If-Match"), headers.get("If-None-Match"))
            if code:
                self._error(status, code)
                return
            if self.owner.lose > 0:
                self.owner.lose -= 1
                self._error(500, "InternalError")
                return
        self._answer(200, b"", {"ETag": etag(body)})

    def _post(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if "uploads" in query:
            upload = f"upload-{len(self.owner.uploads)}"
            self.owner.uploads[upload] = {}
            self._xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        elif "uploadId" in query:
            pieces = self.owner.uploads.pop(query["uploadId"][0])
            self.owner.put(name, b"".join(pieces[number] for number in sorted(pieces)))
            self._xml('<CompleteMultipartUploadResult><ETag>"0"</ETag></CompleteMultipartUploadResult>')
        elif "delete" in query:
            told = []
            for key in ElementTree.fromstring(body).iter():
                if key.tag.endswith("Key") and key.text:
                    self.owner.objects.pop(f"{name.strip('/')}/{key.text}", None)
                    told.append(f"<Deleted><Key>{escape(key.text)}</Key></Deleted>")
            self._xml(f"<DeleteResult>{''.join(told)}</DeleteResult>")
        else:
            self._error(400, "NotImplemented")

    def _delete(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if "uploadId" in query:
            self.owner.uploads.pop(query["uploadId"][0], None)
        else:
            self.owner.objects.pop(name, None)
        self._answer(204, b"")

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        after = query.get("continuation-token", [""])[0] or query.get("start-after", [""])[0]
        limit = min(PAGE, int(query.get("max-keys", [str(PAGE)])[0]))
        parts: list[str] = []
        last = ""
        told = 0
        more = False
        for key, group in self._grouped(bucket, prefix, delimiter):
            if (group or key) <= after:
                continue
            if told == limit:
                more = True
                break
            last = group or key
            told += 1
            if group:
                parts.append(f"<CommonPrefixes><Prefix>{escape(group)}</Prefix></CommonPrefixes>")
            else:
                data, changed = self.owner.objects[f"{bucket}/{key}"]
                time = formatdate(changed, usegmt=True)
                parts.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
                    f"<LastModified>{_iso(changed)}</LastModified><ETag>&quot;{time}&quot;</ETag></Contents>"
                )
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        self._xml(
            f"<ListBucketResult><Name>{bucket}</Name><KeyCount>{told}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(parts)}</ListBucketResult>"
        )

    def _grouped(self, bucket: str, prefix: str, delimiter: str) -> Iterator[tuple[str, str]]:
        before = ""
        for key in self.owner.names(bucket):
            if not key.startswith(prefix):
                continue
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                group = prefix + rest.split(delimiter, 1)[0] + delimiter
                if group != before:
                    yield key, group
                before = group
            else:
                yield key, ""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = self._chunks(self.rfile)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            import io

            data = self._chunks(io.BytesIO(data))
        return data

    def _chunks(self, stream: object) -> bytes:
        pieces = []
        while size := int(stream.readline().split(b";")[0].strip() or b"0", 16):  # type: ignore[attr-defined]
            pieces.append(stream.read(size))  # type: ignore[attr-defined]
            stream.readline()  # type: ignore[attr-defined]
        while stream.readline().strip():  # type: ignore[attr-defined]
            pass
        return b"".join(pieces)

    def _xml(self, text: str) -> None:
        self._answer(200, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(), {"Content-Type": "application/xml"})

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if status in (200, 206) and self.owner.short > 0 and "ETag" in (headers or {}):
            self.owner.short -= 1
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(data)


def _iso(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
