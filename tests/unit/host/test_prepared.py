"""Runs of a prepared launch: what is made of what they leave."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reprorun.engine.fake import FakeProcess
from reprorun.experiment.signature import REFUSAL
from reprorun.workflow.console_again import read_tail, write_console
from reprorun.workflow.prepared import Attempt, prepared, run_prepared

from .test_exec import Bench

SECRET = f"{REFUSAL} something else of the host's"


@pytest.fixture
def bench(repository: Any) -> Bench:
    return Bench(repository({"train.py": "print('hello')\n"}))


def run(bench: Bench, program: Callable[[FakeProcess], int]) -> Attempt:
    bench.engine.programs["python"] = program
    spec = bench.spec()
    with prepared(spec, bench.engine, bench.told) as launch:
        return run_prepared(launch, spec, bench.engine, bench.told)


def test_what_the_guest_refused_is_told(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        process.say(f"one line\n{REFUSAL} no parameter lr\n", "stderr")
        return 2

    attempt = run(bench, program)
    assert attempt.exit_code == 2
    assert attempt.refusal
    assert "no parameter lr" in attempt.refusal


def a_pipe(place: Path) -> None:
    os.mkfifo(place)  # nobody ever writes to it


def a_link(place: Path) -> None:
    elsewhere = place.parent.parent / "secret"
    elsewhere.write_text(SECRET)
    place.symlink_to(elsewhere)


@pytest.mark.parametrize("planted", [a_pipe, a_link, Path.mkdir])
def test_what_stands_in_the_place_of_its_output_is_not_read(
    planted: Callable[[Path], None], bench: Bench
) -> None:
    """The experiment can write in its log directory. A pipe would hang the sweep for good."""

    def program(process: FakeProcess) -> int:
        console = Path(process.spec.mounts[0].source) / "console.log"
        console.unlink()
        planted(console)
        return 2

    attempt = run(bench, program)
    assert (attempt.exit_code, attempt.refusal, attempt.error) == (2, None, None)
    assert read_tail(attempt.log_dir) == ""


def test_what_can_not_be_read_is_written_over(tmp_path: Path) -> None:
    a_pipe(tmp_path / "console.log")
    assert write_console(str(tmp_path), [b"hello\n"]) is None
    assert (tmp_path / "console.log").read_bytes() == b"hello\n"
