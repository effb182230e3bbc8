"""What the launcher imports, where no file says what it needs."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from reprorun.errors import UsageError
from reprorun.probe.imports import Imports, find_imports

from . import values


class Venv:
    """A virtual environment on disk, as installers leave it, without a Python."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.site = root / "lib/python3.9/site-packages"
        self.site.mkdir(parents=True)

    def install(self, name: str, number: str, *files: str, **more: str) -> Venv:
        info = self.site / f"{name.replace('-', '_')}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        for key, text in more.items():
            (info / key.replace("__", ".")).write_text(text)
        return self


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    made = Venv(tmp_path / "venv")
    made.install("numpy", "1.26.4", "numpy/__init__.py", "numpy/core.py", "../../bin/f2py")
    made.install("scikit-learn", "1.4.0", "sklearn/__init__.py")
    made.install("six", "1.16.0", "six.py", top_level__txt="six\n")
    return made


def find(tmp_path: Path, venv: Venv | None, launcher: str, files: dict[str, str]) -> Imports:
    root = tmp_path / "project"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    variables = {"VIRTUAL_ENV": str(venv.root)} if venv else {}
    return find_imports(values.code(root, launcher=launcher), variables)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import numpy as np, os, sys\nimport six", ["numpy==1.26.4", "six==1.16.0"]),
        ("from sklearn.svm import SVC", ["scikit-learn==1.4.0"]),
        ("import numpy.linalg\nfrom numpy import array", ["numpy==1.26.4"]),
        ("import json\nfrom reprorun import wrap_experiment\nfrom __future__ import x", []),
        ("def f():\n    import numpy", ["numpy==1.26.4"]),
        ("if True:\n    import numpy", ["numpy==1.26.4"]),
        ("with x:\n    import numpy", ["numpy==1.26.4"]),
        ("import importlib\nm = importlib.import_module('numpy')", ["numpy==1.26.4"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy, gone", []),
        ("import distutils, imp", []),
        ("", []),
    ],
)
def test_imports_of_the_launcher(text: str, lines: list[str], tmp_path: Path, venv: Venv) -> None:
    found = find(tmp_path, venv, "train.py", {"train.py": text})
    assert list(found.lines) == lines
    assert found.paths == ()
    assert len(found.notes) == bool(lines)


def test_the_note_names_versions_and_environment(tmp_path: Path, venv: Venv) -> None:
    [note] = find(tmp_path, venv, "train.py", {"train.py": "import six, numpy"}).notes
    assert note == (
        "no file says what packages are needed: numpy 1.26.4, six 1.16.0 "
        f"as installed in {venv.root}"
    )


def test_without_an_active_environment_the_running_python_counts(tmp_path: Path) -> None:
    found = find(tmp_path, None, "train.py", {"train.py": "import msgspec, jinja2, yaml"})
    names = ("jinja2", "msgspec", "pyyaml")
    assert found.lines == tuple(f"{name}=={version(name)}" for name in names)
    assert found.notes[0].endswith("as installed in the Python that launches")


def test_local_modules_are_followed(tmp_path: Path, venv: Venv) -> None:
    files = {
        "exp/train.py": "import helper\nfrom pkg.sub import deep\nfrom pkg import other\n",
        "exp/helper.py": "import six",
        "exp/pkg/__init__.py": "",
        "exp/pkg/sub/__init__.py": "from . import deep\nfrom ..more import x",
        "exp/pkg/sub/deep.py": "import numpy",
        "exp/pkg/more.py": "import sklearn",
        "exp/pkg/other.py": "import os",
        "exp/unused.py": "import gone",
    }
    found = find(tmp_path, venv, "exp/train.py", files)
    assert found.lines == ("numpy==1.26.4", "scikit-learn==1.4.0", "six==1.16.0")
    assert found.paths == ()


def test_modules_of_the_root_need_it_on_the_search_path(tmp_path: Path, venv: Venv) -> None:
    files = {"exp/train.py": "import common.x", "common/x.py": "import six"}
    found = find(tmp_path, venv, "exp/train.py", files)
    assert (found.lines, found.paths) == (("six==1.16.0",), (".",))


def test_a_module_of_ones_own_hides_an_installed_one(tmp_path: Path, venv: Venv) -> None:
    files = {"train.py": "import six", "six.py": "import numpy"}
    assert find(tmp_path, venv, "train.py", files).lines == ("numpy==1.26.4",)


def test_a_directory_without_init_does_not(tmp_path: Path, venv: Venv) -> None:
    files = {"train.py": "import six", "six/x.py": "import numpy"}
    assert find(tmp_path, venv, "train.py", files).lines == ("six==1.16.0",)


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    import gone\nexcept ImportError:\n    gone = None",
        "try:\n    import six\nexcept (ImportError, OSError):\n    import gone",
        "try:\n    import gone\nexcept:\n    pass",
        "def f():\n    import gone",
        "class C:\n    def f(self):\n        import gone",
        "import sys\nif sys.platform == 'win32':\n    import gone",
        "try:\n    import local\nexcept ImportError:\n    pass",
    ],
)
def test_what_is_missing_under_a_condition_is_told(text: str, tmp_path: Path, venv: Venv) -> None:
    found = find(tmp_path, venv, "train.py", {"train.py": text, "local.py": "import gone"})
    assert "gone (" in found.notes[-1]
    assert "left out" in found.notes[-1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import os\nimport gone.deep", 2),
        ("from gone import x", 1),
        ("try:\n    import gone\nexcept ValueError:\n    pass", 2),
        ("if __name__ == '__main__':\n    import gone", 2),
        ("class C:\n    import gone", 2),
    ],
)
def test_what_is_missing_otherwise_is_an_error(
    text: str, line: int, tmp_path: Path, venv: Venv
) -> None:
    with pytest.raises(UsageError, match=rf"a/train\.py, line {line}: .*gone") as caught:
        find(tmp_path, venv, "a/train.py", {"a/train.py": text})
    assert "requirements.txt" in str(caught.value)


