"""An engine's socket on another machine, as a socket here: the system's own ssh forwards it.

The user's configuration, agent and known hosts count; nothing is asked, and a machine that is not
known is not trusted. One connection carries all. It ends with this process, however that ends:
the far side waits for the end of its input.

A connection that the user's ssh shares (ControlPath) is taken, which saves the login. One is left
for the next command only where the user wants it to stay (ControlPersist). The forwarding is taken
back from it in the end; when this process is killed, it stays there until that connection ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import IO
from urllib.parse import urlsplit

import msgspec

from reprorun import files
from reprorun.errors import EngineUnavailable
from reprorun.model import Value

PATIENCE = 60.0  # seconds until it stands
GRACE = 5.0  # seconds that ssh may take to end, or to say how it is configured
_PAUSE = 0.002  # seconds between two looks whether it stands
_UNTIL_WE_END = "exec cat"  # any shell there understands this
_OPTIONS = (
    "BatchMode=yes",  # nobody can be asked
    "StrictHostKeyChecking=yes",  # whatever the user's configuration says
    "ExitOnForwardFailure=no",  # the user's own forwardings may fail; ours is looked for
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",  # a connection that is cut is noticed within a minute
    "ServerAliveCountMax=4",
)


class _Login(Value, frozen=True):
    """How ssh is called for an address."""

    options: tuple[str, ...]
    whom: tuple[str, ...]
    shared_at: str | None = None  # the socket of the connection that the user's ssh shares


class Tunnel:
    """A forwarded socket; stands when it has been made.

    Args:
        address: ssh://[USER@]HOST[:PORT]/PATH

    Raises:
        EngineUnavailable: the machine can't be reached, is not known, or doesn't let us in.
    """

    def __init__(self, address: str) -> None:
        self._closing = ExitStack()
        place = self._closing.enter_context(files.scratch_directory(socket=True))
        self._socket = os.path.join(place, "engine.sock")
        said = open(os.path.join(place, "said"), "w+b")  # noqa: SIM115  closed in close
        self._said = self._closing.enter_context(said)
        self._process: subprocess.Popen[bytes] | None = None
        self._forwarding = f"{self._socket}:{urlsplit(address).path}"
        self._login = _login(address)
        try:
            self._process = _start(address, self._login, self._forwarding, self._said)
            if not _stands(self._process, self._socket):
                self._end()
                raise EngineUnavailable(explain(address, self.last_words()))
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """Of the socket here."""
        return f"unix://{self._socket}"

    def last_words(self) -> str:
        """What ssh said last."""
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - 4096))
        return self._said.read().decode(errors="replace").strip()

    def close(self) -> None:
        """End the connection."""
        self._end()
        self._closing.close()

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()
        if self._login.shared_at:
            _take_back(self._login, self._forwarding)


def _login(address: str) -> _Login:
    url = urlsplit(address)
    whom = [*(("-l", url.username) if url.username else ())]
    whom += ["-p", str(url.port)] if url.port else []
    alone = _Login(options=_words(_OPTIONS), whom=(*whom, "--", str(url.hostname)))
    configured = _configured(alone)
    path = configured.get("controlpath", "none")
    if path == "none":
        return msgspec.structs.replace(alone, options=_words((*_OPTIONS, "ControlPath=none")))
    if configured.get("controlpersist", "no") != "no":
        return msgspec.structs.replace(alone, shared_at=path)
    # one that we made would end with us, and with it what the user does through it by then
    options = _words((*_OPTIONS, "ControlMaster=no"))
    return msgspec.structs.replace(alone, options=options, shared_at=path)


def _words(options: Iterable[str]) -> tuple[str, ...]:
    return tuple(word for option in options for word in ("-o", option))


def _configured(login: _Login) -> dict[str, str]:
    """What the user's configuration says; nothing where ssh can't tell, as it is about to say."""
    told = _quickly("-G", *login.options, *login.whom)
    return dict(line.split(" ", 1) for line in told.splitlines() if " " in line)


def _take_back(login: _Login, forwarding: str) -> None:
    """Ask the shared connection to end a forwarding; there may be none any more.

    Without the configuration, whose own forwardings would be taken back as well.
    """
    at = _words([f"ControlPath={login.shared_at}"])
    _quickly("-F", "/dev/null", *at, "-O", "cancel", "-L", forwarding, *login.whom)


def _quickly(*words: str) -> str:
    """What ssh prints to a question that needs no connection; nothing if it fails."""
    try:
        done = subprocess.run(
            ["ssh", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, timeout=GRACE, check=True, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="surrogateescape")


def _start(
    address: str, login: _Login, forwarding: str, said: IO[bytes]
) -> subprocess.Popen[bytes]:
    command = ["ssh", *login.options, "-L", forwarding, *login.whom, _UNTIL_WE_END]
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True,  # Ctrl-C is for the run, which still needs the engine
        )  # fmt: skip
    except OSError as error:
        raise EngineUnavailable(
            f"ssh can't be started, and {address} is reached through it: {error.strerror}. "
            "Install it, such as with `sudo apt-get install openssh-client`."
        ) from error


def _stands(process: subprocess.Popen[bytes], path: str) -> bool:
    """Whether the socket comes in time; ssh makes it as soon as it is let in."""
    end = time.monotonic() + PATIENCE
    while not _takes_connections(path):
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(_PAUSE)
    return True


def _takes_connections(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):  # the latter until ssh listens, too
            return False
    return True


# ---------------------------------------------------------------- what went wrong


def explain(address: str, said: str) -> str:
    """Why there is no connection, from what ssh said, and what to try."""
    url = urlsplit(address)
    known = f"[{url.hostname}]:{url.port}" if url.port not in (None, 22) else str(url.hostname)
    user = f"{url.username}@" if url.username else ""
    words = f"ssh {f'-p {url.port} ' if url.port else ''}{user}{url.hostname}"
    if "IDENTIFICATION HAS CHANGED" in said:
        return (
            f"the host key of {known} has changed: it is another machine, or somebody is in "
            "between; nothing was sent.\n"
            f"Ask who runs it. If the change is meant: `ssh-keygen -R '{known}'`, then `{words}`."
        )
    if "Host key verification failed" in said:
        return (
            f"the host key of {known} is not known here, so nothing was sent.\n"
            f"Connect once with `{words}` and compare the key that it shows, then run this again."
        )
    if "Permission denied" in said:
        return (
            f"{url.hostname} does not let us in: {_last_line(said)}\n"
            f"See that `{words}` works without asking for anything: with a key, or an agent."
        )
    return (
        f"{url.hostname} can't be reached by ssh: {_last_line(said) or 'it does not answer'}\n"
        f"See that `{words}` works."
    )


def _last_line(said: str) -> str:
    return said.splitlines()[-1][:300] if said else ""
