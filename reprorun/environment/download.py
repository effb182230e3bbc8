"""Downloading one file over http: resumed, tried again, and logged in only where it should be."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable
from contextlib import closing
from urllib.parse import urljoin

import requests
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import HTTPError

from reprorun.environment.answers import Broken, cause, check_status, place, start, whole_size
from reprorun.environment.credentials import (
    Known,
    Login,
    from_uv,
    login_for,
    origin_of,
    strip,
    without_login,
)
from reprorun.environment.wheel_cache import Partial, Refused
from reprorun.model import RemoteFile

BACK_OFF = (0.5, 1.0, 2.0)  # seconds before each further try
LARGEST = 20 << 30  # bytes; no package's file has as many
_PIECE = 1 << 17  # bytes read at once: few enough to stop, and to tell, soon
_MOST_REDIRECTS = 10
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

Watch = Callable[[int, "int | None"], None]
"""Told how many bytes have arrived, of how many; may raise to end the download."""


class _Wrong(Exception):
    """What came is not what was wanted."""


class Downloader:
    """Downloads files, one after the other; every thread has its own.

    Args:
        known: the logins that the user has set up.
        out_of_reach: origins that nothing answers at, shared by all: they get no second tries.
        pause: sleeps for some seconds; may raise to end the download.
    """

    def __init__(
        self, known: Iterable[Known], out_of_reach: set[str], pause: Callable[[float], None]
    ) -> None:
        self._known = tuple(known)
        self._from_uv: dict[str, Login | None] = {}
        self._out_of_reach = out_of_reach
        self._pause = pause
        self._session = requests.Session()
        self._session.verify = certificates()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def bring(self, file: RemoteFile, partial: Partial, watch: Watch) -> None:
        """Make a partial file whole, and verify it.

        Raises:
            Refused: it can't be had. What has arrived stays, unless it is wrong.
            CacheFailed: it can't be written.
        """
        url = file.url or ""
        tries, refetches = list(BACK_OFF), 1
        while True:
            try:
                self._receive(file, url, partial, watch)
                return _verify(file, partial, url)
            except Broken as error:
                if not tries or not self._worth_another(error, url):
                    raise Refused(str(error)) from None
                wait = error.wait
            except _Wrong as error:
                partial.restart()
                if not refetches:
                    raise Refused(str(error)) from None
                refetches -= 1
                continue
            back_off = tries.pop(0)
            self._pause(back_off if wait is None else wait)

    def _worth_another(self, error: Broken, url: str) -> bool:
        origin = origin_of(url) or ""
        if error.reached:
            return True
        known_dead = origin in self._out_of_reach
        self._out_of_reach.add(origin)
        return not known_dead

    def _receive(self, file: RemoteFile, url: str, partial: Partial, watch: Watch) -> None:
        if partial.sha256 == file.sha256:  # all but the name was done when it was killed
            return
        if file.size is not None and partial.size >= file.size:
            partial.restart()
        with closing(self._ask(url, _headers(partial))) as response:
            _begin(response, partial)
            whole = whole_size(response)
            if None not in (whole, file.size) and whole != file.size:
                raise _Wrong(f"it has {whole} bytes where {file.size} were wanted")
            self._copy(response, partial, whole or file.size, watch)

    def _copy(
        self, response: requests.Response, partial: Partial, size: int | None, watch: Watch
    ) -> None:
        if size is not None:
            _refuse_absurd(size)
            partial.check_room(size - partial.size)
        limit = LARGEST if size is None else size
        while piece := _read(response):
            if partial.size + len(piece) > limit:
                raise _Wrong(f"it has more than the {limit} bytes that were wanted")
            partial.add(piece)
            watch(partial.size, size)
        if size is not None and partial.size < size:
            raise Broken(f"the connection ended after {partial.size} of {size} bytes")

    # -------------------------------------------------- asking

    def _ask(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Follow redirects by hand, since each host gets its own login or none."""
        first, own = origin_of(url), login_for(url, self._known)
        for _ in range(_MOST_REDIRECTS):
            login = own if origin_of(url) == first else login_for(url, self._known)
            response = self._send_logged_in(url, headers, login)
            if not response.is_redirect:
                check_status(response, url)
                return response
            response.close()
            url = urljoin(without_login(url), response.headers["Location"])
        raise Refused(f"{strip(url)} redirects without end")

    def _send_logged_in(
        self, url: str, headers: dict[str, str], login: Login | None
    ) -> requests.Response:
        origin = origin_of(url)
        if origin is None:
            raise Refused(f"its address {strip(url)} is none that can be asked: look in the lock")
        response = self._send(url, headers, self._from_uv.get(origin) or login)
        if response.status_code in (401, 403) and origin not in self._from_uv:
            self._from_uv[origin] = from_uv(url, login.user if login else "")
            if again := self._from_uv[origin]:
                response.close()
                response = self._send(url, headers, again)
        return response

    def _send(self, url: str, headers: dict[str, str], login: Login | None) -> requests.Response:
        auth = HTTPBasicAuth(login.user.encode(), login.password.encode()) if login else None
        try:
            return self._session.get(
                without_login(url),
                headers=headers,
                auth=auth,  # None: requests looks into ~/.netrc
                stream=True,
                allow_redirects=False,
                timeout=(10.0, _timeout()),
            )
        except ValueError:  # an address, or a header, that requests can't make sense of
            raise Refused(f"its address {strip(url)} can't be asked: look in the lock") from None
        except requests.exceptions.SSLError as error:
            raise Refused(
                f"{place(url)} is not trusted ({cause(error)}): name its certificates with "
                "SSL_CERT_FILE"
            ) from None
        except (requests.RequestException, HTTPError) as error:
            reason = f"{place(url)} can't be reached ({cause(error)}): check the network, or the "
            raise Broken(f"{reason}index's address", reached=False) from None


