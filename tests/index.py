"""A package index on this machine for tests, with faults that can be set.

    with Index() as index:
        six = index.add(*make_wheel("six", "1.0"))
        six.faults.cut = 1  # the first answer ends in the middle
        ... index.url, six.url, six.requests ...

It answers as package indexes do: PEP 503 and 691 with hashes and upload times, PEP 658 metadata,
Range and If-Range.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import ssl
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from reprorun.model import RemoteFile
from tests.packages import make_sdist, make_wheel, module_name

__all__ = ["Faults", "Index", "Request", "Served", "make_sdist", "make_wheel"]

JSON = "application/vnd.pypi.simple.v1+json"
PIECE = 1 << 16  # bytes that are sent at once


@dataclass
class Faults:
    """What goes wrong with a file. The counts go down with each answer that is spoiled."""

    cut: int = 0  # answers that end after half of the body, the connection closed
    wrong: int = 0  # answers with other bytes of the same length
    short: int = 0  # answers that are complete, of half of the file
    statuses: list[int] = field(default_factory=list)  # answers such as 500, 503; used up
    status: int = 0  # every answer is this, such as 404
    retry_after: str = ""  # sent along with those
    pause: float = 0.0  # seconds after each piece of 64 KiB
    ranges: bool = True  # False: Range is ignored
    etag: str | None = None  # None: a strong one from the content; "": none
    length: bool = True  # False: no Content-Length
    redirect: str = ""  # address that the file has moved to; {host} is the other host's


class Request(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    host: str
    range: str | None
    if_range: str | None
    login: str | None  # user:password


class Served:
    """A file in the index."""

    def __init__(self, index: Index, filename: str, data: bytes, about: dict[str, Any]) -> None:
        self.filename = filename
        self.data = data
        self.about = about  # what the index says beside name, address and hash
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.faults = Faults()
        self._index = index

    @property
    def path(self) -> str:
        """Its address without the host."""
        return f"/files/{quote(self.filename)}"

    @property
    def url(self) -> str:
        """Its address."""
        return self._index.origin + self.path

    @property
    def remote(self) -> RemoteFile:
        """The file as a lock names it."""
        size = len(self.data)
        return RemoteFile(name=self.filename, sha256=self.sha256, url=self.url, size=size)

    @property
    def requests(self) -> list[Request]:
        """The requests for it, in order."""
        return [each for each in self._index.requests if each.path.split("?")[0] == self.path]

    @property
    def metadata(self) -> bytes | None:
        """METADATA of a wheel; None for anything else."""
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
                return archive.read(name)
        except (zipfile.BadZipFile, StopIteration):
            return None


class Index:
    """A package index, from `with` until its end.

    Args:
        user: who may ask, with `password`; everyone when empty.
        password: of the user.
        tls: certificate and key files, for https.
    """

    def __init__(
        self, *, user: str = "", password: str = "", tls: tuple[str, str] | None = None
    ) -> None:
        self.login = f"{user}:{password}" if user else ""
        self.files: dict[str, Served] = {}
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.index = self
        self._scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._running = False

    def __enter__(self) -> Index:
        self._running = True
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on connections are refused."""
        if self._running:
            self._running = False
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def other_origin(self) -> str:
        """The same server by another host name."""
        return f"{self._scheme}://localhost:{self.port}"

    @property
    def url(self) -> str:
        """The address for UV_DEFAULT_INDEX, without the login."""
        return f"{self.origin}/simple/"

    @property
    def url_with_login(self) -> str:
        """The same, with user and password in it."""
        return self.url.replace("://", f"://{self.login}@")

    def add(
        self,
        filename: str,
        data: bytes,
        *,
        requires_python: str = "",
        uploaded: str = "2024-01-01T00:00:00Z",
        yanked: bool = False,
    ) -> Served:
        """Offer a file. `uploaded` is what `--exclude-newer` looks at."""
        about: dict[str, Any] = {"upload-time": uploaded, "yanked": yanked}
        if requires_python:
            about["requires-python"] = requires_python
        self.files[filename] = Served(self, filename, data, about)
        return self.files[filename]

    def of_project(self, name: str) -> list[Served]:
        """The files of a project, in the order they came."""
        stem = module_name(name)
        return [f for f in self.files.values() if module_name(f.filename.split("-")[0]) == stem]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    index: Index

    def handle_error(self, *_: object) -> None:
        """A client that goes away is nothing to talk about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        index = self.server.index
        split = urlsplit(self.path)  # with a host in it when we are asked as a proxy
        path = split.path + (f"?{split.query}" if split.query else "")
        index.requests.append(self._request(path))
        place, _, name = unquote(split.path).strip("/").partition("/")
        if index.login and self._login() != index.login:
            self._answer(401, b"who are you?", **{"WWW-Authenticate": 'Basic realm="index"'})
        elif place == "simple":
            self._page(index.of_project(name)) if name else self._answer(200, b"{}")
        elif place == "files" and name in index.files:
            self._file(index.files[name])
        elif place == "files" and name.removesuffix(".metadata") in index.files:
            self._answer(200, index.files[name.removesuffix(".metadata")].metadata or b"")
        else:
            self._answer(404, b"there is no such thing")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Tests print enough."""

    def _login(self) -> str | None:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(value).decode() if kind.lower() == "basic" else kind or None

    def _request(self, path: str) -> Request:
        asked, only_if = self.headers.get("Range"), self.headers.get("If-Range")
        host = self.headers.get("Host", "")
        return Request(self.command, path, host, asked, only_if, self._login())

    def _page(self, files: list[Served]) -> None:
        if not files:
            self._answer(404, b"there is no such project")
        elif JSON in self.headers.get("Accept", ""):
            entries = [_json_entry(each) for each in files]
            name = module_name(files[0].filename.split("-")[0]).replace("_", "-")
            page = {"meta": {"api-version": "1.1"}, "name": name, "files": entries}
            self._answer(200, json.dumps(page).encode(), **{"Content-Type": JSON})
        else:
            lines = "".join(_html_entry(each) for each in files)
            page_text = f"<!DOCTYPE html><html><body>{lines}</body></html>"
            self._answer(200, page_text.encode(), **{"Content-Type": "text/html"})

    def _file(self, file: Served) -> None:
        faults = file.faults
        status = faults.statuses.pop(0) if faults.statuses else faults.status
        if status:
            also = {"Retry-After": faults.retry_after} if faults.retry_after else {}
            self._answer(status, b"not now", **also)
        elif faults.redirect:
            self._answer(302, b"", Location=faults.redirect)
        else:
            self._content(file)

    def _content(self, file: Served) -> None:
        faults, data = file.faults, memoryview(file.data)
        if faults.wrong > 0:
            faults.wrong -= 1
            data = memoryview(bytes(len(data)))
        if faults.short > 0:
            faults.short -= 1
            data = data[: len(data) // 2]
        etag = f'"{file.sha256[:16]}"' if faults.etag is None else faults.etag
        headers = {"ETag": etag} if etag else {}
        start = self._start(etag) if faults.ranges else 0
        if start >= len(data) > 0:
            self._answer(416, b"", **{"Content-Range": f"bytes */{len(data)}"})
        elif start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._answer(206, data[start:], faults, **headers)
        else:
            self._answer(200, data, faults, **headers)

    def _start(self, etag: str) -> int:
        """Where the wanted range begins; only ranges to the end are served as such."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        fits = self.headers.get("If-Range", etag) == etag
        return int(found[1]) if found and fits else 0

    def _answer(
        self, status: int, body: bytes | memoryview, faults: Faults | None = None, **headers: str
    ) -> None:
        faults = faults or Faults()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if faults.length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # so that stop() leaves none open
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(body)
        if faults.cut > 0:
            faults.cut -= 1
            end = len(body) // 2
        for start in range(0, end, PIECE):
            self.wfile.write(body[start : min(end, start + PIECE)])
            time.sleep(faults.pause)


def _json_entry(file: Served) -> dict[str, Any]:
    hashes = {"sha256": file.sha256}
    entry = {"filename": file.filename, "url": file.url, "hashes": hashes, **file.about}
    if file.metadata is not None:
        entry["core-metadata"] = {"sha256": hashlib.sha256(file.metadata).hexdigest()}
    return {**entry, "size": len(file.data)}


def _html_entry(file: Served) -> str:
    wants = file.about.get("requires-python")
    also = f' data-requires-python="{html.escape(wants)}"' if wants else ""
    also += ' data-yanked=""' if file.about["yanked"] else ""
    return f'<a href="{file.url}#sha256={file.sha256}"{also}>{file.filename}</a><br>\n'
