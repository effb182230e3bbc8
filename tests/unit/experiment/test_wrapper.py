"""python -m reprorun.experiment_wrapper, run as a command."""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
import shared_experiments

import reprorun.experiment
from reprorun.experiment import to_local_command
from reprorun.experiment_wrapper import main

ROOT = Path(reprorun.experiment.__file__).parents[2]
HERE = Path(__file__).parent


def payload(value: object) -> str:
    return base64.b64encode(pickle.dumps(value)).decode()


CALL = payload(shared_experiments.call)


def run(*options: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "reprorun.experiment_wrapper", *options],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", **env},
        capture_output=True,
        text=True,
    )


def read(path: Path) -> object:
    return json.loads(path.read_text())


def test_a_call(tmp_path):
    log_dir = tmp_path / "log"
    done = run(
        *("--args_data", CALL, "--variant_data", payload({"lr": (1,)}), "--log_dir", "log"),
        *("--exp_name", "mine", "--seed", "5", "--snapshot_mode", "gap", "--snapshot_gap", "3"),
        *("--resume_from_dir", "old", "--resume_from_epoch", "last", "--plot", "True"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    context = {"snapshot_dir": str(log_dir), "snapshot_mode": "gap", "snapshot_gap": 3}
    number = random.Random(5).random()
    assert read(log_dir / "called.json")[0] == context
    assert read(log_dir / "called.json")[1:] == [{"lr": [1]}, "old", "last", number]
    assert read(log_dir / "variant.json") == {"lr": [1]}
    assert read(log_dir / "params.json") == {
        "exp_name": "mine",
        "log_dir": "log",
        "snapshot_mode": "gap",
        "snapshot_gap": 3,
        "resume_from_dir": "old",
        "resume_from_epoch": "last",
        "tabular_log_file": "progress.csv",
        "text_log_file": "debug.log",
        "tensorboard_step_key": None,
        "params_log_file": "params.json",
        "variant_log_file": "variant.json",
        "plot": True,
        "log_tabular_only": False,
        "seed": 5,
    }
    assert read(log_dir / "metadata.json")["launcher"].endswith("reprorun/experiment_wrapper.py")


def test_defaults(tmp_path):
    assert run("--args_data", CALL, cwd=tmp_path).returncode == 0
    [log_dir] = (tmp_path / "data").iterdir()
    assert log_dir.name.startswith("experiment_20")
    told = read(log_dir / "called.json")
    assert told[0] == {"snapshot_dir": str(log_dir), "snapshot_mode": "last", "snapshot_gap": 1}
    assert told[1:4] == [None, None, None]
    assert read(log_dir / "variant.json") == {}


def test_in_a_container_it_logs_to_the_record(tmp_path):
    told = {"log_dir": str(tmp_path / "record"), "root": "/w", "metadata": {"launcher": "a.py"}}
    options = ("--args_data", CALL, "--log_dir", "/somewhere/else")
    done = run(*options, cwd=tmp_path, REPRORUN_GUEST=json.dumps(told))
    assert (done.returncode, done.stderr) == (0, "")
    assert read(tmp_path / "record/metadata.json") == {"launcher": "a.py"}
    assert read(tmp_path / "record/called.json")[0]["snapshot_dir"] == str(tmp_path / "record")


def test_metadata_that_is_there_stays(tmp_path):
    (tmp_path / "metadata.json").write_text('{"launcher": "mine.py"}')
    assert run("--args_data", CALL, "--log_dir", ".", cwd=tmp_path).returncode == 0
    assert read(tmp_path / "metadata.json") == {"launcher": "mine.py"}


def test_payloads_in_files(tmp_path):
    (tmp_path / "args.b64").write_text(CALL + "\n")
    (tmp_path / "variant.b64").write_text(payload({"a": "x" * 200_000}))
    options = ("--args_data", "file:args.b64", "--variant_data", "file:variant.b64")
    done = run(*options, "--log_dir", str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert read(tmp_path / "called.json")[1] == {"a": "x" * 200_000}


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("file:no.b64", "No such file"),
        ("file:../up.b64", "not the name of a file in the log directory"),
        ("file:", "Is a directory"),
        ("!!!!", "Error"),
        (base64.b64encode(b"cno_such_module\nx\n.").decode(), "No module named 'no_such_module'"),
        (base64.b64encode(b"\x80").decode(), "UnpicklingError"),
    ],
)
def test_payloads_that_cannot_be_read(tmp_path, option, complaint):
    done = run("--args_data", option, "--log_dir", "log", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("reprorun: error: --args_data can't be unpickled: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "required: --args_data"),
        (("--args_data", CALL, "--plot", "__import__('os')"), "neither True nor False"),
        (("--args_data", CALL, "--log_tabular_only", "2"), "neither True nor False"),
        (("--args_data", CALL, "--snapshot_mode", "some"), "invalid choice"),
        (("--args_data", CALL, "--no_such", "1"), "unrecognized arguments"),
    ],
)
def test_wrong_usage(tmp_path, options, complaint):
    done = run(*options, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("text", "value"),
    [("True", True), ("true", True), ("1", True), ("False", False), ("false", False), ("0", False)],
)
def test_booleans(tmp_path, text, value):
    options = ("--args_data", CALL, "--log_dir", str(tmp_path), "--log_tabular_only", text)
    assert main([*options]) is None
    assert read(tmp_path / "params.json")["log_tabular_only"] is value


def test_a_failing_experiment_fails(tmp_path):
    done = run("--args_data", payload(shared_experiments.fail), cwd=tmp_path)
    assert done.returncode == 1
    assert "ArithmeticError: no luck" in done.stderr


def test_the_command_of_to_local_command_runs(tmp_path):
    params = {"args_data": CALL, "variant_data": payload("it's"), "exp_name": "a b", "seed": None}
    command = to_local_command({**params, "log_dir": str(tmp_path / "l o'g")}, sys.executable)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    subprocess.run(command, shell=True, cwd=tmp_path, env=env, check=True)
    assert read(tmp_path / "l o'g/called.json")[1] == "it's"


def test_seeds(tmp_path, monkeypatch):
    seeds = []
    for name, attribute in (
        ("numpy", "random.seed"),
        ("torch", "manual_seed"),
        ("tensorflow", "random.set_seed"),
    ):
        module = parent = type(sys)(name)
        *path, last = attribute.split(".")
        for part in path:
            parent = parent.__dict__.setdefault(part, type(sys)(part))
        setattr(parent, last, lambda seed, name=name: seeds.append((name, seed)))
        monkeypatch.setitem(sys.modules, name, module)
    main(["--args_data", CALL, "--log_dir", str(tmp_path), "--seed", str(2**32 + 1)])
    assert seeds == [("numpy", 1), ("torch", 2**32 + 1), ("tensorflow", 2**32 + 1)]
