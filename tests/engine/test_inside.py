"""Inside equals outside: a script finds what it would find when started by hand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reprorun import store

from .bench import Bench
from .complete import assert_complete

PLACES = [  # script, working directory relative to the root
    ("tell.py", "."),
    ("./tell.py", "."),
    ("sub/tell.py", "."),
    ("sub/../sub/tell.py", "."),
    ("tell.py", "sub"),
    ("../tell.py", "sub"),
    ("{root}/sub/tell.py", "."),
    ("{root}/tell.py", "sub"),
    ("../{name}/tell.py", "."),
]
ARGS = (
    "--flag",
    "two words",
    "",
    "-v",
    "--",
    "*",
    "ünïcödé",
    "line\nbreak",
    '"',
    "'",
    "\\",
    "$HOME",
)


def relative(told: dict[str, Any], root: str, cwd: str) -> dict[str, Any]:
    """What a script told, with every path made relative to the repository."""

    def inside(path: str) -> str:
        return os.path.relpath(os.path.normpath(os.path.join(cwd, path)), root)

    script, *args = told["argv"]
    paths = {name: inside(told[name]) for name in ("cwd", "file", "path")}
    return {**told, **paths, "argv": [inside(script), *args]}


@pytest.mark.parametrize(("script", "cwd"), PLACES)
def test_a_script_is_told_the_same(bench: Bench, script: str, cwd: str) -> None:
    bench.take("layout")
    bench.commit()
    root = os.path.realpath(bench.root)
    script = script.format(root=root, name=bench.root.name)
    outside = bench.python(script, *ARGS, cwd=cwd).said()
    inside = bench.exec(script, *ARGS, cwd=cwd).said()
    assert outside["name"] == inside["name"] == "__main__"
    workspace = os.path.normpath(os.path.join("/workspace", cwd))
    assert inside["cwd"] == workspace
    assert relative(inside, "/workspace", workspace) == relative(
        outside, root, os.path.join(root, cwd)
    )
    if not script.startswith(("/", "../p")):  # and so is the name that usage messages show
        assert inside["argv"][0] == outside["argv"][0]


def test_the_imports_work(bench: Bench) -> None:
    bench.take("layout")
    bench.commit()
    told = bench.exec("tell.py").said()
    assert told["imports"]["helper"] == "helper"
    assert told["imports"]["package"] == "package.inner"
    assert "No module" in told["imports"]["near"]
    assert bench.exec("sub/tell.py").said()["imports"]["near"] == "near"


def test_standard_input_is_closed(bench: Bench) -> None:
    bench.take("layout")
    bench.commit()
    reading, writing = os.pipe()
    os.write(writing, b"typed by somebody\n")
    os.close(writing)
    try:
        assert bench.exec("tell.py", stdin=reading).said()["stdin"] == ""
    finally:
        os.close(reading)


def test_the_working_tree_on_the_host_stays_as_it_was(bench: Bench) -> None:
    script = "open('old.txt', 'w').write('new')\nimport os\nos.remove('gone.txt')\nopen('x', 'w')\n"
    bench.write({"train.py": script, "old.txt": "old", "gone.txt": "still here"})
    bench.commit()
    record = assert_complete(done := bench.exec("train.py"), bench, "train.py")
    assert bench.git("status", "--porcelain") == ""
    assert [output.path for output in record.outputs] == ["outputs/old.txt", "outputs/x"]
    assert (done.log_dir / "outputs/old.txt").read_text() == "new"


def test_uncommitted_changes_run_and_are_kept(bench: Bench) -> None:
    bench.write({"train.py": "print('committed')\n", ".gitignore": "*.tmp\n"})
    bench.commit()
    bench.write({"train.py": "import new\n", "new.py": "print('changed')\n", "no.tmp": "ignored"})
    done = bench.exec("train.py")
    assert (done.code, done.out) == (0, "changed\n")
    record = done.record
    assert record.dirty
    assert record.githash == f"{bench.git('rev-parse', 'HEAD')}-dirty"
    unpacked = subprocess.run(
        ["tar", "-tJf", str(done.log_dir / store.ARCHIVE_FILE)], capture_output=True, check=True
    )
    assert unpacked.stdout.split() == [b".gitignore", b"new.py", b"train.py"]


def test_several_calls_get_a_record_each_and_none_gets_lost(bench: Bench) -> None:
    bench.take("wrapped")
    bench.commit()
    done = bench.exec("train.py", "0.5", "0.5", "0.25")
    record = assert_complete(done, bench, "train.py")
    assert record.sub_records == ("train_lr=0.25", "train_lr=0.5", "train_lr=0.5_1")
    for name, lr in zip(record.sub_records, (0.25, 0.5, 0.5), strict=True):
        called = json.loads((done.log_dir / name / "called.json").read_bytes())
        assert called == {"lr": lr, "layers": [8, 8], "label": "plain", "mode": "last"}
        assert json.loads((done.log_dir / name / "variant.json").read_bytes()) == {"lr": lr}


def test_the_output_comes_in_order_and_is_kept(bench: Bench) -> None:
    script = (
        "import sys, time\n"
        "for n in range(5):\n"
        "    print('out', n, flush=True)\n    time.sleep(0.05)\n"
        "    print('err', n, file=sys.stderr, flush=True)\n    time.sleep(0.05)\n"
        "sys.stdout.buffer.write(b'\\xff\\x00 no line end')\n"
    )
    bench.write({"train.py": script})
    bench.commit()
    done = bench.exec("train.py", flags=["-q"])
    assert done.out == "".join(f"out {n}\n" for n in range(5)) + "\udcff\0 no line end"
    assert done.err == "".join(f"err {n}\n" for n in range(5))
    mixed = "".join(f"out {n}\nerr {n}\n" for n in range(5))
    assert done.console == mixed.encode() + b"\xff\0 no line end"


# ---------------------------------------------------------------- the caller's files

WRITES_ALL_KINDS = """
import os, subprocess
from reprorun import wrap_experiment

