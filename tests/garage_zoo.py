"""Records as garage (2020.06 to 2021.03) wrote them, made in real git repositories; and a garage.

    record = make_record(tmp_path, {"train.py": CALLS_ITSELF, "requirements.txt": "garage\\n"})

The recipe is garage's: the two JSON files, then the archive by `git ls-files` and `tar`. The code
of garage itself is not here: `garage_wheel()` is a package of our own that behaves the same where
a re-run can tell the difference.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.packages import make_wheel

GARAGE_VERSION = "2020.6.3"
DAY = "2020-10-05"  # when the records were written, unless said otherwise
_LIMIT = 8 << 20  # bytes of a file that garage did not archive any more

Files = Mapping[str, "str | bytes"]

# ---------------------------------------------------------------- launchers

_TRAIN = '''\
import random

from garage import wrap_experiment
from garage.experiment.deterministic import set_seed


@wrap_experiment
def train(ctxt, seed=1, lr=0.5):
    """Some numbers that follow from the seed."""
    set_seed(seed)
    with open(ctxt.snapshot_dir + "/result.csv", "w") as file:
        for step in range(3):
            file.write("%d,%.6f\\n" % (step, lr * random.random()))
    print("seed %s, lr %s" % (seed, lr))


'''

CALLS_ITSELF = _TRAIN + "train(seed=7)\n"
"""Runs without any argument, and needs no more of garage than the shim has."""

LOOPS = _TRAIN + "for seed in (1, 2):\n    train({'name': 'train_%d' % seed}, seed=seed)\n"
"""Calls its experiment twice."""

MAIN_BLOCK = _TRAIN + "if __name__ == '__main__':\n    train(seed=7)\n"
"""Runs without any argument."""

ARGPARSE = f"""\
import argparse

{_TRAIN}
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    train(seed=parser.parse_args().seed)


main()
"""
"""Wants an argument, which garage did not keep."""

CLICK = """\
import click
from garage import wrap_experiment


@click.command()
@click.option("--seed", type=int, required=True)
@wrap_experiment
def train(ctxt, seed, lr=0.5):
    print("seed %s, lr %s" % (seed, lr))


train()
"""
"""The same with click."""

NEEDS_PARAMETER = _TRAIN.replace("seed=1", "seed") + "train(seed=int(__import__('sys').argv[1]))\n"
"""The function can't be called without parameters."""

WRITES_DATA = _TRAIN + (
    "train(seed=7)\n"
    "import os\n"
    "os.makedirs('data/plots', exist_ok=True)\n"
    "open('data/plots/note.txt', 'w').write('beside')\n"
)
"""Also writes a file of its own beside the log directories."""

NEEDS_GARAGE = "from garage.envs import GymEnv\n" + CALLS_ITSELF
"""Imports what the shim has not."""

NEEDS = {
    "requirements.txt": {"requirements.txt": f"garage=={GARAGE_VERSION}\n"},
    "setup.py": {
        "setup.py": "from setuptools import setup\n"
        f"setup(name='project', version='1', install_requires=['garage=={GARAGE_VERSION}'])\n"
    },
    "environment.yml": {
        "environment.yml": "name: project\ndependencies:\n  - python=3.9\n  - pip\n  - pip:\n"
        f"    - garage=={GARAGE_VERSION}\n"
    },
    "imports": {},
}
"""How projects of the time said what they need: file name -> files."""

# ---------------------------------------------------------------- records


def make_record(
    place: Path,
    files: Files,
    *,
    launcher: str = "train.py",
    name: str = "train",
    variant: Any = None,
    changes: Files | None = None,
    left: Files | None = None,
    day: str = DAY,
    archive: bool = True,
    keep_repository: bool = False,
) -> Path:
    """A log directory as garage left it, away from its repository.

    Args:
        place: an empty directory or one that will be made; gets `record/NAME`, and `project`.
        files: of the repository, committed.
        launcher: relative to the repository's root.
        name: of the log directory.
        variant: what variant.json holds.
        changes: files that are changed or new in the working tree, not committed.
        left: files that the run wrote in its log directory, beside an empty progress.csv.
        day: when the run ended.
        archive: whether there is an archive of the repository.
        keep_repository: whether the repository stays, as `place/project`.
    """
    root = place / "project"
    commit = _commit(root, files)
    _write(root, changes or {})
    log_dir = root / "data/local/experiment" / name
    log_dir.mkdir(parents=True)
    _dump(log_dir / "variant.json", {} if variant is None else variant)
    dirty = bool(_git(root, "status", "--short"))
    metadata = {"githash": f"{commit}-dirty" if dirty else commit, "launcher": launcher}
    _dump(log_dir / "metadata.json", metadata)
    if archive:
        make_archive(root, log_dir)
    _write(log_dir, {"progress.csv": "", "debug.log": "ran\n", **(left or {})})
    set_times(log_dir, day)
    record = place / "record" / name
    shutil.copytree(log_dir, record, symlinks=True)  # with the times
    if not keep_repository:
        shutil.rmtree(root)
    return record


