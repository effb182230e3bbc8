"""A sweep that is gone on with: with which code, and what is said of the runs that are finished."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun import store
from reprorun.cli import run
from reprorun.engine.fake import FakeProcess
from reprorun.errors import RecordError
from reprorun.model import Changes, Record
from reprorun.sweeps.book import read_book
from reprorun.sweeps.values import PointsSpec
from reprorun.workflow.here import here
from reprorun.workflow.report import Silent
from reprorun.workflow.sweep import Resumption, SweepRequest, resume_sweep

from .test_sweep import Lab, params_of, takes


class Noted(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def resumed(lab: Lab, request: SweepRequest | Resumption | None = None) -> list[str]:
    """Go on, and give the notes of it that speak of finished runs."""
    report = Noted()
    resume_sweep(
        str(lab.directory),
        request or Resumption(),
        str(lab.root),
        lab.connect,
        here(lab.connect, lab.told.of, 1, Silent()),
        lambda *_: lab.told,
        report,
    )
    return [note for note in report.notes if "finished" in note and "git" not in note]


def with_spec(request: SweepRequest, **fields: Any) -> SweepRequest:
    return replace(request, spec=replace(request.spec, **fields))


def record_of(lab: Lab, name: str) -> Record:
    return store.read_record(str(lab.directory / name))


def archive_of(lab: Lab, name: str) -> str:
    archive = record_of(lab, name).archive
    assert archive
    return archive.sha256


# ---------------------------------------------------------------- the launch


def after_a_mended_script(lab: Lab) -> tuple[str, str]:
    """Old code failed at all; new code made the first run, and then it was interrupted."""
    lab.run(lab.request(3, fail=[0, 1, 2]))
    (lab.root / "train.py").write_text("print('mended')\n")
    one = replace(lab.request(3, fail=[0, 1, 2]), points=PointsSpec(grid={"n": (2,)}))
    lab.resume(one)
    return archive_of(lab, "n=0"), archive_of(lab, "n=2_1")


def test_it_goes_on_with_the_code_that_it_was_given_last(lab: Lab) -> None:
    old, new = after_a_mended_script(lab)
    assert old != new
    lab.resume(Resumption(points=PointsSpec(grid={"n": (0, 1, 2)})))
    assert [archive_of(lab, name) for name in ("n=0_1", "n=1_1", "n=2_2")] == [new] * 3
    assert read_book(str(lab.directory)).head.archive_sha256 == new


def test_code_that_no_record_kept_is_not_replaced_by_older(lab: Lab) -> None:
    after_a_mended_script(lab)
    os.rename(lab.directory / "n=2_1", lab.root / "elsewhere")
    before = lab.names()
    with pytest.raises(RecordError, match=r"its records are of other ones.*with SCRIPT"):
        lab.resume()
    assert lab.names() == before


def test_a_damaged_record_is_passed_over(lab: Lab) -> None:
    lab.run(lab.request(3, fail=[1]))
    (lab.directory / "n=2" / "run.json").write_text("{")
    lab.resume()
    assert lab.names() == ["n=0", "n=1", "n=1_1", "n=2"]


def test_an_environment_that_no_record_kept_is_not_replaced_by_another(lab: Lab) -> None:
    lab.run(lab.request(2))
    for name in lab.names():
        record = store.read_raw_record(str(lab.directory / name))
        record["environment_digest"] = "sha256:00"
        (lab.directory / name / "run.json").write_text(json.dumps(record))
    with pytest.raises(RecordError, match="its records are of other ones"):
        lab.resume()


def test_of_the_same_code_the_flags_of_the_newest_are_taken(lab: Lab) -> None:
    lab.run(lab.request(1))
    more = replace(lab.request(1), points=PointsSpec(grid={"n": (0, 1)}))
    lab.resume(with_spec(more, numerics="portable"))
    lab.resume(Resumption(points=PointsSpec(grid={"n": (2,)})))
    made = [record_of(lab, f"n={n}").numerics for n in range(3)]
    assert made == ["native", "portable", "portable"]


# ---------------------------------------------------------------- what is finished


def test_nothing_is_said_where_nothing_differs(lab: Lab) -> None:
    (lab.root / "data.txt").write_text("1")
    request = with_spec(
        lab.request(2), inputs=("data.txt",), env={"MODE": "a", "MY_TOKEN": "t"}, passed=("ALSO",)
    )
    lab.run(request)
    assert resumed(lab, request) == []
    assert resumed(lab, Resumption(changes=Changes(env={"MY_TOKEN": "t"}))) == []


def test_what_finished_runs_were_made_with_otherwise_is_named(lab: Lab) -> None:
    (lab.root / "data.txt").write_text("1")
    lab.run(with_spec(lab.request(2), inputs=("data.txt",), env={"MODE": "one", "SAME": "x"}))
    (lab.root / "data.txt").write_text("2")
    request = with_spec(
        lab.request(3),
        inputs=("data.txt",),
        env={"MODE": "second", "SAME": "x", "MORE": "third"},
        numerics="portable",
        network="bridge",
    )
    code, note = resumed(lab, request)
    assert code.startswith("the code is another than before")  # the data lie in the repository
    assert note.startswith("2 of the finished runs were made otherwise than those that follow: ")
    before, now = (record_of(lab, name).inputs[0] for name in ("n=0", "n=2"))
    assert f"{now.target} (sha256 {before.sha256[:12]}, now sha256 {now.sha256[:12]})" in note
    assert "variables: MODE, variables: MORE, " in note
    assert "numerics (native, now portable)" in note
    assert not [word for word in ("SAME", "second", "third") if word in note]
    assert lab.names() == ["n=0", "n=1", "n=2"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"numerics": "portable"}, "follow: numerics (native, now portable)."),
        ({"network": "bridge"}, "follow: network (none, now bridge)."),
        ({"env": {"MODE": "b"}}, "follow: variables: MODE."),
    ],
)
def test_each_by_itself(lab: Lab, fields: dict[str, Any], said: str) -> None:
    lab.run(lab.request(1))
    (note,) = resumed(lab, with_spec(lab.request(2), **fields))
    assert said in note


def test_changes_of_a_resumption_are_named_too(lab: Lab) -> None:
    lab.run(lab.request(1))
    (note,) = resumed(lab, Resumption(changes=Changes(env={"MODE": "b"})))
    assert "follow: variables: MODE." in note


def test_nothing_changed_reads_no_record_but_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of ten thousand runs is gone on with at once."""
    lab.run(lab.request(5))
    read: list[str] = []
    real = store.read_record
    monkeypatch.setattr(store, "read_record", lambda path: (read.append(path), real(path))[1])
    lab.resume()
    assert len(read) <= 2, read


