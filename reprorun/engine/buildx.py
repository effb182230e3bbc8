"""Building with BuildKit, through `docker buildx` where the client and the engine have it.

The API's own build is the classic builder.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from reprorun import files
from reprorun.engine.places import Tls
from reprorun.engine.protocol import Progress
from reprorun.errors import BuildFailed
from reprorun.model import EngineInfo

CREATED = "315532800"  # seconds; the time of all that is made (SOURCE_DATE_EPOCH)
GRACE = 10.0  # seconds that a build may take to end when it is interrupted
_OLDEST_ENGINE = (18, 9)  # with BuildKit inside
_FIRST_WITH_PROVENANCE = (0, 10)  # of buildx; older ones don't know the flag
_VERSION = re.compile(r"\bv?(\d+)\.(\d+)")


class Buildx(NamedTuple):
    """How buildx is called for an engine."""

    command: tuple[str, ...]
    version: tuple[int, ...]


def find_buildx(url: str, tls: Tls | None, engine: EngineInfo) -> Buildx | None:
    """buildx for the engine at an address; None without buildx or BuildKit."""
    client = shutil.which("docker")
    old = engine.name != "docker" or _number(engine.version) < _OLDEST_ENGINE
    if client is None or old:
        return None
    command = (client, "--host", url, *_tls_flags(tls), "buildx")
    asked = subprocess.run(
        [*command, "version"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if asked.returncode != 0:
        return None
    return Buildx(command, _number(asked.stdout.decode(errors="replace")))


def _tls_flags(tls: Tls | None) -> Iterator[str]:
    if tls is None:
        return
    yield "--tlsverify" if tls.verify else "--tls"
    for name, path in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        if path:
            yield f"--tls{name.replace('ca', 'cacert')}={path}"


def build_with(
    buildx: Buildx,
    context: Iterable[bytes],
    tag: str,
    *,
    network: str,
    progress: Progress,
) -> tuple[str | None, list[str]]:
    """Build a context, streamed to it; returns why it failed, if it did, and all lines it printed.

    An error while the context is made, or Ctrl-C, ends the build; it is raised when that has ended.

    Raises:
        BuildFailed: the client can't be started.
    """
    lines: list[str] = []
    with (
        files.scratch_directory(passing=True) as state,
        _running(_command(buildx, tag, network), state) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = _Feeder(process, context)
        feeder.start()
        for line in process.stdout:
            lines.append(line.decode(errors="replace").rstrip())
            if lines[-1]:
                progress(lines[-1])
        code = process.wait()
        feeder.join()
    if feeder.error:
        raise feeder.error
    return (_reason(code, lines) if code else None), lines


def _command(buildx: Buildx, tag: str, network: str) -> list[str]:
    command = [*buildx.command, "build", "--builder", "default", "--load", "--progress", "plain"]
    if buildx.version >= _FIRST_WITH_PROVENANCE:
        command += ["--provenance=false"]  # it holds the time of the build
    return [*command, "--network", network, "--tag", tag, "-"]


@contextmanager
def _running(command: list[str], state: str) -> Iterator[subprocess.Popen[bytes]]:
    """A client at work, in a session of its own: it ends with the block, whatever ends that.

    Args:
        state: an empty directory, where it notes when a builder was used last; else it would need
            a home that it can write to.
    """
    variables = {**os.environ, "SOURCE_DATE_EPOCH": CREATED, "BUILDX_CONFIG": state}
    try:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise BuildFailed(f"{command[0]} can't be started: {error.strerror}.") from error
    try:
        yield process
    except BaseException:
        _end(process)
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was not sent yet
                pipe.close()  # type: ignore[union-attr]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the client and its plugin, which lets the engine drop the build."""
    _signal(process, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


class _Feeder(threading.Thread):
    """Sends the context; an error on the way ends the build, which would lack what comes after."""

    def __init__(self, process: subprocess.Popen[bytes], context: Iterable[bytes]) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self._process = process
        self._context = context

    def run(self) -> None:
        assert self._process.stdin is not None
        pipe = self._process.stdin
        for piece in self._pieces():
            try:
                pipe.write(piece)
            except (OSError, ValueError):
                return  # it has ended, and says itself why
        with suppress(OSError, ValueError):
            pipe.close()

    def _pieces(self) -> Iterator[bytes]:
        try:
            yield from self._context
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to the caller
            self.error = error
            _signal(self._process, signal.SIGTERM)


def _reason(code: int, lines: list[str]) -> str:
    said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return said[-1] if said else f"docker buildx ended with {code}"


def _number(version: str) -> tuple[int, ...]:
    found = _VERSION.search(version)
    return tuple(int(part) for part in found.groups()) if found else ()