def make_record_outside_git(place: Path, files: Files, *, launcher: str = "train.py") -> Path:
    """What garage left of a run outside git: an absolute launcher, and no archive."""
    record = place / "record"
    record.mkdir(parents=True)
    _write(place / "plain", files)
    _dump(record / "variant.json", {})
    _dump(record / "metadata.json", {"launcher": str(place / "plain" / launcher)})
    set_times(record, DAY)
    return record


def make_archive(root: Path, log_dir: Path) -> None:
    """The launch archive, as garage made it."""
    listing = ("ls-files", "--others", "--exclude-standard", "--cached", "-z")
    listed = subprocess.run(("git", *listing), cwd=root, check=True, capture_output=True).stdout
    names = [name for name in listed.strip().split(b"\0") if _is_archived(root, name)]
    tar = ("tar", "--null", "--files-from", "-", "--xz", "--create", "--file")
    subprocess.run(
        (*tar, str(log_dir / "launch_archive.tar.xz")),
        input=b"\0".join(names),
        cwd=root,
        check=True,
    )


def set_times(directory: Path, day: str) -> None:
    """Give all files in a directory a time on that day; the first by name is the newest."""
    noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=timezone.utc).timestamp()
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    for number, path in enumerate(files):
        os.utime(path, (noon - number, noon - number))


def _is_archived(root: Path, name: bytes) -> bool:
    try:
        return os.stat(os.path.join(os.fsencode(root), name)).st_size < _LIMIT
    except FileNotFoundError:
        return False


def _commit(root: Path, files: Files) -> str:
    root.mkdir(parents=True)
    _write(root, files)
    _git(root, "init", "-q", "-b", "main")
    # most projects ignored their data; where one did not, garage archived parts of the record
    if ".gitignore" not in files:
        _write(root, {".gitignore": "data/\n"})
    _git(root, "add", "-A", "-f")
    _git(root, "commit", "-q", "-m", "first")
    return _git(root, "rev-parse", "HEAD")


def _git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{DAY}T00:00:00Z")
    done = subprocess.run(
        ("git", *identity, *arguments),
        cwd=root,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, **dates},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def _write(root: Path, files: Files) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True))


# ---------------------------------------------------------------- garage

_INIT = "from garage.experiment.experiment import wrap_experiment\n"
_EXPERIMENT = """\
import inspect
import json
import os
import subprocess
import sys


class Context:
    def __init__(self, snapshot_dir):
        self.snapshot_dir = snapshot_dir
        self.snapshot_mode = 'last'
        self.snapshot_gap = 1


class ExperimentTemplate:
    def __init__(self, function, options):
        self.function = function
        self.options = options
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        whole = inspect.signature(function)
        self.__signature__ = whole.replace(
            parameters=[
                parameter.replace(kind=parameter.KEYWORD_ONLY)
                for parameter in list(whole.parameters.values())[1:]
            ]
        )

    def __call__(self, *overriding, **params):
        options = dict(self.options, **(overriding[0] if overriding else {}))
        log_dir = free_directory(
            os.path.join(os.getcwd(), 'data', 'local', options.get('prefix', 'experiment'),
                         options.get('name') or self.function.__name__)
        )
        dump(os.path.join(log_dir, 'variant.json'), params)
        dump(os.path.join(log_dir, 'metadata.json'), metadata())
        with open(os.path.join(log_dir, 'progress.csv'), 'w') as file:
            file.write('step\\n')
        return self.function(Context(log_dir), **params)


def wrap_experiment(function=None, **options):
    if function is None:
        return lambda wrapped: ExperimentTemplate(wrapped, options)
    return ExperimentTemplate(function, options)


def free_directory(path):
    number = 0
    while True:
        try:
            candidate = '%s_%d' % (path, number) if number else path
            os.makedirs(candidate)
            return candidate
        except FileExistsError:
            number += 1


def metadata():
    main = os.path.abspath(sys.modules['__main__'].__file__)
    command = ('git', 'rev-parse', '--show-toplevel')  # where there is no git: FileNotFoundError
    try:
        root = subprocess.check_output(
            command, cwd=os.path.dirname(main), stderr=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        return {'launcher': main}
    return {'launcher': os.path.relpath(main, os.fsdecode(root.strip()))}


def dump(path, data):
    with open(path, 'w') as file:
        json.dump(data, file, indent=2, sort_keys=True)
"""
_DETERMINISTIC = """\
import random


def set_seed(seed):
    random.seed(seed % 4294967294)
"""


def garage_wheel() -> tuple[str, bytes]:
    """A package `garage`, as far as the launchers here need it: file name and bytes."""
    files = {
        "garage/__init__.py": _INIT,
        "garage/experiment/__init__.py": "",
        "garage/experiment/experiment.py": _EXPERIMENT,
        "garage/experiment/deterministic.py": _DETERMINISTIC,
        "garage/envs/__init__.py": "class GymEnv:\n    pass\n",
    }
    content = {name: text.encode() for name, text in files.items()}
    return make_wheel("garage", GARAGE_VERSION, files=content)
