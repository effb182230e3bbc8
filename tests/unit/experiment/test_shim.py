"""The names of garage's experiment API, offered by reprorun."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import reprorun.experiment
from tests import garage_zoo as zoo

ROOT = Path(reprorun.experiment.__file__).parents[2]
SHIMS = ROOT / "reprorun/experiment/shims"


def python(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    """Runs Python where the shim is on the search path for modules."""
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": f"{SHIMS}{os.pathsep}{ROOT}", **env},
        capture_output=True,
        text=True,
    )


def tell(code: str, cwd: Path) -> str:
    done = python("-c", code, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "line",
    [
        "from garage import wrap_experiment as x",
        "from garage.experiment import wrap_experiment as x",
        "from garage.experiment import run_experiment as x",
        "from garage.experiment import to_local_command as x",
        "from garage.experiment import ExperimentTemplate as x",
        "from garage.experiment import ExperimentContext as x",
        "from garage.experiment.experiment import wrap_experiment as x",
        "from garage.experiment.experiment import get_metadata as x",
        "from garage.experiment.experiment import make_launcher_archive as x",
        "from garage.experiment.experiment import dump_json as x",
        "from garage.experiment.experiment import LogEncoder as x",
        "from garage.experiment.experiment import run_experiment as x",
        "from garage.experiment.experiment_wrapper import main as x",
        "from garage.experiment.deterministic import set_seed as x",
        "from garage.experiment import deterministic; x = deterministic.get_seed",
        "import garage; x = garage.experiment.deterministic.set_seed",
        "import garage.experiment.experiment; x = garage.experiment.experiment.wrap_experiment",
    ],
)
def test_what_is_offered(line, tmp_path):
    assert tell(f"{line}\nprint(callable(x), x.__module__.split('.')[0])", tmp_path).split() == [
        "True",
        "garage" if "seed" in line else "reprorun",
    ]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from garage.experiment import LocalRunner", "garage.experiment.LocalRunner"),
        ("from garage.experiment import LocalTFRunner, SnapshotConfig", "LocalTFRunner"),
        ("from garage.experiment.snapshotter import Snapshotter", "garage.experiment.snapshotter"),
        ("from garage.envs import GymEnv", "garage.envs"),
        ("import garage.tf.algos", "garage.tf"),
        ("from garage import EpisodeBatch", "garage.EpisodeBatch"),
        ("import garage; garage.Trainer", "garage.Trainer"),
        ("from garage.experiment.deterministic import get_tf_seed_stream", "get_tf_seed_stream"),
        ("from garage.experiment.experiment import gone", "garage.experiment.experiment.gone"),
    ],
)
def test_what_is_not_offered_says_so(line, name, tmp_path):
    done = python("-c", line, cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: ")
    assert f"{name} is not offered: the shim has garage's experiment API only." in last
    assert "with garage itself installed" in last
    guarded = f"try:\n    {line}\nexcept ImportError:\n    print('without')"
    assert tell(guarded, tmp_path) == "without"


def test_other_modules_are_found_as_ever(tmp_path):
    (tmp_path / "garagelike.py").write_text("x = 1\n")
    assert tell("import garage, garagelike, inspect\ninspect.unwrap(garage)", tmp_path) == ""
    assert tell("import garage, copy\nprint(hasattr(garage, '__wrapped__'))", tmp_path) == "False"


def test_a_launcher_of_the_time(tmp_path):
    (tmp_path / "train.py").write_text(zoo.CALLS_ITSELF)
    for _ in range(2):
        done = python("train.py", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "seed 7, lr 0.5\n", "")
    first, second = (tmp_path / f"data/local/experiment/{n}" for n in ("train", "train_1"))
    assert json.loads((first / "variant.json").read_text()) == {"seed": 7}
    assert (first / "result.csv").read_bytes() == (second / "result.csv").read_bytes()
    assert (first / "result.csv").stat().st_size > 20


def test_its_function_with_the_parameters_of_a_record(tmp_path):
    (tmp_path / "train.py").write_text(zoo.NEEDS_PARAMETER)
    (tmp_path / "variant.json").write_text('{"seed": 7, "lr": 0.25}')
    words = ["reprorun.experiment.function", "train.py", "train", "variant.json"]
    done = python("-m", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "seed 7, lr 0.25\n"), done.stderr


def test_the_wrapper_can_be_started_by_garages_name(tmp_path):
    done = python("-m", "garage.experiment.experiment_wrapper", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--args_data" in done.stdout


# ---------------------------------------------------------------- seeds

STAND_INS = {
    "numpy": "class random:\n    @staticmethod\n    def seed(n): print('numpy', n)\n",
    "torch": "def manual_seed(n): print('torch', n)\n"
    "class backends:\n    class cudnn:\n        deterministic, benchmark = False, True\n",
    "tensorflow": "class compat:\n    class v1:\n        @staticmethod\n"
    "        def set_random_seed(n): print('tensorflow', n)\n",
}
SEED = "from garage.experiment.deterministic import get_seed, set_seed\n"


def test_one_seed_for_all(tmp_path):
    for name, text in STAND_INS.items():
        (tmp_path / f"{name}.py").write_text(text)
    code = (
        f"import torch, tensorflow, random\n{SEED}print(get_seed())\nset_seed(4294967295)\n"
        "print(get_seed(), random.random() == random.Random(1).random())\n"
        "print(torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)\n"
    )
    wanted = ["None", "numpy 1", "tensorflow 1", "torch 1", "1 True", "True False"]
    assert tell(code, tmp_path).splitlines() == wanted


def test_large_frameworks_are_not_imported_for_it(tmp_path):
    for name in ("torch", "tensorflow"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "numpy.py").write_text(STAND_INS["numpy"])
    assert tell(f"{SEED}set_seed(5)", tmp_path) == "numpy 5"


def test_without_numpy_and_with_a_broken_one(tmp_path):
    blocked = "import sys\nsys.modules['numpy'] = None\n"
    assert tell(f"{blocked}{SEED}set_seed(5)\nprint(get_seed())", tmp_path) == "5"
    (tmp_path / "numpy.py").write_text("import a_part_of_numpy\n")
    done = python("-c", f"{SEED}set_seed(5)", cwd=tmp_path)
    assert "No module named 'a_part_of_numpy'" in done.stderr


# ---------------------------------------------------------------- git


def test_the_stand_in_for_git(tmp_path):
    git = SHIMS / "bin/git"
    assert git.stat().st_mode & stat.S_IXUSR
    words = ["git", "rev-parse", "--show-toplevel"]
    done = subprocess.run(
        words, env={"PATH": str(git.parent)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (128, "")
    assert done.stderr.startswith("fatal: not a git repository")
