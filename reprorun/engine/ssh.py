"""An engine's socket on another machine, as a socket here: the system's own ssh forwards it.

The user's configuration, agent and known hosts count; nothing is asked, and a machine that is not
known is not trusted. One connection carries all. It ends with this process, however that ends:
the far side waits for the end of its input.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import ExitStack
from typing import IO
from urllib.parse import urlsplit

from reprorun import files
from reprorun.errors import EngineUnavailable

PATIENCE = 60.0  # seconds until it stands
GRACE = 5.0  # seconds that ssh may take to end
_READY = b"reprorun-is-through"
_OPTIONS = (
    "BatchMode=yes",  # nobody can be asked
    "StrictHostKeyChecking=yes",  # whatever the user's configuration says
    "ExitOnForwardFailure=no",  # the user's own forwardings may fail; ours is looked for
    "ControlPath=none",  # a shared connection would hold the socket for longer than we live
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",  # a connection that is cut is noticed within a minute
    "ServerAliveCountMax=4",
)


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
        try:
            self._process = _start(address, self._socket, self._said)
            assert self._process.stdout
            through = _hears(self._process.stdout, _READY, PATIENCE)
            if not through or not os.path.exists(self._socket):
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
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _start(address: str, here: str, said: IO[bytes]) -> subprocess.Popen[bytes]:
    url = urlsplit(address)
    options = [word for option in _OPTIONS for word in ("-o", option)]
    whom = [*(("-l", url.username) if url.username else ())]
    whom += ["-p", str(url.port)] if url.port else []
    # any shell there understands this; it comes when the forwarding stands
    until_we_end = f"echo {_READY.decode()} && exec cat"
    command = ["ssh", *options, "-L", f"{here}:{url.path}", *whom, "--", str(url.hostname)]
    try:
        return subprocess.Popen(
            [*command, until_we_end], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
            start_new_session=True,  # Ctrl-C is for the run, which still needs the engine
        )  # fmt: skip
    except OSError as error:
        raise EngineUnavailable(
            f"ssh can't be started, and {address} is reached through it: {error.strerror}. "
            "Install it, such as with `sudo apt-get install openssh-client`."
        ) from error


def _hears(pipe: IO[bytes], word: bytes, patience: float) -> bool:
    """Whether a line comes in time; what a login prints before it is no matter."""
    heard, end = b"", time.monotonic() + patience
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while word not in heard:
            if not selector.select(max(0.0, end - time.monotonic())):
                return False
            piece = os.read(pipe.fileno(), 4096)
            if not piece:
                return False
            heard += piece
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
