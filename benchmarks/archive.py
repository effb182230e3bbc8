"""What a launch archive costs: against garage's recipe (`tar --xz`), against listing the files
with git where nothing has changed, and the disk that 1,000 runs of one commit take.

    python benchmarks/archive.py [PAIRS] [--quick]

needs no engine. The repositories are made of text like that of programs. Exit code 1 when a target
is missed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from measuring import Effort, Figure, Row, Target, alone, commit, compared, in_turn, seconds

from reprorun.experiment.archive import ARCHIVE_NAME, make_launcher_archive

SIZES = (500, 7_500)  # files
RUNS = 1_000
SETTLED = 2.5  # seconds; what was changed just now may change once more without that showing
LIST = ("git", "ls-files", "--others", "--exclude-standard", "--cached", "-z")
TAR = ("tar", "--null", "--files-from", "-", "--xz", "--create", "--file")
_WORDS = ("self", "return", "import", "value", "def", "for", "in", "if", "else", "None", "record",
          "path", "name", "with", "open", "assert", "lambda", "tuple", "int", "str")  # fmt: skip


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    with tempfile.TemporaryDirectory() as place:
        for files in SIZES[:1] if effort.quick else SIZES:
            root = os.path.join(place, f"files-{files}")
            make_repository(root, files)
            yield from of_repository(root, place, files, effort)
        root = os.path.join(place, f"files-{SIZES[0]}")
        yield disk(root, place, effort.size(RUNS, 20))


def of_repository(root: str, place: str, files: int, effort: Effort) -> Iterator[Row]:
    """The first archive of a repository, and the next ones."""
    what = f"launch archive of {files:,} files"
    sizes: dict[str, float] = {}

    def ours() -> float:
        forget(place)
        taken = seconds(lambda: archive(root, place))
        sizes["ours"] = os.path.getsize(os.path.join(place, ARCHIVE_NAME))
        return taken

    def theirs() -> float:
        path = os.path.join(place, "garage.tar.xz")
        taken = seconds(lambda: garage_archive(root, path))
        sizes["theirs"] = os.path.getsize(path)
        return taken

    recipe = "garage's `tar --xz`"
    few = Effort(pairs=min(effort.pairs, 3))
    yield compared(
        f"{what}, first time", recipe, ours, theirs, few, Target(at_least=15), warm_up=False
    )
    yield Row(
        what=f"its size, {files:,} files",
        against=recipe,
        unit="MB",
        ours=(sizes["ours"] / 1e6,),
        theirs=(sizes["theirs"] / 1e6,),
        target=Target(at_most=1.5),
    )
    archive(root, place)
    # as any `git status` does: git took no note of files that were written when the index was
    subprocess.run(["git", "update-index", "-q", "--refresh"], cwd=root, check=True)
    time.sleep(SETTLED)
    archive(root, place)
    again, listed = in_turn(
        lambda: seconds(lambda: archive(root, place)),
        lambda: seconds(lambda: subprocess.run(LIST, cwd=root, check=True, capture_output=True)),
        effort.pairs,
    )
    yield Row(
        what=f"{what}, content unchanged",
        against="`git ls-files`, tracked and untracked",
        ours=again,
        theirs=listed,
        target=Target(at_most=2),
    )


def disk(root: str, place: str, runs: int) -> Row:
    """What the archives of many runs of one commit take, against one."""
    log_dirs = os.path.join(place, "runs")
    for number in range(runs):
        log_dir = os.path.join(log_dirs, str(number))
        os.makedirs(log_dir)
        make_launcher_archive(git_root_path=root, log_dir=log_dir)
    one = os.path.getsize(os.path.join(log_dirs, "0", ARCHIVE_NAME))
    taken = sum({s.st_ino: s.st_blocks * 512 for s in archives(log_dirs)}.values())
    shutil.rmtree(log_dirs)
    return Row(
        what=f"disk for the archives of {runs:,} runs of one commit",
        against="one archive",
        unit="MB",
        ours=(taken / 1e6,),
        theirs=(one / 1e6,),
        target=Target(at_most=1.5),
        note="what files share on the disk by reflinks is counted twice",
    )


def archives(log_dirs: str) -> Iterator[os.stat_result]:
    """The files of the launch archives."""
    for name in os.listdir(log_dirs):
        yield os.stat(os.path.join(log_dirs, name, ARCHIVE_NAME))


def archive(root: str, place: str) -> None:
    """Make a launch archive."""
    make_launcher_archive(git_root_path=root, log_dir=place)


def garage_archive(root: str, path: str) -> None:
    """As garage made it: git lists, and tar and xz do the rest."""
    listed = subprocess.run(LIST, cwd=root, check=True, capture_output=True).stdout
    subprocess.run([*TAR, path], cwd=root, input=listed, check=True)


def forget(place: str) -> None:
    """Let an archive be made as for the first time."""
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(dir=place)


def make_repository(root: str, files: int) -> None:
    """A repository of files of some kilobytes, as many in a directory as people have."""
    chosen = random.Random(1)  # the same repository each time
    for number in range(files):
        directory = os.path.join(root, f"package_{number // 500}", f"part_{number // 25}")
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, f"module_{number}.py"), "w") as file:
            file.writelines(_line(chosen) for _ in range(chosen.randrange(50, 450)))
    commit(root)


def _line(chosen: random.Random) -> str:
    words = chosen.choices(_WORDS, k=chosen.randrange(3, 9))
    return f"{'    ' * chosen.randrange(3)}{' '.join(words)} {chosen.randrange(10_000)}\n"


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
