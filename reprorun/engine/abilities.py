"""What engines lack: the one table of it, for the code, for `reprorun doctor` and for the docs.

`docs/engines.md` is made from it: `python -m reprorun.engine.abilities >docs/engines.md`.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from reprorun.model import EngineInfo, Value

Ability = Literal[
    "layers", "gpu-requests", "cdi", "buildkit", "memory-limit", "cpu-limit", "pids-limit",
    "files", "mount-check", "isolation",
]  # fmt: skip
Trait = Literal[
    "containerd-images", "remote", "no-memory-limit", "no-cpu-limit", "no-pids-limit"
]  # what an engine says of itself, beside its version


class Lack(Value, frozen=True, kw_only=True):
    """One thing that some engines can't do."""

    ability: Ability
    engine: str = ""  # its name; empty: any
    before: tuple[int, ...] | None = None  # first version that has it; None: none has
    trait: Trait | None = None  # only where the engine says so
    what: str  # is lacking
    instead: str  # what reprorun does, and what to do

    def of(self, name: str, version: str, traits: frozenset[Trait]) -> bool:
        """Whether an engine lacks it."""
        if self.engine not in ("", name) or (self.trait and self.trait not in traits):
            return False
        return self.before is None or number(version) < self.before


TABLE: Final = (
    Lack(
        ability="layers",
        engine="docker",
        trait="containerd-images",
        what="images can't be handed over layer by layer (the containerd image store is on)",
        instead="they are built from a Dockerfile, without network; that takes longer",
    ),
    Lack(
        ability="buildkit",
        engine="podman",
        what="no BuildKit; a Dockerfile of --file is built by Buildah",
        instead="steps that BuildKit alone knows (RUN --mount=type=ssh) fail, and say so",
    ),
    Lack(
        ability="gpu-requests",
        engine="podman",
        what="requests for GPUs by number are passed over without a word",
        instead="they are refused; Podman 5 takes CDI's names (`--gpus device=nvidia.com/gpu=all`)",
    ),
    Lack(
        ability="cdi",
        engine="docker",
        before=(25, 0),
        what="devices can't be named by CDI",
        instead="GPUs are asked for with the nvidia runtime, or by device request",
    ),
    Lack(
        ability="memory-limit",
        trait="no-memory-limit",
        what="--memory is not enforced",
        instead="give the engine the memory controller of cgroups (rootless: by delegation)",
    ),
    Lack(
        ability="cpu-limit",
        trait="no-cpu-limit",
        what="--cpus is not enforced",
        instead="give the engine the cpu controller of cgroups (rootless: by delegation)",
    ),
    Lack(
        ability="pids-limit",
        trait="no-pids-limit",
        what="the limit of processes is not enforced",
        instead="give the engine the pids controller of cgroups (rootless: by delegation)",
    ),
    Lack(
        ability="files",
        trait="remote",
        what="on another machine, directories of this one can't be mounted",
        instead="what would be mounted is copied (see above)",
    ),
    Lack(
        ability="mount-check",
        engine="podman",
        what="what is to be mounted and is not there is made, as an empty directory",
        instead="on another machine nothing is mounted, also where it sees the same files",
    ),
    Lack(
        ability="isolation",
        engine="local",
        what="no container: nothing isolates or limits the run, inputs are not made read-only",
        instead="for debugging; the record says `isolated: false`, and `check` refuses it",
    ),
)


def lacks(name: str, version: str, traits: frozenset[Trait] = frozenset()) -> tuple[Lack, ...]:
    """What an engine lacks."""
    return tuple(lack for lack in TABLE if lack.of(name, version, traits))


def lacks_of(info: EngineInfo) -> tuple[Lack, ...]:
    """What an engine lacks that has been reached."""
    return tuple(lack for lack in TABLE if lack.ability in info.lacks)


