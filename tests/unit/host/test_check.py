"""`check` on the fake engine: what comes out the same, what does not, what can't be run."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun import known, store
from reprorun.cli.check import describe_check, exit_code
from reprorun.compare.values import Settings, Tolerance
from reprorun.engine.fake import FakeProcess
from reprorun.errors import EngineUnavailable, UsageError
from reprorun.model import Changes
from reprorun.vary.applying import parse_wanted
from reprorun.workflow.check import (
    PLACE,
    CheckOptions,
    RecordCheck,
    check,
    find_checkable,
)
from reprorun.workflow.exec import execute

from .test_exec import Bench

Program = Callable[[FakeProcess], int]


class Lab(Bench):
    """Checks records, in a directory that is not the repository."""

    def __init__(self, root: Path, elsewhere: Path) -> None:
        super().__init__(root)
        self.elsewhere = elsewhere
        elsewhere.mkdir()

    def record(self, program: Program, **fields: Any) -> str:
        self.engine.programs["python"] = program
        return self.run(**fields).log_dir

    def check(self, *records: str, at_once: int = 1, **fields: Any) -> list[RecordCheck]:
        options = CheckOptions(**{"changes": Changes(), "blame": False, **fields})
        place, told = str(self.elsewhere), self.told
        connect = lambda: self.engine  # noqa: E731
        return list(check(records, options, at_once, place, connect, lambda record: told))

    def one(self, record: str, **fields: Any) -> RecordCheck:
        (result,) = self.check(record, **fields)
        return result

    @property
    def kept(self) -> list[str]:
        place = self.elsewhere / PLACE
        return sorted(os.listdir(place)) if place.exists() else []


@pytest.fixture
def lab(repository: Any, tmp_path: Path) -> Lab:
    return Lab(repository({"train.py": "print('hello')\n"}), tmp_path / "elsewhere")


def writes(text: str, name: str = "out.csv", code: int = 0) -> Program:
    def program(process: FakeProcess) -> int:
        process.write(name, text.encode())
        return code

    return program


def counting() -> Program:
    numbers = itertools.count()

    def program(process: FakeProcess) -> int:
        process.write("out.csv", f"step,loss\n0,0.5\n1,{next(numbers)}.25\n".encode())
        return 0

    return program


def findings(result: RecordCheck) -> dict[str, str]:
    (repeat,) = result.repeats
    return {
        named.path: named.finding.verdict
        for named in repeat.comparison.findings
        if named.finding.verdict != "identical"
    }


def test_the_same(lab: Lab) -> None:
    record = lab.record(writes("a,b\n1,2\n"))
    notes = set(known.known_records())
    result = lab.one(record)
    assert (result.verdict, result.error) == ("identical", None)
    assert exit_code([result]) == 0
    assert lab.kept == []  # nothing of it stays, nor is it known
    assert set(known.known_records()) == notes


def test_the_same_kept(lab: Lab) -> None:
    record = lab.record(writes("1\n"))
    result = lab.one(record, keep=True)
    assert lab.kept == ["train"]
    (repeat,) = result.repeats
    assert repeat.log_dir
    assert store.read_record(repeat.log_dir).rerun_of == store.read_record(record).id


def test_gpus_that_are_not_there_are_no_circumstance(lab: Lab) -> None:
    """Named as a factor, they are asked for: the CPU is not taken in their place."""
    record = lab.record(writes("1\n"))
    lab.engine.builds.clear()
    result = lab.one(record, vary=parse_wanted("device=gpu"))
    assert result.verdict == "error"
    assert "GPUs were asked for" in (result.error or "")
    assert lab.engine.builds == []


def test_a_records_own_dockerfile_is_not_built_unasked(lab: Lab) -> None:
    lab.engine.programs["python"] = writes("1\n")
    (lab.root / "Dockerfile").write_text("FROM base:1\n")
    spec = replace(lab.spec(), base_image=None, dockerfile="Dockerfile")
    finished = execute(spec, lambda: lab.engine, lab.told)
    assert finished.record.base_image
    lab.engine.remove_image(finished.record.base_image.ref)
    lab.engine.builds.clear()
    result = lab.one(finished.log_dir)
    assert result.verdict == "error"
    assert "--rebuild" in (result.error or "")
    assert lab.engine.builds == []
    assert lab.one(finished.log_dir, changes=Changes(rebuild=True)).verdict == "identical"


def test_another_result(lab: Lab) -> None:
    record = lab.record(counting())
    result = lab.one(record)
    assert result.verdict == "different"
    assert findings(result) == {"outputs/out.csv": "different"}
    assert exit_code([result]) == 1
    assert lab.kept == ["train"]
    text = "\n".join(describe_check(result))
    assert "column loss" in text
    assert "0.25, now 1.25" in text
    assert "kept: " in text


def test_within_tolerance(lab: Lab) -> None:
    record = lab.record(writes("x\n1.0\n"))
    lab.engine.programs["python"] = writes("x\n1.001\n")
    assert lab.one(record).verdict == "different"
    result = lab.one(record, settings=Settings(tolerance=Tolerance(rtol=0.01)))
    assert result.verdict == "within tolerance"
    assert exit_code([result]) == 0


def test_missing_and_extra(lab: Lab) -> None:
    record = lab.record(writes("1\n", "old.txt"))
    lab.engine.programs["python"] = writes("1\n", "new.txt")
    assert findings(lab.one(record)) == {
        "outputs/old.txt": "missing",
        "outputs/new.txt": "extra",
    }


def test_a_crash_is_a_verdict(lab: Lab) -> None:
    record = lab.record(writes("1\n"))
    lab.engine.programs["python"] = writes("1\n", code=3)
    result = lab.one(record)
    assert (result.verdict, result.error) == ("different", None)
    assert any("exit code" in line for line in describe_check(result))


def test_a_failure_that_fails_again_is_the_same(lab: Lab) -> None:
    record = lab.record(writes("1\n", code=3))
    assert lab.one(record).verdict == "identical"


def test_repeats(lab: Lab) -> None:
    record = lab.record(writes("1\n"))
    result = lab.one(record, repeat=3)
    assert [repeat.comparison.verdict for repeat in result.repeats] == ["identical"] * 3
    numbers = iter([0, 0, 1])
    lab.engine.programs["python"] = lambda process: writes(f"{1 + next(numbers)}\n")(process)
    result = lab.one(record, repeat=3)
    assert [repeat.comparison.same for repeat in result.repeats] == [True, True, False]
    assert result.verdict == "different"
    assert lab.kept == ["train"]


def test_several_at_once_each_with_its_own_verdict(lab: Lab) -> None:
    same = lab.record(writes("1\n"), name="same")
    os.makedirs(lab.root / "b")
    damaged = lab.record(writes("1\n"), name="damaged")
    Path(damaged, store.ARCHIVE_FILE).write_bytes(b"x")
    results = {Path(r.record).name: r for r in lab.check(same, damaged, at_once=2)}
    assert results["same"].verdict == "identical"
    assert results["damaged"].verdict == "error"
    assert "sha256" in (results["damaged"].error or "")
    assert exit_code(list(results.values())) == 2
    assert lab.kept == []


def test_what_changed_around_it_is_told(lab: Lab) -> None:
    record = lab.record(counting())
    path = Path(record, store.RUN_FILE)
    engine = {"name": "docker", "version": "19.0", "api_version": "1"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "engine": engine}))
    text = "\n".join(describe_check(lab.one(record)))
    assert "its circumstances differ, too" in text
    assert "engine: docker 19.0, now fake" in text


@pytest.mark.parametrize("status", ["running", "interrupted", "lost"])
def test_a_run_without_an_end(lab: Lab, status: str) -> None:
    record = lab.record(writes("1\n"))
    path = Path(record, store.RUN_FILE)
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": status}))
    result = lab.one(record)
    assert result.verdict == "error"
    assert status in (result.error or "")
    assert lab.kept == []


def test_an_engine_that_is_gone(lab: Lab) -> None:
    record = lab.record(writes("1\n"))

    def nobody() -> Any:
        raise EngineUnavailable("no engine answers")

    options = CheckOptions(changes=Changes())
    place, told = str(lab.elsewhere), lab.told
    (result,) = check([record], options, 1, place, nobody, lambda record: told)
    assert (result.verdict, result.exit_code) == ("error", 125)
    assert exit_code([result]) == 125
    assert lab.kept == []


def test_a_difference_counts_before_an_error() -> None:
    error = RecordCheck(record="a", verdict="error", error="x", exit_code=125)
    different = RecordCheck(record="b", verdict="different")
    unknown = RecordCheck(record="c", verdict="unknown")
    assert exit_code([error, different]) == 1
    assert exit_code([unknown]) == 1  # what can't be told is no pass


def test_records_are_found(lab: Lab, tmp_path: Path) -> None:
    first, _ = lab.record(writes("1\n")), lab.record(writes("1\n"))
    (Path(first).parent / "x.rrpack").write_text("")
    found = find_checkable([first, str(Path(first).parent)])
    assert [Path(path).name for path in found] == ["train", "train_1", "x.rrpack"]
    (tmp_path / "empty").mkdir()
    for path in (str(tmp_path / "empty"), "nowhere"):
        with pytest.raises(UsageError):
            find_checkable([path])