def test_of_runs_that_were_made_alike_one_is_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.run(lab.request(6))
    (lab.directory / "n=5" / "run.json").write_text("null")  # damaged: no more is known of it
    read: list[str] = []
    real = store.read_record
    monkeypatch.setattr(store, "read_record", lambda path: (read.append(path), real(path))[1])
    (note,) = resumed(lab, with_spec(lab.request(6), numerics="portable"))
    assert note.startswith("5 of the finished runs were made otherwise"), note
    assert [os.path.basename(path) for path in read] == ["n=0", "n=5"]


def test_runs_that_are_made_again_are_not_spoken_of(lab: Lab) -> None:
    lab.run(lab.request(1, fail=[0]))
    assert resumed(lab, with_spec(lab.request(1, fail=[0]), numerics="portable")) == []


def test_many_differences_are_counted(lab: Lab) -> None:
    lab.run(lab.request(1))
    (note,) = resumed(lab, with_spec(lab.request(1), env={f"V{n}": "x" for n in range(8)}))
    assert "variables: V4, 3 more." in note
    assert "V5" not in note


# ---------------------------------------------------------------- arguments


def test_parameters_that_all_share_fill_arguments_too(lab: Lab) -> None:
    commands = []

    def program(process: FakeProcess) -> int:
        commands.append((process.spec.command, params_of(process)))
        process.write("/log/train/variant.json", b'{"depth": 2}')
        process.write("/log/train/metadata.json", b'{"launcher": "train.py"}')
        return 0

    lab = Lab(lab.root, program)
    request = lab.request(1, args=("--lr={lr}", "{n}", "{other}"), lr=0.1, depth=2)
    assert lab.run(request).exit_code == 0
    assert commands == [(("python", "train.py", "--lr=0.1", "0", "{other}"), {"depth": 2})]
    lab.resume()
    lab.resume(request)
    (lab.directory / "sweep.json").write_text(_forgotten(lab))
    lab.resume()
    assert len(commands) == 1  # it is known by the same, here and in its record


def _forgotten(lab: Lab) -> str:
    book = json.loads((lab.directory / "sweep.json").read_text())
    book["runs"][0].update(status="running", log_dir=None)
    return json.dumps(book)


# ---------------------------------------------------------------- the command


def planned(capsys: pytest.CaptureFixture[str], *args: str) -> list[str]:
    """The runs that a dry run names."""
    capsys.readouterr()
    assert run(["sweep", *args, "--dry-run"]) == 0
    lines = capsys.readouterr().err.splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


@pytest.fixture
def half(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A sweep of four runs, of which two are finished."""
    lab = Lab(lab.root, takes)
    lab.run(lab.request(4, fail=[1, 2]))
    monkeypatch.chdir(lab.root)
    monkeypatch.setattr("reprorun.cli.engines.chosen_engine", lambda *_: lab.connect)
    return lab


def test_a_sample_of_what_it_had(half: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    resume = ("--resume", str(half.directory))
    assert planned(capsys, *resume) == ["n=1", "n=2"]
    assert planned(capsys, *resume, "--sample", "4") == ["n=1", "n=2"]
    chosen = {tuple(planned(capsys, *resume, "--sample", "1", "--sample-seed", str(seed)))
              for seed in range(12)}  # fmt: skip
    assert chosen == {(), ("n=1",), ("n=2",)}


def test_a_sample_of_more_than_it_had(half: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sweep", "--resume", str(half.directory), "--sample", "9", "--dry-run"]) == 2
    assert "--sample 9: the sweep has 4 points" in capsys.readouterr().err


def test_a_dry_run_with_script_names_what_is_left(
    half: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train.py", "--base-image", "base:1", "--resume", str(half.directory))
    same = ("--grid", "n=0..4", "-P", "fail=[1,2]")
    assert planned(capsys, *command, *same) == ["n=1", "n=2", "n=4"]
    other = ("--grid", "n=0..1", "-P", "fail=[1]")
    assert planned(capsys, *command, *other) == ["n=0", "n=1"]
    done = ("--grid", "n=0,3", "-P", "fail=[1,2]")
    assert planned(capsys, *command, *done) == []


def test_a_dry_run_plans_the_first_that_is_left(
    half: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["sweep", "train.py", "--base-image", "base:1", "--resume", str(half.directory)]
    assert run([*args, "--grid", "n=0..1", "-P", "fail=[1,2]", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert '"n": 1' in said.out
    assert '"n": 0' not in said.out
    assert "not known before the packages are resolved" in said.err
