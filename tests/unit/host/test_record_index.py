"""The index behind `reprorun ls`: it spares the reading of records, and says nothing untrue."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reprorun import files, record_index, store
from reprorun.errors import RecordError
from reprorun.model import Record
from reprorun.record_index import list_records, stale_indexes, summarize
from reprorun.workflow.garbage import find_garbage

from . import values

WORTH = 3
Listed = list[tuple[str, Any]]


@pytest.fixture(autouse=True)
def _worth_it_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few records are enough, and none was changed just now."""
    monkeypatch.setattr(record_index, "WORTH", WORTH)
    monkeypatch.setattr(record_index, "_CLOCK", -(10**9))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the records that are read."""
    seen: list[str] = []
    read = store.read_record

    def reading(log_dir: str) -> Record:
        seen.append(os.path.basename(log_dir))
        return read(log_dir)

    monkeypatch.setattr(store, "read_record", reading)
    return seen


def write(place: Path, **fields: Any) -> Path:
    """A record, written as runs write theirs."""
    place.mkdir(parents=True, exist_ok=True)
    store.write_record(str(place), values.record(**fields))
    return place


def make(root: Path, count: int = 8) -> Path:
    for number in range(count):
        write(root / f"run_{number}", id=str(number), seconds=number + 0.5)
    return root


def listed(root: Path | str) -> Listed:
    """What the list says, with errors as text."""
    found = list_records(str(root))
    return [(at, str(said) if isinstance(said, RecordError) else said) for at, said in found]


def read_anew(root: Path) -> Listed:
    """The same without any index."""
    found: Listed = []
    for path in store.find_records(str(root)):
        place = os.path.relpath(path, root)
        try:
            said: Any = summarize(store.read_record(path))
        except RecordError as error:
            said = str(error)
        found.append(("" if place == "." else place, said))
    return found


def index_files() -> list[Path]:
    return sorted(Path(files.cache_directory("index")).iterdir())


# ---------------------------------------------------------------- what it spares


def test_the_second_time_only_the_first_few_are_read(tmp_path: Path, reads: list[str]) -> None:
    make(tmp_path)
    first = listed(tmp_path)
    assert len(reads) == len(first) == 8
    reads.clear()
    assert listed(tmp_path) == first
    assert reads == ["run_0", "run_1", "run_2"]
    assert first == read_anew(tmp_path)


def test_the_same_directory_by_another_path(tmp_path: Path, reads: list[str]) -> None:
    make(tmp_path / "runs")
    (tmp_path / "link").symlink_to("runs")
    first = listed(tmp_path / "runs")
    reads.clear()
    assert listed(tmp_path / "link") == listed(f"{tmp_path}/link/../runs/") == first
    assert len(reads) == 2 * WORTH
    assert len(index_files()) == 1


def test_few_records_have_no_index(tmp_path: Path) -> None:
    make(tmp_path, WORTH - 1)
    listed(tmp_path)
    assert index_files() == []


def test_it_is_written_anew_when_enough_has_changed(tmp_path: Path, reads: list[str]) -> None:
    make(tmp_path)
    listed(tmp_path)
    written = index_files()[0].stat().st_ino
    for number in range(WORTH - 1):
        write(tmp_path / f"run_{number + 5}", reason="x")
    listed(tmp_path)
    assert index_files()[0].stat().st_ino == written
    write(tmp_path / "run_9")
    listed(tmp_path)
    assert index_files()[0].stat().st_ino != written
    reads.clear()
    assert listed(tmp_path) == read_anew(tmp_path)
    assert reads[:WORTH] == ["run_0", "run_1", "run_2"]
    assert len(reads) == WORTH + 9  # read_anew's


def test_it_shrinks_when_enough_is_gone(tmp_path: Path) -> None:
    make(tmp_path)
    listed(tmp_path)
    before = index_files()[0].stat().st_size
    for number in range(WORTH):
        shutil.rmtree(tmp_path / f"run_{number + 5}")
    assert [place for place, _ in listed(tmp_path)] == [f"run_{n}" for n in range(5)]
    assert index_files()[0].stat().st_size < before


def test_it_is_for_the_user_alone(tmp_path: Path) -> None:
    listed(make(tmp_path))
    assert index_files()[0].stat().st_mode & 0o777 == 0o600


# ---------------------------------------------------------------- what it never hides


def test_a_run_that_is_not_over_is_always_read(tmp_path: Path, reads: list[str]) -> None:
    make(tmp_path)
    for name, status in (("y", "running"), ("z", "building")):
        write(tmp_path / name, status=status)
    listed(tmp_path)
    reads.clear()
    listed(tmp_path)
    assert reads == ["run_0", "run_1", "run_2", "y", "z"]


def test_what_was_changed_just_now_is_read_again(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_index, "_CLOCK", 2_000_000_000)
    make(tmp_path)
    listed(tmp_path)
    assert index_files() == []
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3_000_000_000)
    listed(tmp_path)
    reads.clear()
    listed(tmp_path)
    assert len(reads) == WORTH


def by_rename(path: Path, text: str) -> None:
    other = path.with_name("other")
    other.write_text(text)
    other.rename(path)


@pytest.mark.parametrize("rewrite", [Path.write_text, by_rename])
def test_a_change_that_leaves_size_and_time_is_seen(
    rewrite: Callable[[Path, str], object], tmp_path: Path
) -> None:
    make(tmp_path)
    listed(tmp_path)
    path = tmp_path / "run_7/run.json"
    before = path.stat()
    time.sleep(0.02)  # more than a tick of the clock
    rewrite(path, path.read_text().replace('"exit_code": 0', '"exit_code": 7'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert listed(tmp_path)[-1][1].exit_code == 7


def test_records_that_change_places(tmp_path: Path) -> None:
    make(tmp_path)
    listed(tmp_path)
    for source, target in (("run_6", "x"), ("run_7", "run_6"), ("x", "run_7")):
        (tmp_path / source).rename(tmp_path / target)
    assert [said.seconds for _, said in listed(tmp_path)][-2:] == [7.5, 6.5]


def test_a_link_in_a_records_place_is_no_record(tmp_path: Path) -> None:
    make(tmp_path / "runs")
    listed(tmp_path / "runs")
    (tmp_path / "runs/run_7").rename(tmp_path / "away")
    (tmp_path / "runs/run_7").symlink_to(tmp_path / "away")
    assert [place for place, _ in listed(tmp_path / "runs")] == [f"run_{n}" for n in range(7)]


def test_a_record_around_others(tmp_path: Path) -> None:
    make(tmp_path / "runs/below")
    listed(tmp_path)
    write(tmp_path / "runs")
    assert [place for place, _ in listed(tmp_path)] == ["runs"]
    assert [place for place, _ in listed(tmp_path / "runs")] == [""]


def test_odd_trees(tmp_path: Path) -> None:
    make(tmp_path / "runs")
    odd = tmp_path / "runs/odd"
    (odd / "directory/run.json/deep").mkdir(parents=True)
    write(odd / "directory/run.json/deep/in")
    for name, target in (("link", "../../run_0/run.json"), ("broken", "nowhere"),
                         ("loop", "run.json"), ("to_directory", "..")):  # fmt: skip
        (odd / name).mkdir()
        (odd / name / "run.json").symlink_to(target)
    (odd / "around").symlink_to("..")
    (odd / "pipe").mkdir()
    os.mkfifo(odd / "pipe/run.json")
    write(odd / "a-b")
    write(odd / "a/b")
    write(odd / "new\nline \x1b[31m")
    write(odd / os.fsdecode(b"no utf-8 \xff"))
    assert listed(tmp_path) == listed(tmp_path) == read_anew(tmp_path)
    assert len(listed(tmp_path)) == 17


def test_numbers_and_names_that_no_index_can_hold(tmp_path: Path, reads: list[str]) -> None:
    make(tmp_path)
    values.keep(tmp_path / "x", values.raw(exit_code=10**400))
    text = (tmp_path / "run_0/run.json").read_text()
    values.keep(tmp_path / "y", text.replace('"seconds": 0.5', '"seconds": 1e999'))
    values.keep(tmp_path / "z", values.raw(argv=["\udcff"]))
    first = listed(tmp_path)
    assert first[-3][1].exit_code == 10**400
    assert first[-2][1].seconds == float("inf")
    assert first[-1][1].command == "'\udcff'"
    written = index_files()[0].stat().st_ino
    reads.clear()
    assert listed(tmp_path) == first
    assert reads == ["run_0", "run_1", "run_2", "y", "z"]
    assert index_files()[0].stat().st_ino == written  # they are no change


def test_damaged_records_are_told_every_time(tmp_path: Path) -> None:
    make(tmp_path)
    values.keep(tmp_path / "z", "{")
    assert "can't be read" in listed(tmp_path)[-1][1]
    assert listed(tmp_path) == listed(tmp_path) == read_anew(tmp_path)
    values.keep(tmp_path / "run_7", "{")
    assert "can't be read" in listed(tmp_path)[-2][1]


NAMES = st.sampled_from(["a", "b", "a/c", "a/d", "b/c", "e/f/g", "h", "i", "j"])
CHANGES = st.tuples(st.sampled_from(["write", "running", "damage", "remove", "move", "list"]),
                    NAMES, NAMES)  # fmt: skip


@given(st.lists(CHANGES, max_size=25))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_between(changes: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for number in range(WORTH + 1):
            write(root / f"0/{number}")
        for number, (change, name, other) in enumerate(changes):
            apply(change, root / name, root / other, number)
            if change == "list":
                assert listed(root) == read_anew(root)
        assert listed(root) == listed(root) == read_anew(root)


def apply(change: str, place: Path, other: Path, number: int) -> None:
    fields: dict[str, Any] = {"exit_code": number, "notes": ("x" * number,)}  # no size twice
    if change == "write":
        write(place, **fields)
    elif change == "running":
        write(place, status="running", **fields)
    elif change == "damage":
        values.keep(place, "{" * (number + 1))
    elif change == "remove" and place.exists():
        shutil.rmtree(place)
    elif change == "move" and place.exists() and not other.exists() and place not in other.parents:
        other.parent.mkdir(parents=True, exist_ok=True)
        place.rename(other)


# ---------------------------------------------------------------- the file


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"finished"', b'"failed"', 1))


def older(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b", index 1", b", index 0", 1))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.write_bytes(os.urandom(3000))


@pytest.mark.parametrize("damage", [cut, flip, older, empty, foreign, Path.unlink])
def test_a_damaged_index_is_not_looked_at_but_made_again(
    damage: Callable[[Path], None], tmp_path: Path, reads: list[str]
) -> None:
    make(tmp_path)
    first = listed(tmp_path)
    (path,) = index_files()
    good = path.read_bytes()
    damage(path)
    assert not path.exists() or path.read_bytes() != good
    reads.clear()
    assert listed(tmp_path) == first
    assert len(reads) == 8
    assert path.read_bytes() == good
    assert index_files() == [path]


def test_the_index_of_another_directory(tmp_path: Path, reads: list[str]) -> None:
    make(tmp_path / "a")
    listed(tmp_path / "a")
    (one,) = index_files()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    listed(tmp_path / "b")
    (other,) = set(index_files()) - {one}
    shutil.copy(other, one)
    reads.clear()
    listed(tmp_path / "a")
    assert len(reads) == 8


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def write_nothing(path: str, data: bytes, **_: Any) -> None:
        raise OSError(28, "No space left on device", path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", write_nothing)
        yield


def test_a_cache_that_cant_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "runs")
    with full_disk(monkeypatch):
        assert listed(tmp_path / "runs") == read_anew(tmp_path / "runs")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert listed(tmp_path / "runs") == read_anew(tmp_path / "runs")


def test_several_processes_at_once(tmp_path: Path, reads: list[str]) -> None:
    make(tmp_path, 50)
    program = (
        "import sys; from reprorun import record_index\n"
        "record_index.WORTH, record_index._CLOCK = 3, -10**9\n"
        "for _ in range(20):\n"
        "    assert len(list(record_index.list_records(sys.argv[1]))) == 50\n"
        "    record_index._save(sys.argv[1], list(record_index._load(sys.argv[1]).values()))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, tmp_path]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(index_files()) == 1
    assert listed(tmp_path) == read_anew(tmp_path)
    assert len(reads) == WORTH + 50  # read_anew's


def test_gc_removes_the_index_of_a_directory_that_is_gone(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make(tmp_path / name)
        before = set(index_files())
        listed(tmp_path / name)
        (made,) = set(index_files()) - before
        if name == "a":
            gone = made
        elif name == "b":
            damaged = made
    shutil.rmtree(tmp_path / "a")
    damaged.write_bytes(b"x")
    assert set(stale_indexes()) == {str(gone), str(damaged)}
    garbage = {entry.path for entry in find_garbage([], None) if entry.kind == "index"}
    assert garbage == {str(gone), str(damaged)}
