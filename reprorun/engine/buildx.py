"""Building with BuildKit, through `docker buildx` where the client and the engine have it.

docker-py speaks to the classic builder only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from contextlib import suppress

from reprorun.engine.protocol import Progress
from reprorun.errors import BuildFailed

CREATED = "315532800"  # seconds; the time of all that is made (SOURCE_DATE_EPOCH)
_OLDEST_ENGINE = (18, 9)  # with BuildKit inside


def find_buildx(address: str, engine_version: str) -> list[str] | None:
    """The command to build with on the engine at an address; None without buildx or BuildKit."""
    client = shutil.which("docker")
    if client is None or _number(engine_version) < _OLDEST_ENGINE:
        return None
    command = [client, "--host", address, "buildx"]
    asked = subprocess.run([*command, "version"], capture_output=True, check=False)
    return command if asked.returncode == 0 else None


def build_with(
    buildx: list[str],
    context: Iterable[bytes],
    tag: str,
    *,
    network: str,
    progress: Progress,
) -> tuple[int, list[str]]:
    """Build a context, streamed to it; returns the exit code and all lines that it printed.

    Raises:
        BuildFailed: the client can't be started.
    """
    command = [*buildx, "build", "--builder", "default", "--load", "--provenance=false"]
    command += ["--progress", "plain", "--network", network, "--tag", tag, "-"]
    variables = {**os.environ, "SOURCE_DATE_EPOCH": CREATED, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    try:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        raise BuildFailed(f"{buildx[0]} can't be started: {error.strerror}.") from error
    lines: list[str] = []
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        feeder = threading.Thread(target=_feed, args=(process, context), daemon=True)
        feeder.start()
        for line in process.stdout:
            lines.append(line.decode(errors="replace").rstrip())
            progress(lines[-1])
        feeder.join()
    return process.returncode, lines


def _feed(process: subprocess.Popen[bytes], context: Iterable[bytes]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # it says itself why it has ended
        for piece in context:
            pipe.write(piece)


def _number(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split("-")[0].split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())
