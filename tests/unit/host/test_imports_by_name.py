"""What code needs that was never run here, by the names of its imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from reprorun.formats.import_names import is_known, package_of
from reprorun.formats.read import read
from reprorun.formats.target import Target
from reprorun.probe.imports import Imports, find_imports
from reprorun.probe.requirements import find_requirements

from . import values


def find(root: Path, files: dict[str, str], without: tuple[str, ...] = ()) -> Imports:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return find_imports(values.code(root), installed=False, without=without)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import numpy as np, os, sys", ["numpy"]),
        ("import cv2, yaml, PIL.Image", ["opencv-python", "pillow", "pyyaml"]),
        ("from sklearn.svm import SVC\nimport skimage", ["scikit-image", "scikit-learn"]),
        ("from google.protobuf import text_format", ["protobuf"]),
        ("from google import protobuf", ["protobuf"]),
        ("import google.protobuf.message", ["protobuf"]),
        ("from mpl_toolkits.mplot3d import Axes3D\nimport pylab", ["matplotlib"]),
        (
            "import tensorboardX, dateutil, bs4",
            ["beautifulsoup4", "python-dateutil", "tensorboardx"],
        ),
        ("import Some_Lab_Tools", ["some-lab-tools"]),
        ("import msgspec", ["msgspec"]),  # installed here, and no version comes with it
        ("import imp, distutils.core, asyncore", []),
        ("from reprorun import wrap_experiment", []),
    ],
)
def test_packages_without_versions(text: str, lines: list[str], tmp_path: Path) -> None:
    assert list(find(tmp_path, {"train.py": text}).lines) == lines


def test_nothing_is_refused_because_it_is_not_installed(tmp_path: Path) -> None:
    found = find(tmp_path, {"train.py": "import nowhere_installed.deep"})
    assert found.lines == ("nowhere-installed",)


def test_the_note(tmp_path: Path) -> None:
    [note] = find(tmp_path, {"train.py": "import numpy, gym"}).notes
    assert note == (
        "no file says what packages are needed: gym, numpy, by the names of imports, "
        "at the versions of the record's day"
    )
    assert find(tmp_path, {"train.py": "import os"}).notes == ()


@pytest.mark.parametrize(
    "text", ["def f():\n    import {}", "try:\n    import {}\nexcept ImportError:\n    pass"]
)
def test_under_a_condition_only_what_is_well_known(text: str, tmp_path: Path) -> None:
    files = {"train.py": text.format("cv2") + "\n" + text.format("mylab")}
    found = find(tmp_path, files)
    assert found.lines == ("opencv-python",)
    assert found.notes[-1].startswith("imported, but of no package that is known, so left out")
    assert "mylab (train.py, line " in found.notes[-1]


def test_what_is_imported_elsewhere_without_a_condition_is_not_left_out(tmp_path: Path) -> None:
    files = {"train.py": "try:\n    import mylab\nexcept ImportError:\n    pass\nimport mylab"}
    found = find(tmp_path, files)
    assert found.lines == ("mylab",)
    assert len(found.notes) == 1


def test_a_namespace_of_many_packages_is_not_guessed(tmp_path: Path) -> None:
    found = find(tmp_path, {"train.py": "import google.colab"})
    assert found.lines == ()
    assert "google.colab (train.py, line 1)" in found.notes[0]


def test_local_modules_come_first(tmp_path: Path) -> None:
    files = {
        "train.py": "import utils, envs.maze, numpy",
        "utils/__init__.py": "import gym",
        "envs/maze.py": "import torch",  # a namespace
        "data/numbers.csv": "",
    }
    assert find(tmp_path, files).lines == ("gym", "numpy", "torch")


def test_what_something_else_stands_in_for(tmp_path: Path) -> None:
    files = {"train.py": "from garage import wrap_experiment\nimport garage.experiment, numpy"}
    assert find(tmp_path, files, ("garage",)).lines == ("numpy",)
    assert find(tmp_path, files).lines == ("garage", "numpy")


def test_as_requirements(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import numpy, garage, nowhere_installed")
    code = values.code(tmp_path)
    found = find_requirements(code, installed=False, without=("garage",))
    assert (found.kind, found.lines) == ("imports", ("nowhere-installed", "numpy"))
    target = Target(python="3.8.1", machine="x86_64", libc="glibc 2.31")
    assert read(found, str(tmp_path), target).lines == ("nowhere-installed", "numpy")
    (tmp_path / "requirements.txt").write_text("numpy==1.18\n")
    found = find_requirements(code, installed=False, without=("garage",))
    assert (found.kind, found.source) == ("requirements", "requirements.txt")


def test_the_table() -> None:
    assert package_of("cv2.aruco") == "opencv-python"
    assert package_of("google") is None
    assert package_of("mujoco_py") == "mujoco-py"
    assert is_known("mujoco-py")
    assert is_known("numpy")
    assert is_known("opencv-python")
    assert not is_known("cv2")