def test_needed_without_a_condition_after_all(tmp_path: Path, venv: Venv) -> None:
    files = {
        "train.py": "try:\n    import local\nexcept ImportError:\n    pass\nimport other\n",
        "other.py": "import local",
        "local.py": "import gone",
    }
    with pytest.raises(UsageError, match=r"local\.py, line 1"):
        find(tmp_path, venv, "train.py", files)


@pytest.mark.parametrize("text", ["print 'x'", "import \x00", "(" * 400])
def test_what_is_no_python_is_left_to_the_run(text: str, tmp_path: Path, venv: Venv) -> None:
    found = find(tmp_path, venv, "train.py", {"train.py": text})
    assert found.lines == ()
    assert "the imports of train.py are not known" in found.notes[0]


def test_namespaces_are_told_apart(tmp_path: Path, venv: Venv) -> None:
    venv.install("google-auth", "2.0", "google/auth/__init__.py")
    venv.install("google-cloud-x", "3.0", "google/cloud/x/__init__.py")
    text = "from google.cloud import x\n"
    assert find(tmp_path, venv, "t.py", {"t.py": text}).lines == ("google-cloud-x==3.0",)


def test_a_build_of_ones_own_is_asked_for_without_its_tag(tmp_path: Path, venv: Venv) -> None:
    venv.install("torch", "2.1.0+cu118", "torch/__init__.py")
    found = find(tmp_path, venv, "t.py", {"t.py": "import torch"})
    assert found.lines == ("torch==2.1.0",)
    assert "torch 2.1.0+cu118 is asked for as 2.1.0" in found.notes


def direct(url: str, **more: object) -> dict[str, str]:
    return {"direct_url__json": json.dumps({"url": url, **more})}


def test_a_commit_is_asked_for_again(tmp_path: Path, venv: Venv) -> None:
    vcs = {"vcs": "git", "commit_id": values.COMMIT}
    venv.install(
        "pkg", "1", "pkg.py", **direct("https://example.invalid/p", vcs_info=vcs, subdirectory="s")
    )
    found = find(tmp_path, venv, "t.py", {"t.py": "import pkg"})
    assert found.lines == (f"pkg @ git+https://example.invalid/p@{values.COMMIT}#subdirectory=s",)


def test_an_editable_install_elsewhere_is_an_error(tmp_path: Path, venv: Venv) -> None:
    url = f"file://{tmp_path}/elsewhere"
    venv.install("mine", "1", "mine.py", **direct(url, dir_info={"editable": True}))
    with pytest.raises(UsageError, match=rf"t\.py, line 1: mine is installed from {tmp_path}/else"):
        find(tmp_path, venv, "t.py", {"t.py": "import mine"})
    guarded = "try:\n    import mine\nexcept ImportError:\n    pass\n"
    assert "mine" in find(tmp_path, venv, "t.py", {"t.py": guarded}).notes[-1]


def test_an_editable_install_of_the_repository_is_local(tmp_path: Path, venv: Venv) -> None:
    url = f"file://{tmp_path}/project/libs/mine"
    files = {
        "t.py": "from mine import x",
        "libs/mine/src/mine/__init__.py": "",
        "libs/mine/src/mine/x.py": "import six",
    }
    venv.install(
        "mine",
        "1",
        "__editable___mine.py",
        "mine.pth",
        top_level__txt="mine\n",
        **direct(url, dir_info={"editable": True}),
    )
    found = find(tmp_path, venv, "t.py", files)
    assert (found.lines, found.paths) == (("six==1.16.0",), ("libs/mine/src",))


def test_an_old_style_working_tree_elsewhere_is_an_error(tmp_path: Path, venv: Venv) -> None:
    tree = tmp_path / "dev"
    (tree / "mine.egg-info").mkdir(parents=True)
    (tree / "mine.egg-info/PKG-INFO").write_text("Metadata-Version: 1.0\nName: mine\nVersion: 1\n")
    (tree / "mine.egg-info/top_level.txt").write_text("mine\n")
    (venv.site / "easy-install.pth").write_text(f"{tree}\n")
    with pytest.raises(UsageError, match="mine is installed from"):
        find(tmp_path, venv, "t.py", {"t.py": "import mine"})


def test_nothing_of_the_environment_is_run(tmp_path: Path, venv: Venv) -> None:
    mark = tmp_path / "mark"
    touch = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
    (venv.site / "evil.pth").write_text(touch)
    (venv.site / "six.py").write_text(touch)
    files = {"t.py": f"import six, local\n{touch}", "local.py": touch}
    assert find(tmp_path, venv, "t.py", files).lines == ("six==1.16.0",)
    assert not mark.exists()