@wrap_experiment
def train(ctxt):
    os.makedirs(ctxt.snapshot_dir + "/deep/er")
    open(ctxt.snapshot_dir + "/deep/er/weights", "w").write("1")
    os.umask(0o077)
    open(ctxt.snapshot_dir + "/private", "w").write("2")

train()
os.makedirs("made/deep")
open("made/deep/file", "w").write("3")
os.symlink("deep/file", "made/link")
os.chmod(open("made/unreadable", "w").name, 0)
subprocess.run(["sh", "-c", "echo 4 >made/script; chmod 755 made/script"], check=True)
"""


def owners(directory: Path) -> dict[tuple[int, int], list[str]]:
    found: dict[tuple[int, int], list[str]] = {}
    for path in (directory, *sorted(directory.rglob("*"))):
        facts = path.lstat()
        found.setdefault((facts.st_uid, facts.st_gid), []).append(str(path.relative_to(directory)))
    return found


def test_every_file_belongs_to_the_caller(user_bench: Bench) -> None:
    bench = user_bench
    bench.write({"train.py": WRITES_ALL_KINDS})
    bench.commit()
    done = bench.exec("train.py", log_dir="data/local/experiment/train")
    assert done.code == 0, done.err
    made = owners(bench.root / "data")
    assert list(made) == [(bench.user.uid, bench.user.gid)]
    names = set(made[bench.user.uid, bench.user.gid])
    outputs = {"deep/file", "link", "script", "unreadable"}
    assert {f"local/experiment/train/outputs/made/{name}" for name in outputs} <= names
    assert "local/experiment/train/train/deep/er/weights" in names
    assert all(os.stat(bench.root / "data" / n).st_mode & 0o400 for n in names)
    assert os.access(done.log_dir / "outputs/made/script", os.X_OK)
    assert os.readlink(done.log_dir / "outputs/made/link") == "deep/file"
    assert list(owners(Path(bench.env["XDG_CACHE_HOME"]))) == [(bench.user.uid, bench.user.gid)]


def test_the_image_does_not_depend_on_who_makes_it(bench: Bench, user_bench: Bench) -> None:
    for each in (bench, user_bench):
        each.take("wrapped")
        each.commit()
    first, second = bench.exec("train.py").record, user_bench.exec("train.py").record
    assert first.image == second.image
    assert first.environment_digest == second.environment_digest
    assert first.archive == second.archive
