"""Records on disk: claiming, writing, reading what may be damaged, listing outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun import files, store
from reprorun.errors import RecordError, UsageError
from reprorun.json_text import MOST_VALUES
from reprorun.model import SCHEMA, Output

from . import values

# ---------------------------------------------------------------- the log directory


def test_claims_are_numbered(tmp_path: Path) -> None:
    path = str(tmp_path / "a/b/train")
    assert [store.claim_log_dir(path) for _ in range(3)] == [path, f"{path}_1", f"{path}_2"]


def test_a_claim_passes_over_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("")
    (tmp_path / "train_1").symlink_to("nowhere")
    assert store.claim_log_dir(str(tmp_path / "train")) == str(tmp_path / "train_2")


CLAIM = """
import sys
from reprorun.store import claim_log_dir
sys.stdin.readline()
print([claim_log_dir(sys.argv[1]) for _ in range(20)])
"""


def test_processes_that_claim_at_once_get_different_ones(tmp_path: Path) -> None:
    path = str(tmp_path / "deep/er/train")
    command = [sys.executable, "-c", CLAIM, path]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        said = [answer[0] for answer in pool.map(lambda w: w.communicate("go\n"), workers)]
    claimed = [name for text in said for name in json.loads(text.replace("'", '"'))]
    assert len(set(claimed)) == 80
    assert set(claimed) == {path} | {f"{path}_{number}" for number in range(1, 80)}


def test_a_claim_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in ("file/train", "file/a/train"):
        with pytest.raises(UsageError, match=r"can't be written: Not a directory.*--log-dir"):
            store.claim_log_dir(str(tmp_path / path))


def test_a_claim_with_a_name_too_long(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="File name too long"):
        store.claim_log_dir(str(tmp_path / ("x" * 300)))


def test_a_log_directory_that_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "a/b")
    (tmp_path / "a/b").mkdir(parents=True)
    assert store.use_log_dir(path) == path
    with pytest.raises(UsageError, match="is not empty"):  # another process has it
        store.use_log_dir(path)


def test_one_of_several_gets_a_named_log_directory(tmp_path: Path) -> None:
    def claim(_: int) -> bool:
        try:
            store.use_log_dir(str(tmp_path / "run"))
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(40))) == 1


@pytest.mark.parametrize("path", ["file", "file/x"])
def test_a_log_directory_that_can_not_be(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't be written: .*--log-dir"):
        store.use_log_dir(str(tmp_path / path))


def test_a_log_directory_without_permission(tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError, match=r"can't be written: Permission denied"):
        store.use_log_dir(str(tmp_path / "x"))


# ---------------------------------------------------------------- run.json


def test_a_record_reads_back(tmp_path: Path) -> None:
    record = values.record(
        argv=("träin.py", "line\nbreak", "\udcff"),
        params={"a": [1, {"b": None}], "\udcff": "\ud800"},
        base_image=values.BASE,
    )
    store.write_record(str(tmp_path), record)
    assert store.read_record(str(tmp_path)) == record
    assert (tmp_path / "run.json").read_bytes().isascii()
    assert os.listdir(tmp_path) == ["run.json"]


@given(st.dictionaries(st.text(st.characters(categories=None)), st.text()), st.text())
def test_any_text_reads_back(environment: dict[str, str], reason: str) -> None:
    record = values.record(environment=environment, reason=reason)
    data = json.loads(store.record_text(record))
    assert store._as_record(data, "here") == record


def test_a_record_that_can_not_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_record(str(tmp_path), values.record(id="old"))

    def fails(_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        store.write_record(str(tmp_path), values.record(id="new"))
    monkeypatch.undo()
    assert store.read_record(str(tmp_path)).id == "old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"is no record: it has no run\.json"):
        store.read_record(str(tmp_path))
    with pytest.raises(RecordError, match="is no record"):
        store.read_record(str(tmp_path / "nowhere"))


DEEP = '{"reprorun": {"schema": 1}, "params": ' + '{"a":' * 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "can't be read"),
        ("{", "can't be read"),
        (DEEP, "can't be read"),
        ('{"reprorun": {"schema": 1}, "seconds": NaN}', "can't be read: NaN is not JSON"),
        ('{"reprorun": {"schema": 1}, "x": ' + "1" * 5000 + "}", "can't be read"),
        ("[]", "was not written by reprorun"),
        ("null", "was not written by reprorun"),
        ("{}", "was not written by reprorun"),
        ('{"reprorun": 1}', "was not written by reprorun"),
        ('{"reprorun": {}}', "has schema None"),
        ('{"reprorun": {"schema": "1"}}', "has schema '1'"),
        ('{"reprorun": {"schema": 99}}', "has schema 99; this reprorun reads up to 1. Install"),
        ('{"reprorun": {"schema": true}}', "is damaged"),
        ('{"reprorun": {"schema": 1}}', "is damaged: Object missing required field"),
    ],
)
def test_a_damaged_record(content: str, message: str, tmp_path: Path) -> None:
    values.keep(tmp_path, content)
    with pytest.raises(RecordError) as caught:
        store.read_record(str(tmp_path))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_record_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b'{"\xff": 1}')
    with pytest.raises(RecordError, match="can't be read"):
        store.read_record(str(tmp_path))


def test_a_record_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    values.keep(tmp_path, "")
    os.truncate(tmp_path / "run.json", files.LONGEST + 1)  # it takes up no disk
    with pytest.raises(RecordError, match=r"can't be read: it is larger than 256 MiB$"):
        store.read_record(str(tmp_path))


@pytest.mark.parametrize("value", ["[]", "{}", "1", '{"":0}'])
def test_a_record_of_too_many_values_is_refused_before_they_are_made(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ",".join([value] * MOST_VALUES)
    values.keep(tmp_path, f'{{"reprorun": {{"schema": {SCHEMA}}}, "more": [{more}]}}')
    monkeypatch.setattr("json.loads", lambda *_, **__: pytest.fail("they were made"))
    with pytest.raises(RecordError, match=r"can't be read: it holds more than 5,000,000 values$"):
        store.read_record(str(tmp_path))


def test_a_record_of_many_outputs_is_read(tmp_path: Path) -> None:
    outputs = tuple(
        Output(path=f"outputs/a,b,{n}.csv", size=n, sha256="a" * 64) for n in range(200_000)
    )
    store.write_record(str(tmp_path), values.record(outputs=outputs))
    assert store.read_record(str(tmp_path)).outputs == outputs


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "great"),
        ("argv", "train.py"),
        ("argv", [1]),
        ("exit_code", "0"),
        ("seconds", "1"),
        ("seconds", 10**400),
        ("network", "moon"),
        ("limits", []),
        ("outputs", [{"path": "x"}]),
        ("environment", {"SEED": 1}),
        ("id", None),
    ],
)
def test_wrong_types_are_named(field: str, value: Any, tmp_path: Path) -> None:
    values.keep(tmp_path, values.raw(**{field: value}))
    with pytest.raises(RecordError, match=f"is damaged: .*{field}"):
        store.read_record(str(tmp_path))


def test_unknown_fields_are_passed_over_but_kept(tmp_path: Path) -> None:
    mark = {"schema": SCHEMA, "version": "9", "by": "x"}
    values.keep(tmp_path, values.raw(later={"a": [1]}, reprorun=mark))
    record = store.read_record(str(tmp_path))
    assert record.reprorun.version == "9"
    found = store.read_raw_record(str(tmp_path))
    assert found["later"] == {"a": [1]}
    assert found["reprorun"]["by"] == "x"


def test_records_are_found_but_nothing_inside_them(tmp_path: Path) -> None:
    for name in ("b", "a/c", "a/c/sub", "b/outputs/x"):
        values.keep(tmp_path / name, values.raw())
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [os.path.relpath(path, tmp_path) for path in store.find_records(str(tmp_path))]
    assert found == ["b", "a/c"] or found == ["a/c", "b"]
    assert list(store.find_records(str(tmp_path / "b"))) == [str(tmp_path / "b")]


# ---------------------------------------------------------------- outputs


def test_outputs_are_all_but_our_own_files(tmp_path: Path) -> None:
    for name in store.OURS:
        (tmp_path / name).write_text("ours")
    for name in ("outputs/run.json", "sub/variant.json", "progress.csv", "x y/\udcff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("42")
    (tmp_path / ".reprorun-0123456789abcdef.tmp").write_text("unfinished")
    outputs, odd = store.list_outputs(str(tmp_path))
    digest = "73475cb40a568e8da8a045ced110137e159f890ac4da883b6b17dc651b3a8049"
    names = ["progress.csv", "outputs/run.json", "sub/variant.json", "x y/\udcff"]
    assert outputs == tuple(Output(path=name, size=2, sha256=digest) for name in names)
    assert odd == ()


def test_links_and_pipes_are_no_outputs(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    (tmp_path / "file").symlink_to("x")
    (tmp_path / "directory").symlink_to("/etc")
    (tmp_path / "gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    outputs, odd = store.list_outputs(str(tmp_path))
    assert [output.path for output in outputs] == ["x"]
    assert sorted(entry.path for entry in odd) == ["directory", "file", "gone", "pipe"]


def test_a_file_of_holes_is_named_and_not_read_through(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    outputs, not_kept = store.list_outputs(str(tmp_path))
    assert outputs == ()
    (entry,) = not_kept
    assert (entry.path, entry.reason[:13]) == ("huge", "a sparse file")


def test_the_archive_linked_into_a_sub_record_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / store.ARCHIVE_FILE).write_text("archive")
    os.link(tmp_path / store.ARCHIVE_FILE, tmp_path / "sub" / store.ARCHIVE_FILE)
    assert store.list_outputs(str(tmp_path)) == ((), ())
    (tmp_path / "sub" / store.ARCHIVE_FILE).unlink()
    (tmp_path / "sub" / store.ARCHIVE_FILE).write_text("another")
    assert [o.path for o in store.list_outputs(str(tmp_path))[0]] == [f"sub/{store.ARCHIVE_FILE}"]


AS_NOBODY = """
import os, sys
from reprorun.store import list_outputs
os.setuid(65534)
print([output.path for output in list_outputs(sys.argv[1])[0]])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_what_its_owner_may_not_read_is_listed_all_the_same(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        (directory / "d").mkdir()
        for path in (directory / "d/x", directory / "y"):
            path.write_text("x")
            path.chmod(0)
        for path in (directory / "d/x", directory / "y", directory / "d", directory):
            os.chown(path, 65534, 65534)
        (directory / "d").chmod(0)
        command = [sys.executable, "-c", AS_NOBODY, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "['y', 'd/x']\n", done.stderr
