"""The real engine: it has to be there, one cache serves all tests, and nothing of theirs stays."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest

from ..kit import BASE
from .bench import (
    CHECKOUT,
    CLI_BASE,
    Bench,
    chown_all,
    client,
    engine_address,
    images_of,
    ordinary_user,
    socket_path,
)

_ENVIRONMENT = "reprorun/environment"
OWN_REPOSITORIES = (_ENVIRONMENT, "reprorun/run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.engine)


class Session:
    """What the tests share: an environment of variables, and the places where they make records."""

    def __init__(self, cache: Path) -> None:
        self.env = _clean_variables(cache)
        self.places: list[Path] = []
        self.commits: set[str] = set()

    def records(self) -> Iterator[dict[str, object]]:
        """Every record that the tests have made."""
        for place in self.places:
            for path in place.rglob("run.json"):
                try:
                    yield json.loads(path.read_bytes())
                except (OSError, ValueError):
                    continue  # a test damaged it


def _clean_variables(cache: Path) -> dict[str, str]:
    """The user's variables without what would change a run; packages come from uv's own cache."""
    strange = ("REPRORUN_", "GIT_", "PYTHON", "CUDA_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    for name in ("CI", "NO_COLOR", "FORCE_COLOR"):
        env.pop(name, None)
    wheels = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"
    return {
        "UV_CACHE_DIR": str(wheels),
        **env,
        "GIT_CONFIG_NOSYSTEM": "1",
        "XDG_CACHE_HOME": str(cache),
        "XDG_STATE_HOME": str(cache / "state"),
    }


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The session; afterwards images and containers are gone that it has made."""
    _require_engine()
    with client() as engine:
        try:
            engine.images.get(BASE)
        except docker.errors.ImageNotFound:
            pytest.fail(f"the engine at {engine_address()} has no {BASE}: see scripts/base-image")
        before = _own_tags(engine)
        made = Session(tmp_path_factory.mktemp("cache"))
        with _last_one_out(tmp_path_factory) as tags:
            yield made
            left = _remove_containers(engine, made)
            tags.update(_tags_of(engine, made) - before)
        _remove_images(engine, tags)
        assert not left, f"containers were left behind by {left}"


def _require_engine() -> None:
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.connect(str(socket_path()))
        except OSError as error:
            pytest.fail(f"no engine answers at {engine_address()}: {error}")


def _own_tags(engine: docker.DockerClient) -> set[str]:
    images = [image for name in OWN_REPOSITORIES for image in engine.api.images(name)]
    return {tag for image in images for tag in image["RepoTags"] or ()}


@contextmanager
def _last_one_out(factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """A set of images' names; afterwards it is empty, or holds those of all workers in the last.

    Workers use each other's images: none is to be taken from the engine while another one is at it.
    """
    tags: set[str] = set()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield tags
        return
    shared = factory.getbasetemp().parent
    with (shared / "workers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield tags
        (shared / f"tags-{uuid.uuid4().hex}.json").write_text(json.dumps(sorted(tags)))
        tags.clear()
        fcntl.flock(lock, fcntl.LOCK_UN)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tags.update(*(json.loads(path.read_text()) for path in shared.glob("tags-*.json")))


def _remove_containers(engine: docker.DockerClient, made: Session) -> dict[str, object]:
    """Name -> what it ran, of those that should not be there.

    Other sessions may be at work on the same engine: what is removed has to be known as ours.
    """
    left = {}
    for record in made.records():
        wanted = {"label": f"reprorun.run={record['id']}"}
        for container in engine.containers.list(all=True, filters=wanted):
            left[container.name] = record["argv"]
            container.remove(force=True)
    return left


def _tags_of(engine: docker.DockerClient, made: Session) -> set[str]:
    records = list(made.records())
    runs = {str(record["image"]) for record in records} | _images_of(engine, made.commits)
    digests = {str(record["environment_digest"]).removeprefix("sha256:") for record in records}
    return (runs | {f"{_ENVIRONMENT}:{digest[:24]}" for digest in digests}) & _own_tags(engine)


def _remove_images(engine: docker.DockerClient, tags: set[str]) -> None:
    """Those of runs first: they are made from environments."""
    for tag in sorted(tags, key=lambda tag: tag.startswith(_ENVIRONMENT)):
        with suppress(docker.errors.ImageNotFound):  # both workers may name it
            engine.images.remove(tag, force=True)


def _images_of(engine: docker.DockerClient, commits: set[str]) -> set[str]:
    """Images of runs whose records are gone, as those on a disk that was unmounted."""
    name = "org.opencontainers.image.revision"
    images = images_of(engine, "reprorun/run")
    ours = [i for i in images if i.labels.get(name, "").removesuffix("-dirty") in commits]
    return {tag for image in ours for tag in image.tags}


@pytest.fixture
def bench(session: Session, tmp_path: Path) -> Bench:
    """An empty directory to make a repository of."""
    session.places.append(tmp_path)
    return _bench(session, tmp_path)


@pytest.fixture
def user_bench(session: Session) -> Iterator[Bench]:
    """The same for somebody who is not root, with a home and a cache of their own."""
    place = Path(tempfile.mkdtemp(prefix="reprorun-test-"))
    user = ordinary_user(may_use_engine=True)
    try:
        place.chmod(0o755)
        made = _bench(session, place)
        made.user = user
        homes = {"HOME": "home", "XDG_CACHE_HOME": "cache", "XDG_STATE_HOME": "state"}
        for variable, name in homes.items():
            (place / name).mkdir()
            made.env[variable] = str(place / name)
        chown_all(place, user)
        yield made
        _keep_identities(session, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _keep_identities(session: Session, place: Path) -> None:
    """The records go with the directory; what they say about the engine is needed at the end."""
    kept = Path(session.env["XDG_CACHE_HOME"]) / "records" / place.name
    for number, path in enumerate(sorted(place.rglob("run.json"))):
        (kept / str(number)).mkdir(parents=True)
        shutil.copy(path, kept / str(number))
    session.places.append(kept)


def _bench(session: Session, place: Path) -> Bench:
    root, records = place / "project", place / "records"
    root.mkdir()
    records.mkdir()
    return Bench(root, records, session.env, session.commits)


@pytest.fixture(scope="session")
def own_image(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Built as CONTRIBUTING.md says, in a copy of the checkout."""
    copy = tmp_path_factory.mktemp("checkout") / "reprorun"
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-zco", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, copy / name)
    tag = f"reprorun-test/own:{uuid.uuid4().hex[:12]}"
    command = [str(copy / "scripts/image"), "--base", CLI_BASE, "--tag", tag]
    env = {**session.env, "PYTHON": sys.executable}
    with client() as engine:
        before = {image.id for image in images_of(engine, dangling=True)}
        try:
            done = subprocess.run(command, cwd=copy, env=env, capture_output=True, check=False)
            assert done.returncode == 0, (done.stdout + done.stderr).decode()
            assert done.stdout.decode().splitlines()[-1] == tag
            yield tag
        finally:
            if engine.images.list(tag):
                engine.images.remove(tag, force=True)
            for image in images_of(engine, dangling=True):
                if image.id not in before and "/opt/reprorun" in str(image.history()):
                    engine.images.remove(image.id, force=True)
