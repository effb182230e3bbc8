"""Where faults are injected: a repository, a cache and a state of its own, and a real engine.

`fault` makes a `Fault` of a function that is given such a place and tells what is lost or false.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker

from reprorun import store
from reprorun.errors import RecordError
from reprorun.model import Record

from ..engine.bench import REPRORUN, Bench, Done, User
from .base import Fault

SCRIPT = """\
import os, sys
print("first", flush=True)
open("made.txt", "w").write("made")
open("/log/direct.txt", "w").write("direct")
print("last", file=sys.stderr)
"""
MADE = {"outputs/made.txt": b"made", "direct.txt": b"direct"}
_STRANGE = ("REPRORUN_", "GIT_", "PYTHON", "CUDA_", "XDG_", "UV_")
_TAGS = ("reprorun/run", "reprorun/environment")  # in this order: one is made from the other


class Lab(Bench):
    """A bench whose cache and state nobody else uses.

    Args:
        place: an empty directory.
        address: of the engine; None: the one that DOCKER_HOST names.
    """

    def __init__(self, place: Path, address: str | None = None) -> None:
        self.place = place
        self.cache, self.state = place / "cache", place / "state"
        for name in ("project", "records", "cache", "state", "tmp"):
            (place / name).mkdir()
        super().__init__(place / "project", place / "records", _variables(place), set())
        self.address = address
        self.through = ""  # path to the root of the mount namespace that commands run in
        if address:
            self.env["DOCKER_HOST"] = address

    def script(self, text: str = SCRIPT) -> None:
        """Commit a launcher `train.py`; a mark in it makes its image unlike all others."""
        self.write({"train.py": f"{text}\n# {uuid.uuid4()}\n"})
        self.commit()

    def as_user(self, *prefix: str) -> None:
        """Put words before each command, such as those of nsenter."""
        self.user = User(prefix, os.getuid(), os.getgid())

    def log_dir(self) -> Path:
        """A log directory that is not there yet."""
        return self.records / f"run-{uuid.uuid4().hex[:8]}"

    def run(self, *flags: str, log_dir: Path | None = None, program: Sequence[str] = ()) -> Done:
        """`reprorun exec FLAGS... train.py`."""
        options = {"program": program} if program else {}
        return self.exec("train.py", flags=flags, log_dir=log_dir or self.log_dir(), **options)

    def start_words(self, *words: str, program: str = REPRORUN) -> subprocess.Popen[bytes]:
        """Start `reprorun WORDS...`."""
        return subprocess.Popen(
            [*self.user.prefix, program, *words],
            cwd=self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def client(self) -> docker.DockerClient:
        """The engine, asked without reprorun."""
        if self.address:
            return docker.DockerClient(base_url=self.address)
        return docker.from_env()

    @property
    def held(self) -> Path:
        """Where it stands what is under way."""
        return self.state / "reprorun/held"

    def seen(self, path: Path) -> Path:
        """A path as it is seen from here."""
        return Path(f"{self.through}{path}")

    def log_dirs(self) -> list[Path]:
        """The log directories of all records, as they are seen from here."""
        places = [self.seen(self.records), self.seen(self.root)]
        return sorted(path.parent for place in places for path in place.rglob(store.RUN_FILE))

    def ids(self) -> set[str]:
        """Of all runs that were begun here, whether they have a record or not."""
        known = self.state / "reprorun/records"
        noted = {path.name for path in known.iterdir()} if known.is_dir() else set()
        held = {path.name for path in self.held.iterdir()} if self.held.is_dir() else set()
        return noted | held | {record.id for record in map(record_of, self.log_dirs()) if record}


def _variables(place: Path) -> dict[str, str]:
    env = {n: value for n, value in os.environ.items() if not n.startswith(_STRANGE)}
    for name in ("CI", "NO_COLOR", "FORCE_COLOR"):
        env.pop(name, None)
    return {
        **env,
        "GIT_CONFIG_NOSYSTEM": "1",
        "UV_CACHE_DIR": str(place / "uv"),
        "XDG_CACHE_HOME": str(place / "cache"),
        "XDG_STATE_HOME": str(place / "state"),
        "TMPDIR": str(place / "tmp"),
    }


@contextmanager
def lab(place: Path, address: str | None = None) -> Iterator[Lab]:
    """A lab that is cleared in the end."""
    made = Lab(place, address)
    with cleared(made):
        yield made


@contextmanager
def cleared(made: Lab) -> Iterator[None]:
    """In the end nothing of what was made in a lab is left on the engine."""
    client = made.client()
    before = {tag for image in client.api.images() for tag in image["RepoTags"] or ()}
    try:
        yield
    finally:
        try:
            _clear(made, client, before)
        finally:
            client.close()


def _clear(made: Lab, client: docker.DockerClient, before: set[str]) -> None:
    for container in containers_of(made, client):
        container.remove(force=True)
    records = [record for record in map(record_of, made.log_dirs()) if record]
    runs = {record.image for record in records} | _images_of(made, client)
    digests = {record.environment_digest.removeprefix("sha256:")[:24] for record in records}
    for tags in (runs, {f"reprorun/environment:{digest}" for digest in digests}):
        for tag in sorted(tags - before - {""}):
            with suppress(docker.errors.ImageNotFound, docker.errors.APIError):
                client.images.remove(tag)  # one that others have begun to use stays


def _images_of(made: Lab, client: docker.DockerClient) -> set[str]:
    """Images of runs whose records are gone, as those on a disk that was unmounted."""
    label = "org.opencontainers.image.revision"
    found: set[str] = set()
    for image in client.api.images():  # not as objects: other tests may be removing theirs
        commit = (image["Labels"] or {}).get(label, "").removesuffix("-dirty")
        if commit in made.commits and image["Labels"].get("reprorun.kind") == "run":
            found.update(image["RepoTags"] or ())
    return found


def containers_of(made: Lab, client: docker.DockerClient) -> list[Any]:
    """The containers of the lab's runs, running or not."""
    found: list[Any] = []
    for identity in made.ids():
        wanted = {"label": f"reprorun.run={identity}"}
        found += client.containers.list(all=True, filters=wanted, ignore_removed=True)
    return found


def fault(
    name: str, what: str, *, short: bool = False
) -> Callable[[Callable[[Lab], Iterator[str]]], Fault]:
    """Make a fault of a function that injects it in a lab, and yields what is lost or false."""

    def decorate(function: Callable[[Lab], Iterator[str]]) -> Fault:
        def inject(work: Path) -> list[str]:
            with lab(work) as made:
                return list(function(made))

        return Fault(name=name, what=what, inject=inject, short=short)

    return decorate


def record_of(log_dir: Path) -> Record | None:
    """The record, if it can be read."""
    try:
        return store.read_record(str(log_dir))
    except RecordError:
        return None
