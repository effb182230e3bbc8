"""Kills the command at its steps, lets `reprorun recover` clean up, and looks whether all is true.

    python -m tests.faults [--kills N] [--json] [COMMAND]...

A step is a call that changes something: of the engine, of a record, of a file's name. Each is found
by wrapping the call, and the process kills itself (SIGKILL) just before or just after it. The
product knows nothing of this. Prints a line a command: kills, runs lost, things that were false.

Lost is a run that had begun and whose record says in the end that nobody knows how it went. False
is whatever contradicts the record, or is left behind and belongs to nobody.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import docker

import reprorun.cli
from reprorun import held, store
from reprorun.engine.docker import DockerEngine
from reprorun.files import is_unfinished
from reprorun.model import Record

from .kit import BASE

SCRIPT = """\
import sys
sys.stdout.write("first\\n")
open("made.txt", "w").write("made")
open("/log/direct.txt", "w").write("direct")
sys.stderr.write("last\\n")
"""
OUTPUTS = {"outputs/made.txt": b"made", "direct.txt": b"direct"}
ENGINE_CALLS = (
    *("create", "start", "attach", "wait", "remove", "make", "build", "save", "load_image"),
    *("copy_out", "changes", "remove_image"),
)
FILE_CALLS = ("replace", "rename", "unlink", "mkdir", "rmdir", "fsync")
COMMANDS = ("exec", "rerun", "check", "pack", "sweep")


TOLD: dict[str, Callable[..., str]] = {
    "create": lambda _, spec: str(spec.name),
    "start": lambda _, container: str(container[:12]),
}


class Tried(NamedTuple):
    """One kill, and what came of it."""

    command: str
    step: int
    at: str
    lost: tuple[str, ...] = ()
    false: tuple[str, ...] = ()


# ---------------------------------------------------------------- in the process that is killed


class Steps:
    """Counts steps in a file that outlives the process, and ends it at one of them."""

    def __init__(self, log: Path, kill_at: int | None) -> None:
        self._file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
        self._kill_at = kill_at
        self._count = 0

    def take(self, name: str) -> None:
        """One step is taken."""
        self._count += 1
        os.write(self._file, f"{name}\n".encode())
        if self._count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: Any, name: str, tell: Callable[..., str] = lambda *_, **__: "") -> None:
        """Let calls of a function be two steps each."""
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            title = f"{name} {tell(*args, **kwargs)}".strip()
            self.take(f"before {title}")
            result = original(*args, **kwargs)
            self.take(f"after {title} {result[:12] if name == 'create' else ''}".strip())
            return result

        setattr(owner, name, call)


def instrument(log: Path, kill_at: int | None) -> None:
    """Make steps of what changes something."""
    steps = Steps(log, kill_at)
    for name in ENGINE_CALLS:
        steps.wrap(DockerEngine, name, TOLD.get(name, lambda *_, **__: ""))
    steps.wrap(store, "write_record", lambda _, record: record.status)
    for name in ("tell", "end", "let_go"):
        steps.wrap(held.Hold, name)
    for name in FILE_CALLS:
        steps.wrap(os, name)


def in_a_child(work: Callable[[], int], output: Path) -> int:
    """Do something in a process of its own; its exit code, negative when a signal ended it."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            target = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(target, 1)
            os.dup2(target, 2)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ---------------------------------------------------------------- the place


