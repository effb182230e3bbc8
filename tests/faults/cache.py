"""The cache: shared by processes of which one is killed, and with files that were damaged.

Whatever is wrong with a file of it, a run either is as it would be without, or ends with an error
that names the file; nothing damaged is ever used.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from reprorun import record_index, store
from reprorun.model import Record

from ..engine.bench import Done
from .base import Fault
from .lab import Lab, fault, record_of
from .looking import ended_badly, false_after, left_by, message, unfinished
from .names import ends
from .packages import forget_images, offered

KINDS = {
    "wheel": ("wheels/*/*/*.whl", "layers"),  # the second: what has to be gone for it to be read
    "layer": ("layers/*.tar", ""),
    "layer-note": ("layers/*[0-9a-f]", ""),
    "lock": ("locks/*.json", ""),
    "base": ("bases/*.json", ""),
    "dockerfile": ("dockerfiles/*", ""),
    "archive": ("archives/*.tar.xz", ""),
    "archive-state": ("archives/*.state", ""),
    "tree": ("archives/*.tree", ""),
}
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")

Damage = Callable[[Path], None]


def flipped(where: float) -> Damage:
    """Flip a bit, at a part of its length."""

    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[min(int(len(data) * where), len(data) - 1)] ^= 0x04
        path.write_bytes(data)

    return damage


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def replaced(path: Path) -> None:
    """By a directory that holds something."""
    path.unlink()
    path.mkdir()
    (path / "something").write_text("else")


def unreadable(path: Path) -> None:
    path.chmod(0)


DAMAGES: Mapping[str, Damage] = {
    **{f"a bit flipped at {where:.0%}": flipped(where) for where in (0, 0.4, 1)},
    "truncated": truncated,
    "empty": emptied,
    "replaced by a directory": replaced,
    "unreadable": unreadable,
}


def damaged(kind: str) -> Fault:
    """Damage files of a kind, in each way, and run what needs them."""

    @fault(f"damaged-{kind}", f"a file of the cache is damaged: {kind}")
    def inject(made: Lab) -> Iterator[str]:
        with offered(made):
            time.sleep(2.1)  # until an archive is kept
            first = made.run()
            yield from unfinished(made, first, {})
            expected = record_of(first.log_dir)
            assert expected is not None
            for name, damage in DAMAGES.items():
                yield from (
                    f"{name}: {each}" for each in _after_damage(made, kind, damage, expected)
                )

    return inject


def _after_damage(made: Lab, kind: str, damage: Damage, expected: Record) -> Iterator[str]:
    pattern, gone = KINDS[kind]
    cache = made.cache / "reprorun"
    forget_images(made)
    if kind == "archive":  # earlier records of the same code have the same file
        for log_dir in made.log_dirs():
            shutil.rmtree(log_dir)
    paths = sorted(cache.glob(pattern))
    if not paths:  # what was damaged last was not needed after all
        yield from unfinished(made, made.run(), {})
        forget_images(made)
        paths = sorted(cache.glob(pattern))
    if not paths:
        raise LookupError(f"the cache has no file {pattern}: there is nothing to damage")
    if gone:
        shutil.rmtree(cache / gone)
    for path in paths:
        damage(path)
    if os.getuid() == 0:
        made.as_user(*UNPRIVILEGED)
    done = made.run()
    made.as_user()
    yield from ended_badly(done)
    if done.code == 0:
        yield from unfinished(made, done, {})
        yield from _another(done, expected)
    elif not any(str(path.parent) in message(done) for path in paths):
        yield f"it ended with {done.code}, and names no file: {message(done)}"
    _mend(paths)
    yield from false_after(made, done)
    if done.code != 0:
        after = made.run()
        yield from unfinished(made, after, {})
        yield from _another(after, expected)


def _another(done: Done, expected: Record) -> Iterator[str]:
    """What a run was made of that is not what it should be."""
    record = record_of(done.log_dir)
    if record is None:
        return
    for name in ("environment_digest", "image", "packages", "base_image"):
        if getattr(record, name) != getattr(expected, name):
            yield f"its {name} is {getattr(record, name)}, not {getattr(expected, name)}"
    if record.archive != expected.archive:
        yield f"its archive is {record.archive}, not {expected.archive}"
    if done.out != "1.0\n":
        yield f"it printed {done.out!r}"


def _mend(paths: list[Path]) -> None:
    """Remove what the user was told to remove."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.chmod(0o644)


