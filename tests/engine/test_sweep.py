"""Sweeps on the real engine: every run once, whatever happens in between."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.model import Record

from ..kit import BASE
from .bench import REPRORUN, Bench, Done, client, one_message
from .daemon import daemon, hand_over
from .disk import small_disk

WRAPPED = """\
import json, os, sys, time
from reprorun import wrap_experiment

@wrap_experiment
def train(ctxt, seed: int = 0, lr: float = 0.1, wait=0.0, fail=(), size=0):
    print("training", seed, lr, flush=True)
    with open(os.path.join(ctxt.snapshot_dir, "progress.csv"), "w") as file:
        file.write("epoch,loss\\n")
        for epoch in range(3):
            file.write(f"{epoch},{lr / (epoch + 1) + seed}\\n")
    with open(os.path.join(ctxt.snapshot_dir, "big"), "wb") as file:
        file.write(bytes(size))
    time.sleep(float(os.environ.get("WAIT", wait)))
    if seed in fail and not os.environ.get("MENDED"):
        sys.exit(3)

train()
"""
PLAIN = """\
import sys
open("said.txt", "w").write(" ".join(sys.argv[1:]))
"""


@pytest.fixture
def lab(bench: Bench) -> Bench:
    bench.write({"train.py": WRAPPED, "plain.py": PLAIN})
    bench.commit()
    return bench


def sweep(bench: Bench, *words: str, place: str = "s", **options: Any) -> Done:
    """`reprorun sweep WORDS... --log-dir PLACE`."""
    directory = bench.records / place
    given = () if "--resume" in words else ("--log-dir", str(directory))
    return bench.reprorun("sweep", *given, *words, log_dir=directory, **options)


def start(bench: Bench, *words: str, place: str = "s") -> tuple[subprocess.Popen[bytes], Path]:
    directory = bench.records / place
    process = subprocess.Popen(
        [REPRORUN, "sweep", *words, "--log-dir", str(directory)],
        cwd=bench.root,
        env=bench.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return process, directory


def records(directory: Path) -> dict[str, Record]:
    return {
        path.name: store.read_record(str(path))
        for path in map(Path, store.find_records(str(directory)))
    }


def finished_points(directory: Path) -> Counter[str]:
    """How often each point was brought to its end."""
    found = records(directory).values()
    return Counter(json.dumps(r.params) for r in found if r.status == "finished")


def book(directory: Path) -> Any:
    return json.loads((directory / "sweep.json").read_bytes())


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def containers(directory: Path) -> list[Any]:
    with client() as engine:
        return [
            container
            for record in records(directory).values()
            for container in engine.containers.list(
                all=True, filters={"label": f"reprorun.run={record.id}"}
            )
        ]


# ---------------------------------------------------------------- what comes of it


def test_a_grid(lab: Bench) -> None:
    done = sweep(lab, "train.py", "--grid", "seed=0..2", "--grid", "lr=0.1,0.5", "-j", "2")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "6 runs: 6 finished"
    found = records(done.log_dir)
    assert sorted(found) == [f"seed={seed}_lr={lr}" for seed in range(3) for lr in (0.1, 0.5)]
    record = found["seed=1_lr=0.5"]
    assert record.params == {"seed": 1, "lr": 0.5}
    assert (done.log_dir / "seed=1_lr=0.5/console.log").read_text() == "training 1 0.5\n"
    assert {r.image for r in found.values()} == {record.image}
    assert len({r.archive.sha256 for r in found.values() if r.archive}) == 1
    assert containers(done.log_dir) == []
    shown = lab.reprorun("show", str(done.log_dir)).out.splitlines()
    assert shown[:2] == ["sweep        train.py", "status       6 runs: 6 finished"]
    kept = book(done.log_dir)
    assert [run["status"] for run in kept["runs"]] == ["finished"] * 6
    assert kept["runs"][3]["params"] == {"seed": 1, "lr": 0.5}
    assert kept["runs"][3]["id"] == record.id
    with (done.log_dir / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[3]["seed"] == "1"
    assert rows[3]["record"] == "seed=1_lr=0.5"
    assert float(rows[3]["loss"]) == pytest.approx(0.5 / 3 + 1)


def test_a_record_of_a_sweep_is_like_any_other(lab: Bench) -> None:
    done = sweep(lab, "train.py", "--grid", "seed=0,1")
    again = lab.reprorun("check", str(done.log_dir / "seed=1"))
    assert (again.code, again.out[:9]) == (0, "identical"), again.err


def test_values_in_arguments(lab: Bench) -> None:
    words = ("plain.py", "--zip", "n=1,2", "--zip", "name=a,b c", "--", "--n={n}", "{name}", "{x}")
    done = sweep(lab, *words)
    assert done.code == 0, done.err
    found = records(done.log_dir)
    said = [(done.log_dir / name / "outputs/said.txt").read_text() for name in sorted(found)]
    assert sorted(said) == ["--n=1 a {x}", "--n=2 b c {x}"]
    assert {record.argv[1:] for record in found.values()} == {
        ("--n=1", "a", "{x}"),
        ("--n=2", "b c", "{x}"),
    }


def test_the_directory_is_no_part_of_the_code(lab: Bench) -> None:
    first = lab.reprorun("sweep", "train.py", "--grid", "seed=0")
    second = lab.reprorun("sweep", "train.py", "--grid", "seed=0")
    assert (first.code, second.code) == (0, 0), second.err
    one, two = (
        next(iter(records(lab.root / "data/local/sweep" / name).values()))
        for name in ("train", "train_1")
    )
    assert one.archive == two.archive
    assert not two.dirty


def test_failures_stop_nothing_and_are_gone_on_with(lab: Bench) -> None:
    done = sweep(lab, "train.py", "--grid", "seed=0..4", "-P", "fail=[1,3]", "-j", "2")
    assert done.code == 1
    assert done.out.splitlines()[0] == "5 runs: 3 finished, 2 failed"
    assert f"reprorun sweep --resume {done.log_dir}" in done.out
    again = sweep(lab, "--resume", str(done.log_dir), "-e", "MENDED=1")
    assert again.code == 0, again.err
    assert set(finished_points(done.log_dir).values()) == {1}
    assert len(finished_points(done.log_dir)) == 5
    assert sorted(records(done.log_dir)) == [
        "seed=0", "seed=1", "seed=1_1", "seed=2", "seed=3", "seed=3_1", "seed=4",
    ]  # fmt: skip
    once_more = sweep(lab, "--resume", str(done.log_dir))
    assert (once_more.code, len(records(done.log_dir))) == (0, 7), once_more.err


def test_more_points_for_a_sweep_that_is_there(lab: Bench) -> None:
    done = sweep(lab, "train.py", "--grid", "seed=0,1")
    lab.write({"train.py": "raise SystemExit(5)"})  # it is the sweep's own code that counts
    again = sweep(lab, "--resume", str(done.log_dir), "--grid", "seed=0..3")
    assert again.code == 0, again.err
    assert set(finished_points(done.log_dir).values()) == {1}
    assert len(finished_points(done.log_dir)) == 4


def test_other_code_or_another_environment(lab: Bench) -> None:
    done = sweep(lab, "train.py", "--grid", "seed=0,1")
    lab.write({"train.py": WRAPPED + "\n# other code\n"})
    again = sweep(lab, "train.py", "--grid", "seed=0..2", "--resume", str(done.log_dir))
    assert again.code == 0, again.err
    assert "the code is another than before" in again.err
    assert len(records(done.log_dir)) == 3
    lab.write({"requirements.txt": "six==1.16.0\n"})
    third = sweep(lab, "train.py", "--grid", "seed=0..2", "--resume", str(done.log_dir))
    assert third.code == 0, third.err
    assert "the environment is another than before" in third.err
    assert len(records(done.log_dir)) == 6


# ---------------------------------------------------------------- what goes wrong


def test_a_parameter_that_the_function_does_not_have(lab: Bench) -> None:
    done = sweep(lab, "train.py", "--grid", "sed=0..99", "-j", "2")
    assert done.code == 2
    assert "train() takes no parameter 'sed'; it takes: seed, lr" in one_message(done.err)
    assert len(records(done.log_dir)) == 2


def test_a_value_of_the_wrong_type(lab: Bench) -> None:
    done = sweep(lab, "train.py", "--grid", "lr=fast", "-j", "1")
    assert (done.code, one_message(done.err)) == (
        2,
        "-P lr=\"fast\": train() takes 'lr' as float",
    )


def test_a_parameter_that_nothing_takes(lab: Bench) -> None:
    done = sweep(lab, "plain.py", "--grid", "seed=0..9", "-j", "1")
    assert done.code == 2
    assert "-P seed had no effect" in one_message(done.err)
    assert len(records(done.log_dir)) == 1


def test_two_at_once_into_one_directory(lab: Bench) -> None:
    process, directory = start(lab, "train.py", "--grid", "seed=0,1", "-e", "WAIT=30", "-j", "2")
    wait_for((directory / "sweep.json").exists)
    second = sweep(lab, "train.py", "--grid", "seed=5")
    resumed = sweep(lab, "--resume", str(directory))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert (second.code, resumed.code) == (2, 2)
    assert "holds a sweep" in one_message(second.err)
    assert "another sweep is at work" in one_message(resumed.err)


def test_ctrl_c(lab: Bench) -> None:
    process, directory = start(lab, "train.py", "--grid", "seed=0..5", "-e", "WAIT=30", "-j", "2")
    wait_for(lambda: sum(r.status == "running" for r in records(directory).values()) == 2
             if directory.exists() else False)  # fmt: skip
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"6 runs: 2 interrupted, 4 not begun" in out
    assert [r.status for r in records(directory).values()] == ["interrupted"] * 2
    assert containers(directory) == []
    again = sweep(lab, "--resume", str(directory), "-e", "WAIT=0")
    assert again.code == 0, again.err


def test_a_kill_in_the_middle(lab: Bench) -> None:
    process, directory = start(lab, "train.py", "--grid", "seed=0..5", "-e", "WAIT=4", "-j", "2")
    wait_for(lambda: directory.exists() and len(finished_points(directory)) >= 2)
    wait_for(lambda: sum(r.status == "running" for r in records(directory).values()) == 2)
    process.kill()
    process.communicate()
    done = sweep(lab, "--resume", str(directory), "-e", "WAIT=0")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "6 runs: 6 finished"
    assert sorted(finished_points(directory).values()) == [1] * 6  # none was made twice
    # one whose container had been made and not yet started can only be lost
    assert {r.status for r in records(directory).values()} <= {"finished", "lost"}
    assert containers(directory) == []


def test_an_engine_that_restarts_in_the_middle(lab: Bench) -> None:
    with daemon() as own_engine:
        hand_over(BASE, own_engine.address)
        lab.env = {**lab.env, "DOCKER_HOST": own_engine.address}
        words = ("train.py", "--grid", "seed=0..7", "-P", "wait=2.0", "-j", "2")
        process, directory = start(lab, *words)
        wait_for(lambda: directory.exists() and len(finished_points(directory)) >= 1)
        own_engine.kill()
        time.sleep(2)
        own_engine.start()
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    assert b"8 runs: 8 finished" in out
    assert len(finished_points(directory)) == 8
    assert set(finished_points(directory).values()) == {1}


def test_a_disk_that_is_full_in_the_middle(lab: Bench, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "20m") as place:
        directory = place / "s"
        words = ("train.py", "--grid", "seed=0..19", "-P", "size=3000000", "-j", "1")
        done = lab.reprorun("sweep", *words, "--log-dir", str(directory))
        kept = Counter(run["status"] for run in book(directory)["runs"])
        true = Counter(record.status for record in records(directory).values())
        left = containers(directory)
    assert done.code in (1, 125), done.err
    assert kept["finished"] >= 2
    assert kept["planned"] >= 10, kept
    assert true["finished"] == kept["finished"]
    assert left == []