def number(version: str) -> tuple[int, ...]:
    """The numbers of a version; what stands behind them, as Debian's, is no matter."""
    found = re.match(r"v?(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


# ---------------------------------------------------------------- the page

_PAGE = """\
# Engines

Made from the table in `reprorun/engine/abilities.py`, which the code goes by:
`python -m reprorun.engine.abilities >docs/engines.md`.

reprorun talks to Docker Engine 19.03 or newer (API 1.40), and to Podman over its
Docker-compatible API. `--engine docker|podman` (or `REPRORUN_ENGINE`, or `engine` in
`[tool.reprorun]`) insists on one; without it, it is whatever answers where docker's own client
would look. `exec --engine local` and `run_experiment(engine="local")` run without a container, for
debugging.

## Where the engine is

First match wins; `reprorun doctor` says which one it was.

1. `DOCKER_HOST`: `unix:///PATH`, `ssh://[USER@]HOST[:PORT][/PATH/OF/SOCKET]`, `tcp://HOST:PORT`.
   With `--engine podman`, `CONTAINER_HOST` comes before it.
2. With `--engine podman`: `$XDG_RUNTIME_DIR/podman/podman.sock`, `/run/podman/podman.sock`.
3. `DOCKER_CONTEXT`, then the context that `docker context use` has chosen, with its certificates.
4. `/var/run/docker.sock`; where nothing answers there, `$XDG_RUNTIME_DIR/docker.sock`.

`ssh://` takes the system's `ssh`, with your configuration, agent and known hosts. Nothing is asked:
a host whose key is unknown or has changed is refused. TLS is always verified
(`DOCKER_TLS_VERIFY=1`, `DOCKER_CERT_PATH`). TCP without TLS to anything but this machine is
refused; `REPRORUN_INSECURE_ENGINE=1` forces it.

## On another machine

Where the engine sees the same files at the same path, as on a disk that both have, they are mounted
as usual. Else the log directory, inputs and secrets are copied into the container before it starts,
and the log directory is fetched when it has ended; the container stays until all has come home.

- After a connection that broke, the run goes on there. `reprorun recover` waits for it and brings
  home what it made. Until then don't remove stopped containers there (`docker system prune`).
- Inputs are hashed as they are sent. They belong to another user there, and nobody may write them;
  but a run may remove one whose directory it may write, which a mount would not let it.
- Each run is sent its inputs anew, and its log directory here is filled only in the end; what it
  prints comes as it is printed.
- Secrets lie in the container, readable for the run's user alone, until it is removed.
- `shell` has copies too, of the whole record as well; it brings nothing back.
- The machine that a record names is the engine's, as the engine tells of it; its processor is
  measured in the container. Its GPUs are known as far as containers see them.

## In a container

Where `reprorun` itself runs in a container of the engine, what it has mounted is found by our own
container's mounts, whatever it is called there. What it does not share with the engine's machine is
copied, as above. A record names the engine's machine, not the container.

## GPUs

Without `--gpus`, a run gets what the engine is known to have. The first of these is taken, and
recorded: CDI's devices that it lists (`nvidia.com/gpu`, `amd.com/gpu`; Docker 28.2), the `nvidia`
runtime, AMD's device nodes on this machine. With `--gpus`, and none of these, a device request is
made as by `docker run --gpus`. What is asked for is tried before anything is built; what the
container then sees is measured in it and recorded, and with fewer than were asked for the run does
not begin. `--gpus device=` also takes CDI's full names.

## What engines lack

| engine | where | what is lacking | what then |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The documentation of all this."""
    return _PAGE + "".join(_row(lack) for lack in TABLE)


def _row(lack: Lack) -> str:
    before = f"before {'.'.join(str(part) for part in lack.before)}" if lack.before else ""
    where = ", ".join(filter(None, (before, (lack.trait or "").replace("-", " ")))) or "every"
    return f"| {lack.engine or 'any'} | {where} | {lack.what} | {lack.instead} |\n"


if __name__ == "__main__":
    print(page(), end="")
