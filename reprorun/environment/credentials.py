"""Which login goes to which host: what the user has set up for uv, and nothing beyond.

A login is in a file's own address, in the address of an index that the user named, in uv's
variables for an index, in `~/.netrc` (which requests reads), or in uv's own store. It goes to the
scheme, host and port that it was given for. What has one never shows it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from reprorun.errors import LockFailed

_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
_NAMED = re.compile(r"([A-Za-z0-9._-]+)=(.+)")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_PORTS = {"http": 80, "https": 443}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*[^\s'\"`<>.,;:!?)\]}]", re.ASCII)
_UV_SECONDS = 20
UNREADABLE = "(an unreadable address)"


class Login(NamedTuple):
    """User and password for a host. Both may be tokens, so neither is printed."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Login(...)"


class Known(NamedTuple):
    """A login that the user has set up, and the address that it is for."""

    origin: str
    path: str
    login: Login


def configured(
    addresses: Iterable[str] = (), environment: Mapping[str, str] = os.environ
) -> tuple[Known, ...]:
    """The logins of the indexes that the user named.

    Args:
        addresses: of indexes, as requirements files or a project name them: URL, or NAME=URL.
        environment: holds uv's variables.
    """
    words = [word for name in _INDEX_VARIABLES for word in environment.get(name, "").split()]
    found = (_known(address, environment) for address in (*addresses, *words))
    return tuple(known for known in found if known)


def expanded(address: str, environment: Mapping[str, str] = os.environ) -> str:
    """An address with `${NAME}` filled in from the host's variables, as uv does it in files.

    Raises:
        LockFailed: there is no such variable.
    """
    return _VARIABLE.sub(lambda found: _value_of(found[1], environment), address)


def has_variable(address: str) -> bool:
    """Whether something is to be filled in."""
    return bool(_VARIABLE.search(address))


def _value_of(name: str, environment: Mapping[str, str]) -> str:
    if name not in environment:
        raise LockFailed(
            f"the address of an index asks for ${{{name}}}, and there is no such variable. Set it."
        )
    return environment[name]


def login_for(url: str, known: Iterable[Known]) -> Login | None:
    """The login to send with a request: the address's own, or that of an index on its host.

    Of several for one host it is that of the index whose path is most like the address's.
    """
    origin = origin_of(url)
    own = _login_in(url)
    if own or origin is None:
        return own
    path = urlsplit(url).path
    fitting = [each for each in known if each.origin == origin]
    best = max(fitting, key=lambda each: _shared(each.path, path), default=None)
    return best.login if best else None


def from_uv(url: str, user: str = "") -> Login | None:
    """What uv's store (`uv auth login`) has for a host; None when it has nothing."""
    origin = origin_of(url)
    if origin is None:
        return None
    token = _ask_uv([*([f"--username={user}"] if user else []), origin])
    return Login(user or "__token__", token) if token else None


def _ask_uv(arguments: list[str]) -> str:
    from uv import find_uv_bin

    try:
        # not --quiet: that swallows the answer too
        done = subprocess.run(
            [find_uv_bin(), "auth", "token", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_UV_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def origin_of(url: str) -> str | None:
    """Scheme, host and port of an address; None when it names no host, or can't be read."""
    try:
        split = urlsplit(url)
        port = split.port or _PORTS.get(split.scheme)
    except ValueError:
        return None
    if not split.hostname or not port:
        return None
    host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    return f"{split.scheme}://{host}:{port}"


def without_login(url: str) -> str:
    """An address as it is asked for: the login goes into a header of its own."""
    split = urlsplit(url)
    return split._replace(netloc=split.netloc.rpartition("@")[2]).geturl()


def strip(url: str) -> str:
    """An address that can be shown and recorded: no login, no query (which may be signed).

    The user name of an ssh address stays: it is part of where to find things, and no secret.
    """
    try:
        split = urlsplit(url)
        _ = split.port  # raises where an unquoted password makes the host end too early
    except ValueError:
        return UNREADABLE
    login, _, host = split.netloc.rpartition("@")
    if split.scheme.endswith("ssh") and login:
        host = f"{login.partition(':')[0]}@{host}"
    shown = split._replace(netloc=host, query="").geturl()
    return "".join(each if each.isprintable() else quote(each, errors="replace") for each in shown)


def strip_in_text(text: str) -> str:
    """A text, such as another program's words, with each address in it stripped."""
    return _ADDRESS.sub(lambda found: strip(found[0]), text)


def _known(address: str, environment: Mapping[str, str]) -> Known | None:
    named = _NAMED.fullmatch(address)
    name, url = (named[1], named[2]) if named else ("", address)
    origin = origin_of(url)
    login = _login_of_name(name, environment) or _login_in(url)
    return Known(origin, urlsplit(url).path, login) if origin and login else None


def _login_of_name(name: str, environment: Mapping[str, str]) -> Login | None:
    prefix = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    user = environment.get(f"{prefix}_USERNAME", "")
    password = environment.get(f"{prefix}_PASSWORD", "")
    return Login(user, password) if name and (user or password) else None


def _login_in(url: str) -> Login | None:
    try:
        login = urlsplit(url).netloc.rpartition("@")[0]
    except ValueError:
        return None
    user, _, password = login.partition(":")
    return Login(unquote(user), unquote(password)) if login else None


def _shared(one: str, other: str) -> int:
    """How many leading parts two paths have in common."""
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