class Place:
    """A repository, a cache and a state of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        self.steps = root / "steps"
        self.said = root / "said"
        self.held = root / "state/reprorun/held"
        self.images: set[str] = set()
        for name in ("project", "cache", "state", "tmp"):
            (root / name).mkdir()
        os.environ.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache/uv"))
        os.environ.update(
            XDG_CACHE_HOME=str(root / "cache"),
            XDG_STATE_HOME=str(root / "state"),
            TMPDIR=str(root / "tmp"),
            REPRORUN_BASE_IMAGE=BASE,
        )
        tempfile.tempdir = None
        os.chdir(self.project)
        self.change(0)
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "first")):
            who = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
            subprocess.run(["git", *who, *words], check=True)
        assert self.run("exec", "--log-dir", "original", "train.py") == 0, self.said.read_text()
        self.original = digest_of(self.project / "original")
        self.note_images()

    def change(self, number: int) -> None:
        """Make other code, so that there is an image to be made."""
        (self.project / "train.py").write_text(f"{SCRIPT}# {number}\n")

    def run(self, *words: str, kill_at: int | None = None, steps: bool = False) -> int:
        """Run the command in a child."""

        def work() -> int:
            if steps or kill_at:
                instrument(self.steps, kill_at)
            return reprorun.cli.run(words)

        return in_a_child(work, self.said)

    def note_images(self) -> None:
        """Remember which images records name, to be removed in the end."""
        for path in self.project.rglob(store.RUN_FILE):
            with suppress(Exception):
                record = store.read_record(str(path.parent))
                self.images |= {record.image, environment_of(record)} - {""}

    def clear(self) -> None:
        """Make it as it was before a kill."""
        self.note_images()
        for path in self.root.rglob(".reprorun-*.tmp"):
            path.unlink()
        for path in self.held.iterdir():
            path.unlink()
        shutil.rmtree(self.project / "data", ignore_errors=True)
        for pack in self.project.glob("*.rrpack"):
            pack.unlink()


def environment_of(record: Record) -> str:
    digest = record.environment_digest.removeprefix("sha256:")
    return f"reprorun/environment:{digest[:24]}" if digest else ""


def digest_of(directory: Path) -> str:
    """Of all that is in a directory."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- one kill


def words_of(command: str) -> tuple[str, ...]:
    """The command line that is killed."""
    if command == "exec":
        return ("exec", "train.py")
    if command == "pack":
        return ("pack", "original", "-o", "original.rrpack")
    if command == "sweep":
        return ("sweep", "train.py", "--grid", "n=0,1", "-j", "2", "-q", "--", "{n}")
    return (command, "original")


def prepare(place: Place, command: str, number: int) -> None:
    """Let as much as can be done anew: the code's image, and what is asked of the base image."""
    if command in ("exec", "sweep"):
        place.change(number)
    if number % 2 == 0:
        shutil.rmtree(place.root / "cache/reprorun/bases", ignore_errors=True)


def count_steps(place: Place, command: str) -> int:
    """How many steps a command takes when nobody kills it."""
    prepare(place, command, 1_000_000)
    code = place.run(*words_of(command), steps=True)
    assert code == 0, place.said.read_text()
    place.clear()
    return len(place.steps.read_text().splitlines())


def kill(place: Place, command: str, step: int) -> Tried:
    """Kill it at a step, recover, and look."""
    prepare(place, command, step)
    ended = place.run(*words_of(command), kill_at=step)
    taken = place.steps.read_text().splitlines()
    printed = place.said.read_text().strip()
    recovered = place.run("recover")
    said = place.said.read_text()
    lost, false = [], []
    if ended not in (0, -signal.SIGKILL):
        false.append(f"the command ended with {ended}: {printed[-500:]}")
    if recovered not in (0, 1) or "Traceback" in said:
        false.append(f"recover ended with {recovered}: {said.strip()[-300:]}")
    for path in sorted(place.project.rglob(store.RUN_FILE)):
        record = store.read_record(str(path.parent))
        if record.status == "lost" and has_begun(record, taken):
            lost.append(f"{path.parent.name}: {record.reason}")
        false += false_in(path.parent, record)
    false += left_behind(place, taken)
    if digest_of(place.project / "original") != place.original:
        false.append("the original was changed")
    place.clear()
    return Tried(command, step, taken[-1] if taken else "", tuple(lost), tuple(false))


def has_begun(record: Record, taken: Sequence[str]) -> bool:
    """Whether the run's container was started."""
    created = f"after create reprorun-{record.id} "
    containers = [line[len(created) :] for line in taken if line.startswith(created)]
    return any(f"after start {container}" in taken for container in containers)


