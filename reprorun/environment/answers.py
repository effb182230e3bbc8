"""What a server's answer, or its silence, means for a download."""

from __future__ import annotations

import re
import ssl
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from reprorun.environment.credentials import UNREADABLE, origin_of, strip
from reprorun.environment.wheel_cache import Refused

if TYPE_CHECKING:
    from requests import Response

_PATIENCE = 60.0  # seconds that a server may ask us to wait
_LATER = (408, 425, 429)  # beside 5xx: answers that may be another one soon


class Broken(Exception):
    """This try failed, another may not."""

    def __init__(self, reason: str, wait: float | None = None, reached: bool = True) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds, where the server says
        self.reached = reached  # False: there was no connection at all


def check_status(response: Response, url: str) -> None:
    """Let only answers pass that bring bytes, or that say there are no more.

    Raises:
        Refused: it will be the same next time.
        Broken: it may be another one next time.
    """
    status, at = response.status_code, place(url)
    if status in (200, 206, 416):
        return
    wait = retry_after(response.headers.get("Retry-After", ""))
    response.close()
    if status in (401, 403):
        raise Refused(
            f"{at} refuses us ({status}): give a login in the index's address, in ~/.netrc, "
            f"or with `uv auth login {at}`"
        )
    if status in (404, 410):
        raise Refused(f"{strip(url)} is not there ({status}): it was removed, or has moved")
    if status not in _LATER and status < 500:
        raise Refused(f"{strip(url)} can't be had: the answer is {status}")
    if wait is not None and wait > _PATIENCE:
        raise Refused(f"{at} answers {status} and wants to be asked in {wait:.0f} s: try then")
    raise Broken(f"{at} answers {status}: try again later", wait)


def whole_size(response: Response) -> int | None:
    """The size of the whole file in bytes, where the answer says it."""
    headers = response.headers
    if response.status_code == 206:
        found = re.search(r"/(\d+)$", headers.get("Content-Range", ""))
    else:
        found = re.fullmatch(r"(\d+)", headers.get("Content-Length", ""))
    return int(found[1]) if found else None


def start(response: Response) -> int | None:
    """Where in the file the answer's bytes begin; None when it does not say."""
    if response.status_code == 200:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def retry_after(value: str) -> float | None:
    """Seconds to wait; the header holds these, or a date."""
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def place(url: str) -> str:
    """Scheme, host and port, to be shown."""
    return origin_of(url) or UNREADABLE


def cause(error: BaseException) -> str:
    """What the operating system said. The words of requests hold the address, secrets and all."""
    while below := error.__cause__ or error.__context__:
        error = below
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it ended early"
