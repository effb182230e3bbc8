"""Running the command as a user does, in a git repository of the test's own, on the real engine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import docker

from reprorun import store
from reprorun.model import Record

from ..kit import BASE

CHECKOUT = Path(__file__).parents[2]
PROJECTS = CHECKOUT / "tests/projects"
REPRORUN = str(Path(sys.executable).with_name("reprorun"))
OLD_BASE = os.environ.get("REPRORUN_TEST_BASE_OLD", "reprorun-base:3.9")
CLI_BASE = os.environ.get("REPRORUN_TEST_BASE_CLI", "reprorun-base:cli")
PATIENCE = 120  # seconds that one command may take

_GIT_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "Test"),
        ("EMAIL", "test@example.invalid"),
        ("DATE", "2024-01-01T00:00:00Z"),  # equal files make an equal commit, and an equal image
    )
}


class Done(NamedTuple):
    """A command that has ended, and where its record would be."""

    code: int
    out: str
    err: str
    log_dir: Path

    @property
    def record(self) -> Record:
        return store.read_record(str(self.log_dir))

    @property
    def console(self) -> bytes:
        return (self.log_dir / store.CONSOLE_FILE).read_bytes()

    def said(self) -> Any:
        """What a script printed as JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out)


class User(NamedTuple):
    """Who runs the command: words that go before it, and the ids that files then have."""

    prefix: tuple[str, ...]
    uid: int
    gid: int


class Bench:
    """Runs commands in a directory, with the session's cache and the test's base image."""

    def __init__(
        self, root: Path, records: Path, env: Mapping[str, str], commits: set[str]
    ) -> None:
        self.root = root
        self.records = records
        self.commits = commits  # of all tests: images are labelled with them
        self.env = {**env, "REPRORUN_BASE_IMAGE": BASE}
        self.user = User((), os.getuid(), os.getgid())

    # ------------------------------------------------------------ files

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files below the root."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def take(self, *names: str) -> None:
        """Copy projects of tests/projects into the root."""
        for name in names:
            shutil.copytree(
                PROJECTS / name,
                self.root,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )

    def git(self, *arguments: str) -> str:
        """Run git with an identity of its own."""
        return subprocess.run(
            ["git", "-c", "safe.directory=*", *arguments],  # it may be another user's
            cwd=self.root,
            env={**self.env, **_GIT_IDENTITY},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def commit(self) -> None:
        """Make the root a repository with all its files committed."""
        if not (self.root / ".git").exists():
            self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "first")
        self.commits.add(self.git("rev-parse", "HEAD"))
        chown_all(self.root, self.user)

    # ------------------------------------------------------------ commands

    def reprorun(
        self,
        *words: str,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        log_dir: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        program: Sequence[str] = (REPRORUN,),
    ) -> Done:
        """Run `reprorun WORDS...` to its end."""
        done = subprocess.run(
            [*self.user.prefix, *program, *words],
            cwd=self.root / cwd,
            env={**self.env, **(env or {})},
            stdin=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        out, err = (text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr))
        return Done(done.returncode, out, err, log_dir or self.root)

    def exec(
        self,
        script: str,
        *args: str,
        flags: Sequence[str] = (),
        log_dir: Path | str | None = None,
        **options: Any,
    ) -> Done:
        """Run `reprorun exec FLAGS... SCRIPT ARGS...`.

        Args:
            log_dir: a path of the test's own; text is where the command should log by itself,
                relative to the root.
        """
        if isinstance(log_dir, str):
            return self.reprorun(
                "exec", *flags, script, *args, log_dir=self.root / log_dir, **options
            )
        log_dir = log_dir or self.new_log_dir()
        words = ["exec", "--log-dir", str(log_dir), *flags, script, *args]
        return self.reprorun(*words, log_dir=log_dir, **options)

    def start(self, script: str, *flags: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start `reprorun exec FLAGS... SCRIPT`; the process, and where its record will be."""
        log_dir = self.new_log_dir()
        process = subprocess.Popen(
            [*self.user.prefix, REPRORUN, "exec", "--log-dir", str(log_dir), *flags, script],
            cwd=self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return process, log_dir

    def python(self, *words: str, cwd: str = ".", **env: str) -> Done:
        """Run the interpreter of the tests, without reprorun's command in between."""
        return self.reprorun(*words, cwd=cwd, env=env, program=(sys.executable,))

    def new_log_dir(self) -> Path:
        """A log directory that no run has used."""
        number = len(list(self.records.iterdir()))
        path = self.records / f"run-{number}"
        path.mkdir()
        if os.getuid() == 0:
            os.chown(path, self.user.uid, self.user.gid)
        return path


# ---------------------------------------------------------------- users

_STRANGER = 1234


def ordinary_user(*, may_use_engine: bool) -> User:
    """Somebody else than root: made up where the tests run as root, else whoever runs them.

    Args:
        may_use_engine: whether they are in the group that the engine's socket belongs to.
    """
    if os.getuid() != 0:
        return User((), os.getuid(), os.getgid())
    groups = f"--groups={socket_path().stat().st_gid}" if may_use_engine else "--clear-groups"
    words = ["setpriv", f"--reuid={_STRANGER}", f"--regid={_STRANGER}", groups]
    if not (_open_to_all(Path(sys.executable)) and _open_to_all(CHECKOUT / "reprorun")):
        # the interpreter or the checkout lies in root's home: let them be read, nothing more
        words += [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    return User((*words, "--"), _STRANGER, _STRANGER)


def _open_to_all(path: Path) -> bool:
    places = [*path.parents, *path.resolve().parents]
    return all(place.stat().st_mode & stat.S_IXOTH for place in places)


def chown_all(directory: Path, user: User) -> None:
    """Give everything to that user."""
    if os.getuid() != 0:
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


# ---------------------------------------------------------------- the engine


def engine_address() -> str:
    """Where the tests' engine answers."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def socket_path() -> Path:
    """The engine's socket."""
    kind, _, path = engine_address().partition("://")
    assert kind == "unix", "the tests need an engine on this machine"
    return Path(path)


@contextmanager
def client() -> Iterator[docker.DockerClient]:
    """The engine, asked without reprorun."""
    found = docker.from_env()
    try:
        yield found
    finally:
        found.close()


def images_of(engine: docker.DockerClient, name: str | None = None, **filters: Any) -> list[Any]:
    """What `engine.images.list` gives; that fails where one goes while it is looked at."""
    found = []
    for listed in engine.api.images(name, filters=filters):
        with suppress(docker.errors.ImageNotFound):
            found.append(engine.images.get(listed["Id"]))
    return found


def containers_of(run_id: str) -> list[Any]:
    """The containers of a run, running or not."""
    with client() as engine:
        wanted = {"label": f"reprorun.run={run_id}"}
        return list(engine.containers.list(all=True, filters=wanted))


# ---------------------------------------------------------------- looking at results


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def one_message(text: str) -> str:
    """The message of a command that refused: `reprorun: error:`, one or two lines, no traceback."""
    assert "Traceback" not in text, text
    _, marker, message = text.rpartition("reprorun: error: ")
    assert marker, text
    assert 0 < len(message.strip().splitlines()) <= 2, text
    return message.strip()
