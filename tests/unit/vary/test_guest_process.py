"""What the container's main process does in a varied run."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import reprorun.experiment
from reprorun.experiment.varied import VARIABLE

SCRIPT = str(Path(reprorun.experiment.__file__).with_name("supervise.py"))


def run(place: Path, told: dict[str, Any], *command: str, **env: str) -> str:
    """What a command prints; `log` and `tree` are directories of the place."""
    for name in ("log", "tree"):
        (place / name).mkdir(exist_ok=True)
    guest = {"log_dir": str(place / "log"), "root": str(place / "tree")}
    given = {"REPRORUN_GUEST": json.dumps(guest), VARIABLE: json.dumps(told), **env}
    done = subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, *command],
        env={**os.environ, **given},
        cwd=place / "tree",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_umask(tmp_path: Path) -> None:
    run(tmp_path, {"umask": 0o077}, "sh", "-c", "touch made")
    assert mode(tmp_path / "tree/made") == 0o600
    assert mode(tmp_path / "log/outputs/made") == 0o644  # as always


def test_a_home_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "some/home"
    run(tmp_path, {"home": True}, "sh", "-c", "touch ~/made", HOME=str(home))
    assert (home / "made").exists()


def test_the_clock_starts_once_for_all_processes(tmp_path: Path) -> None:
    told = {"clock": {"start": 2_000_000_000.0}}
    out = run(tmp_path, told, "sh", "-c", f"echo ${VARIABLE}")
    shift = json.loads(out)["clock"]["shift"]
    assert abs(time.time() + shift - 2_000_000_000) < 30


def test_a_frozen_clock_is_left_to_python(tmp_path: Path) -> None:
    told = {"clock": {"frozen": 5.0}}
    assert json.loads(run(tmp_path, told, "sh", "-c", f"echo ${VARIABLE}")) == told


def test_what_is_left_can_be_taken_over_by_the_group(tmp_path: Path) -> None:
    script = "umask 077; mkdir -p ../log/a/b; touch ../log/a/b/c; ln -s a ../log/link; touch made"
    run(tmp_path, {"share": True}, "sh", "-c", script)
    log = tmp_path / "log"
    assert [mode(log / name) & 0o770 for name in ("a", "a/b")] == [0o770, 0o770]
    for name in ("a/b/c", "outputs/made", ".reprorun-guest.json"):
        assert mode(log / name) & 0o660 == 0o660, name
    assert os.readlink(log / "link") == "a"


def test_otherwise_modes_stay(tmp_path: Path) -> None:
    run(tmp_path, {}, "sh", "-c", "umask 077; touch ../log/made")
    assert mode(tmp_path / "log/made") == 0o600