def _headers(partial: Partial) -> dict[str, str]:
    # identity: the hash is over the file, not over what a server packs it into
    headers = {"Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        etag = partial.etag
        if etag.startswith('"'):  # weak ones, W/"...", don't speak of bytes
            headers["If-Range"] = etag
    return headers


def _begin(response: requests.Response, partial: Partial) -> None:
    """Go on where the answer goes on: at the end of what is there, or at the beginning."""
    if response.status_code == 200:
        partial.restart(response.headers.get("ETag", ""))
    elif start(response) != partial.size:
        partial.restart()
        raise Broken("the server sends another part than it was asked for", wait=0.0)


def _refuse_absurd(size: int) -> None:
    if size > LARGEST:
        raise Refused(f"it is said to have {size} bytes, more than any package: look in the lock")


def _read(response: requests.Response) -> bytes:
    try:
        piece: bytes = response.raw.read(_PIECE, decode_content=False)
    except (HTTPError, OSError) as error:
        raise Broken(f"the connection broke ({cause(error)}): try again") from None
    return piece


def _verify(file: RemoteFile, partial: Partial, url: str) -> None:
    if partial.sha256 != file.sha256:
        raise _Wrong(
            f"{strip(url)} has the sha256 {partial.sha256}, wanted is {file.sha256}: the file, or "
            "something on the way here, was changed; make the lock anew if you trust it"
        )


def certificates() -> str | bool:
    """What servers are trusted by: the user's certificates, the system's, else those of certifi.

    REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE come before; requests looks at those itself.
    """
    named = [os.environ.get("SSL_CERT_FILE", "")]
    named += os.environ.get("SSL_CERT_DIR", "").split(os.pathsep)
    system = ssl.get_default_verify_paths()
    for path in (*named, system.cafile or "", *_SYSTEM_BUNDLES):
        if path and os.path.exists(path):
            return path
    return True


def _timeout() -> float:
    """Seconds without a byte after which a connection counts as broken; uv's setting, if any."""
    try:
        return float(os.environ["UV_HTTP_TIMEOUT"]) or 30.0
    except (KeyError, ValueError):
        return 30.0