def false_in(log_dir: Path, record: Record) -> Iterator[str]:
    """What a record says that is not so."""
    where = f"{log_dir.name} ({record.status})"
    if record.status not in ("finished", "lost"):
        yield f"{where}: {record.reason}"
    there = {str(p.relative_to(log_dir)): p for p in log_dir.rglob("*") if p.is_file()}
    outputs = {name: p.read_bytes() for name, p in there.items() if name not in store.OURS}
    listed = {each.path: (each.size, each.sha256) for each in record.outputs}
    if listed != {n: (len(d), hashlib.sha256(d).hexdigest()) for n, d in outputs.items()}:
        yield f"{where}: lists {sorted(listed)}, has {sorted(outputs)}"
    if record.status == "lost":
        if record.exit_code is not None or not record.reason:
            yield f"{where}: exit code {record.exit_code}, {record.reason}"
        return
    if (record.exit_code, record.reason) != (0, None):
        yield f"{where}: exit code {record.exit_code}, {record.reason}"
    if outputs != OUTPUTS:
        yield f"{where}: made {sorted(outputs)}"
    if sorted((log_dir / store.CONSOLE_FILE).read_bytes().split()) != [b"first", b"last"]:
        yield f"{where}: printed {(log_dir / store.CONSOLE_FILE).read_bytes()!r}"
    missing = store.OURS - store.PAYLOADS - set(there)
    if missing:
        yield f"{where}: no {sorted(missing)}"
    if not (record.started and record.ended and record.seconds and record.peak_memory):
        yield f"{where}: {record.started} {record.ended} {record.seconds} {record.peak_memory}"
    elif not record.created <= record.started <= record.ended:
        yield f"{where}: {record.created}, {record.started}, {record.ended}"
    if not record.host.node:
        yield f"{where}: no host"


def left_behind(place: Place, taken: Sequence[str]) -> Iterator[str]:
    """What is there and belongs to nobody."""
    client = docker.from_env()
    try:
        names = {line.split(" ")[2] for line in taken if " create " in line}
        for container in client.api.containers(all=True):  # others come and go meanwhile
            yield from names.intersection(name.lstrip("/") for name in container["Names"])
    finally:
        client.close()
    for path in place.root.rglob("*"):
        if is_unfinished(path.name) or path.name.startswith("reprorun-scratch-"):
            yield str(path.relative_to(place.root))
    for path in place.held.iterdir():
        yield str(path.relative_to(place.root))
    for path in place.project.glob("data/local/*/*"):
        if not ((path / store.RUN_FILE).exists() or (path / "sweep.json").exists()):
            yield f"{path.relative_to(place.root)} without a record"
    for path in place.project.glob("*.rrpack"):
        if zipfile.ZipFile(path).testzip() is not None:
            yield f"half a pack: {path.name}"


# ---------------------------------------------------------------- all of them


def chosen(total: int, kills: int) -> list[int]:
    """Steps, spread over all that there are."""
    return sorted({1 + round(n * (total - 1) / max(1, kills - 1)) for n in range(kills)})


def run_all(place: Place, commands: Sequence[str], kills: int) -> Iterator[Tried]:
    """Kill each command at its share of steps."""
    for number, command in enumerate(commands):
        share = kills // len(commands) + (number < kills % len(commands))
        for step in chosen(count_steps(place, command), share):
            yield kill(place, command, step)


def remove_images(images: set[str]) -> None:
    client = docker.from_env()
    try:
        for prefix in ("reprorun/run", "reprorun/environment"):  # one is made from the other
            for tag in sorted(images):
                if tag.startswith(prefix):
                    with suppress(docker.errors.APIError):
                        client.images.remove(tag)
    finally:
        client.close()


def table(tried: Sequence[Tried]) -> str:
    """A line a command."""
    lines = [f"{'command':<10} {'kills':>6} {'lost':>6} {'false':>6}"]
    names = list(dict.fromkeys(each.command for each in tried))
    for name in (*names, "all"):
        of_it = [each for each in tried if name in ("all", each.command)]
        lost, false = sum(bool(e.lost) for e in of_it), sum(bool(e.false) for e in of_it)
        lines.append(f"{name:<10} {len(of_it):>6} {lost:>6} {false:>6}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=220)
    parser.add_argument("--json", action="store_true", help="print each kill as a line of JSON")
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=", ".join(COMMANDS))
    given = parser.parse_args()
    tried = []
    with tempfile.TemporaryDirectory(prefix="reprorun-faults-") as made:
        place = Place(Path(made).resolve())
        try:
            for each in run_all(place, given.commands or COMMANDS, given.kills):
                tried.append(each)
                if given.json:
                    print(json.dumps(each._asdict()), flush=True)
                elif each.lost or each.false:
                    print(f"{each.command} at {each.step} ({each.at}): {each.lost} {each.false}")
        finally:
            os.chdir("/")
            place.note_images()
            remove_images(place.images)
    if not given.json:
        print(table(tried))
    return int(any(each.lost or each.false for each in tried))


if __name__ == "__main__":
    sys.exit(main())