@fault("shared", "ten processes fill one empty cache, and one of them is killed")
def shared(made: Lab) -> Iterator[str]:
    with offered(made, size=4 << 20, pause=0.02) as served:
        processes = [made.start_words("exec", "--name", "same", "train.py") for _ in range(10)]
        _wait_for(lambda: any(map(_fetches, processes)))
        fetching = next(process for process in processes if _fetches(process))
        fetching.kill()
        for code, err in ends(processes):
            if code not in (0, -signal.SIGKILL):
                yield f"ended with {code}: {err.strip()[-300:]}"
        recovered = made.reprorun("recover")
        if recovered.code not in (0, 1):  # 1: the one that was killed is lost
            yield f"recover ended with {recovered.code}: {recovered.err}"
        records = {path: record_of(path) for path in made.log_dirs()}
        finished = [r for r in records.values() if r and r.status == "finished"]
        if len(finished) != 9:
            yield f"the records are {[r and r.status for r in records.values()]}"
        if len({r.environment_digest for r in finished}) != 1:
            yield "they ran in different environments"
        (wheel,) = (made.cache / "reprorun/wheels").glob("*/*/*.whl")
        if wheel.read_bytes() != served.data:
            yield "the wheel in the cache is another"
        yield from left_by(made)


@fault("killed-fetch", "a process that fetches a package is killed", short=True)
def killed_fetch(made: Lab) -> Iterator[str]:
    with offered(made, size=1 << 20, pause=0.05):
        process = made.start_words("exec", "--log-dir", str(made.log_dir()), "train.py")
        _wait_for(lambda: _fetches(process))
        process.kill()
        ends([process])
        done = made.run()
        yield from unfinished(made, done, {})
        yield from false_after(made, done)


def _fetches(process: subprocess.Popen[bytes]) -> bool:
    """Whether it is the one that fills the file which the others wait for."""
    try:
        files = os.listdir(f"/proc/{process.pid}/fd")
        paths = [os.readlink(f"/proc/{process.pid}/fd/{name}") for name in files]
    except OSError:  # it has ended, or closed one of them
        return False
    return any(path.endswith("/.partial") for path in paths)


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("nothing is fetched")
        time.sleep(0.01)


@fault("flipped-index", "a bit of what `ls` remembers is flipped")
def flipped_index(made: Lab) -> Iterator[str]:
    made.script("print('x')\n")
    done = made.run()
    yield from unfinished(made, done, {})
    for number in range(record_index.WORTH + 10):
        copy = made.records / f"copy-{number}"
        shutil.copytree(done.log_dir, copy)
        text = (copy / store.RUN_FILE).read_text().replace(done.record.id, f"{number:016x}")
        (copy / store.RUN_FILE).write_text(text)
    time.sleep(2.1)
    words = ("ls", str(made.records))
    whole = [made.reprorun(*words).out for _ in range(2)]
    if whole[0] != whole[1] or whole[0].count("\n") < record_index.WORTH:
        yield f"ls says one thing, and then another: {whole}"
    (path,) = (made.cache / "reprorun/index").iterdir()
    kept = path.read_bytes()
    for name, damage in DAMAGES.items():
        path.write_bytes(kept)
        damage(path)
        if os.getuid() == 0:
            made.as_user(*UNPRIVILEGED)
        listed = made.reprorun(*words)
        made.as_user()
        if (listed.code, listed.out) != (0, whole[0]):
            yield f"{name}: ls ended with {listed.code}, or says something else: {listed.err}"
        _mend([path])


FAULTS: tuple[Fault, ...] = (
    shared,
    killed_fetch,
    flipped_index,
    *(damaged(kind) for kind in KINDS),
)
