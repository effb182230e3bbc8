"""A run whose working tree lies elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reprorun.experiment import moved
from reprorun.experiment.guest import VARIABLE

from .test_guest_process import run
from .test_varied import run as run_python


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/workspace", "/tmp/t"),
        ("/workspace/a/b.py", "/tmp/t/a/b.py"),
        ("/workspaces/a", "/workspaces/a"),
        ("a/b.py", "a/b.py"),
        ("--seed", "--seed"),
    ],
)
def test_paths_of_the_tree(path: str, found: str) -> None:
    assert moved.elsewhere(path, "/workspace", "/tmp/t") == found


def test_the_run_is_elsewhere_and_its_outputs_are_kept(tmp_path: Path) -> None:
    tree, target = tmp_path / "tree", tmp_path / "other"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/data").write_text("x")
    (tree / "sub/data").chmod(0o640)
    (tree / "link").symlink_to("sub/data")
    script = "pwd; cat $0; echo $REPRORUN_GUEST; echo y > made; echo z > sub/data; rm link"
    out = run(tmp_path, {"tree": str(target)}, "sh", "-c", script, f"{tree}/sub/data").split("\n")
    assert out[0] == str(target)
    assert json.loads(out[1].removeprefix("x"))["root"] == str(target)
    outputs = tmp_path / "log/outputs"
    kept = {str(p.relative_to(outputs)): p.read_text() for p in outputs.rglob("*") if p.is_file()}
    assert kept == {"made": "y\n", "sub/data": "z\n"}
    assert (tree / "sub/data").read_text() == "x"


def test_what_is_mounted_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "a/data").mkdir(parents=True)
    (tree / "a/data/large").write_text("x")
    monkeypatch.chdir(tree / "a")
    monkeypatch.setenv(VARIABLE, json.dumps({"root": str(tree)}))
    monkeypatch.setattr(moved, "mounted", lambda: {str(tree / "a/data")})
    assert moved.move(str(tmp_path / "b"), ["python", f"{tree}/t.py"])[1] == f"{tmp_path}/b/t.py"
    assert os.getcwd() == str(tmp_path / "b/a")
    assert os.readlink(tmp_path / "b/a/data") == str(tree / "a/data")


def test_modules_are_found_there() -> None:
    before = "import sys; sys.path.append('/workspace/src')\n"
    out = run_python("print(sys.path[-1])", {"tree": "/tmp/t"}, before=before)
    assert out == "/tmp/t/src"
