"""A stand-in for an S3 server on loopback: what pyarrow asks of one, kept in memory; it can be down for a while."""

import io
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

DOWN = 503


class S3(ThreadingHTTPServer):
    """Objects by bucket/key. While `down`, every request is refused; unless `flowing`, it waits for its answer.

    asked: counts the requests.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.down, self.asked = False, 0
        self.flowing = threading.Event()
        self.flowing.set()
        self.authorizations: set[str] = set()
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: S3
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def log_message(self, *args: object) -> None:
        """Quietly."""

    def _answer(self, act: Callable[[str, dict[str, str], bytes], tuple[int, bytes]]) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        body = self._body()
        self.server.flowing.wait()
        with self.server.lock:
            self.server.asked += 1
            self.server.authorizations.add(self.headers.get("Authorization", ""))
            name = unquote(url.path).strip("/")
            status, content = (DOWN, b"") if self.server.down else act(name, query, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"etag"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        """The body, out of its pieces: HTTP's own, and those that Amazon's client makes within."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = _joined(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return _joined(io.BytesIO(body)) if "aws-chunked" in self.headers.get("Content-Encoding", "") else body

    def _get(self, name: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if "list-type" in query:
            return 200, self._listing(name, query)
        if "/" not in name:
            return 200, b""
        content = self.server.objects.get(name)
        return (404, b"") if content is None else (200, content)

    def _listing(self, bucket: str, query: dict[str, str]) -> bytes:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        keys = sorted(name.partition("/")[2] for name in self.server.objects if name.startswith(f"{bucket}/{prefix}"))
        folders = {
            prefix + key[len(prefix) :].partition("/")[0] + "/" for key in keys if delimiter in key[len(prefix) :]
        }
        shown = [key for key in keys if not delimiter or delimiter not in key[len(prefix) :]]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[f'{bucket}/{key}'])}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in shown
        )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in sorted(folders))
        found = f"<KeyCount>{len(shown)}</KeyCount><IsTruncated>false</IsTruncated>{contents}"
        return _xml("ListBucketResult", found + (common if delimiter else ""))

    def _put(self, name: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if source := self.headers.get("x-amz-copy-source"):
            self.server.objects[name] = self.server.objects[unquote(source).strip("/")]
            return 200, _xml("CopyObjectResult", "<ETag>etag</ETag>")
        if "partNumber" in query:
            self.server.parts.setdefault(query["uploadId"], {})[int(query["partNumber"])] = body
        elif "/" in name:
            self.server.objects[name + ("/" if self.path.partition("?")[0].endswith("/") else "")] = body
        return 200, b""

    def _post(self, name: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if "uploads" in query:
            upload = f"upload{self.server.asked}"
            return 200, _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        if "uploadId" in query:
            parts = self.server.parts.pop(query["uploadId"], {})
            self.server.objects[name] = b"".join(parts[number] for number in sorted(parts))
            return 200, _xml("CompleteMultipartUploadResult", "<ETag>etag</ETag>")
        for key in re.findall("<Key>(.*?)</Key>", body.decode()):
            self.server.objects.pop(f"{name}/{unescape(key)}", None)
        return 200, _xml("DeleteResult", "")

    def _delete(self, name: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        for key in (name, f"{name}/"):
            self.server.objects.pop(key, None)
        return 204, b""


def _joined(stream: BinaryIO) -> bytes:
    """Pieces, each behind its length in hexadecimal, up to an empty one; checksums may follow."""
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return body


def _xml(name: str, content: str) -> bytes:
    return f'<?xml version="1.0"?><{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{content}</{name}>'.encode()
