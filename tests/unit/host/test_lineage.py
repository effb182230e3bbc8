"""Which record is a re-run of which: by id, across directories, and never in circles."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reprorun import known, store
from reprorun.cli import run
from reprorun.errors import RecordError, UsageError
from reprorun.model import Difference
from reprorun.workflow.lineage import Kin, find_reruns, record_id, trace

from . import values

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def kept(
    place: str, run_id: str, of: str | None = None, *, noted: bool = True, **fields: Any
) -> str:
    """A record, noted on this machine or not."""
    path = Path(place).absolute()
    path.mkdir(parents=True)
    store.write_record(str(path), values.record(id=run_id, rerun_of=of, **fields))
    if noted:
        known.remember_record(run_id, str(path))
    return str(path)


def traced(place: str) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    lineage = trace(place, store.read_record(place))
    return (
        [(kin.id, kin.distance) for kin in lineage.originals],
        [(kin.id, kin.distance) for kin in lineage.reruns],
    )


def test_a_chain_across_directories() -> None:
    first = kept("a/one", "1", created="2024-01-01T00:00:00+00:00")
    second = kept("b/two", "2", "1", created="2024-01-02T00:00:00+00:00")
    third = kept("c/three", "3", "2", created="2024-01-03T00:00:00+00:00")
    kept("d/four", "4", "1", created="2024-01-04T00:00:00+00:00")
    assert traced(first) == ([], [("2", 1), ("3", 2), ("4", 1)])
    assert traced(second) == ([("1", 1)], [("3", 1)])
    assert traced(third) == ([("2", 1), ("1", 2)], [])
    (kin,) = trace(second, store.read_record(second)).originals
    assert (kin.log_dir, kin.status) == (first, "finished")


def test_records_beside_it_that_nobody_noted() -> None:
    first = kept("runs/one", "1", noted=False)
    second = kept("runs/two", "2", "1", noted=False)
    kept("elsewhere/three", "3", "1", noted=False)
    assert traced(first) == ([], [("2", 1)])
    assert traced(second) == ([("1", 1)], [])


def test_an_original_that_is_not_known() -> None:
    place = kept("runs/two", "2", "gone")
    (kin,) = trace(place, store.read_record(place)).originals
    assert kin == Kin(id="gone", distance=1)
    assert kin.status == "unknown"


def test_another_record_in_the_noted_place() -> None:
    kept("runs/one", "1")
    place = kept("elsewhere/two", "2", "1")
    store.write_record("runs/one", values.record(id="other"))
    assert trace(place, store.read_record(place)).originals == (Kin(id="1", distance=1),)


def test_copies_count_once() -> None:
    first = kept("runs/one", "1")
    kept("runs/two", "2", "1")
    kept("runs/copy", "2", "1", noted=False)
    Path("runs/link").symlink_to("two")
    assert traced(first) == ([], [("2", 1)])


@pytest.mark.parametrize("circle", [("1",), ("1", "2"), ("1", "2", "3")])
def test_a_circle_is_followed_once(circle: tuple[str, ...]) -> None:
    for index, run_id in enumerate(circle):
        kept(f"runs/{run_id}", run_id, circle[index - 1])
    originals, reruns = traced("runs/1")
    assert sorted(run_id for run_id, _ in originals) == sorted(circle[1:])
    assert sorted(run_id for run_id, _ in reruns) == sorted(circle[1:])


def test_a_very_long_chain() -> None:
    for number in range(1, 1500):
        kept(f"runs/{number}", str(number), str(number - 1), noted=False)
    assert len(find_reruns("0", ["runs"])) == 1499
    originals, _ = traced("runs/3")
    assert originals == [("2", 1), ("1", 2), ("0", 3)]


def test_an_original_that_garage_wrote() -> None:
    Path("old").mkdir()
    Path("old/metadata.json").write_text('{"launcher": "train.py"}')
    Path("old/variant.json").write_text("{}")
    run_id = record_id("old")
    assert run_id.startswith("garage-")
    known.remember_record(run_id, str(Path("old").absolute()))
    place = kept("new/rerun", "2", run_id)
    (kin,) = trace(place, store.read_record(place)).originals
    assert kin == Kin(id=run_id, distance=1, log_dir=str(Path("old").absolute()))
    assert kin.status == "by garage"
    assert [kin.id for kin in find_reruns(run_id)] == ["2"]
    Path("old/variant.json").write_text('{"a": 1}')  # another record by now
    assert trace(place, store.read_record(place)).originals[0].log_dir is None


# ---------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    "run_id", ["../../outside", "/etc/passwd", "..", "", ".", "a/b", "nul\0", "\udcff", "x" * 5000]
)
def test_an_id_that_is_a_path(run_id: str) -> None:
    note = Path(os.environ["XDG_STATE_HOME"], "outside")
    note.write_text(str(Path.cwd()))
    store.write_record(".", values.record(id=run_id))
    assert known.noted_place(run_id) is None
    place = kept("runs/two", "2", run_id or None)
    assert all(kin.log_dir is None for kin in trace(place, store.read_record(place)).originals)


def test_damaged_records_and_other_things_beside_it() -> None:
    first = kept("runs/one", "1")
    kept("runs/two", "2", "1")
    for name, text in {
        "damaged": '{"rerun_of": "1"',
        "no": '{"rerun_of": "1"}',
        "empty": "",
    }.items():
        values.keep(Path("runs", name), text)
    newer = {**values.raw(id="9", rerun_of="1"), "reprorun": {"schema": 99}}
    values.keep(Path("runs/newer"), newer)
    Path("runs/pipe").mkdir()
    os.mkfifo("runs/pipe/run.json")
    Path("runs/file").write_text("")
    assert traced(first) == ([], [("2", 1)])


# ---------------------------------------------------------------- the commands


def test_show(capsys: Capture) -> None:
    differences = (
        Difference(what="packages: numpy", original="1.26.2", now="2.2.6", wanted=True),
        Difference(what="host: processor", original="A", now="B\x1b[2J"),
    )
    kept("a/one", "1", "gone\x1b[2J")
    middle = kept("b/two", "2", "1", differences=differences)
    kept("c/three", "3", "2", status="failed")
    kept("c/four", "4", "3")
    assert run(["show", middle]) == 0
    lines = capsys.readouterr().out.splitlines()
    here = Path.cwd()
    at = lines.index("re-run of:")
    assert lines[at + 1 : at + 3] == [
        f"  1                 finished     {here}/a/one",
        "    gone\\x1b[2J          unknown      not known on this machine",
    ]
    at = lines.index("differs from the original (* asked for):")
    assert lines[at + 1 : at + 3] == [
        "  * packages: numpy: 1.26.2, now 2.2.6",
        "    host: processor: A, now B\\x1b[2J",
    ]
    at = lines.index("re-runs:")
    assert lines[at + 1 :] == [
        f"  3                 failed       {here}/c/three",
        f"    4                 finished     {here}/c/four",
    ]
    assert run(["show", middle, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == store.read_raw_record(middle)


def test_show_of_a_record_without_kin(capsys: Capture) -> None:
    assert run(["show", kept("a/one", "1")]) == 0
    assert "re-run" not in capsys.readouterr().out


@pytest.mark.parametrize("named", ["a/one", "1", "a/one/"])
def test_ls(named: str, capsys: Capture) -> None:
    kept("a/one", "1")
    kept("b/two", "2", "1")
    kept("c/three", "3", "2")
    kept("a/beside", "4", "1", noted=False)
    kept("data/local/x/default", "5", "1", noted=False)
    kept("more/there/six", "6", "1", noted=False)
    kept("other/seven", "7", "other")
    assert run(["ls", "--rerun-of", named]) == 0
    found = {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]}
    beside = {"a/beside"} if "/" in named else set()
    assert found == {"b/two", "c/three", "data/local/x/default", *beside}
    assert run(["ls", "--rerun-of", named, "--json", "more"]) == 0
    found = {row["id"] for row in json.loads(capsys.readouterr().out)}
    assert found == {"2", "3", "6", *(["4"] if beside else [])}


def test_ls_of_what_has_no_reruns(capsys: Capture) -> None:
    kept("a/one", "1")
    assert run(["ls", "--rerun-of", "1"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "reprorun: no re-runs of 1 are known.\n")


@pytest.mark.parametrize("arguments", [["a/nowhere"], ["."], [""], ["../x"], ["1", "nowhere"]])
def test_ls_of_what_is_no_record(arguments: list[str], capsys: Capture) -> None:
    assert run(["ls", "--rerun-of", *arguments]) == 2
    assert capsys.readouterr().err.startswith("reprorun: error: ")


def test_the_id_of_a_record() -> None:
    assert record_id(kept("a/one", "1")) == "1"
    assert record_id("0123456789abcdef") == "0123456789abcdef"
    with pytest.raises(UsageError, match="neither the log directory of a record nor its id"):
        record_id("a/two")
    with pytest.raises(RecordError):
        record_id("a")
