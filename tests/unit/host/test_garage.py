"""Reading records that garage wrote, as they are and as somebody may have made them."""

from __future__ import annotations

import json
import lzma
import math
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reprorun.errors import RecordError
from reprorun.files import sha256_of
from reprorun.formats import garage
from reprorun.formats.garage import date_note, is_garage_record, read_garage_record
from tests import garage_zoo as zoo

FILES = {"exp/train.py": zoo.CALLS_ITSELF}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A record that somebody copied."""
    variant = {"seed": 7.0, "policy": {"$typename": "pkg.Policy"}}
    return zoo.make_record(tmp_path / "made", FILES, launcher="exp/train.py", variant=variant)


def change(record: Path, **metadata: Any) -> None:
    path = record / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **metadata}))


def refusal(record: Path, **options: Any) -> str:
    """The message of a record that is refused: one line."""
    with pytest.raises(RecordError) as caught:
        read_garage_record(str(record), **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


# ---------------------------------------------------------------- as they are


def test_a_record(record: Path) -> None:
    found = read_garage_record(str(record))
    assert found.launcher == "exp/train.py"
    assert found.variant == {"seed": 7.0, "policy": {"$typename": "pkg.Policy"}}
    assert found.commit is not None
    assert len(found.commit) == 40
    assert (found.githash, found.dirty) == (found.commit, False)
    archive = record / "launch_archive.tar.xz"
    assert (found.archive, found.archive_sha256) == (str(archive), sha256_of(str(archive)))
    assert (found.date, found.date_of) == (zoo.DAY, "debug.log")
    assert found.notes == ()


def test_a_dirty_record(tmp_path: Path) -> None:
    record = zoo.make_record(tmp_path, FILES, launcher="exp/train.py", changes={"new.py": ""})
    found = read_garage_record(str(record))
    assert (found.githash, found.dirty) == (f"{found.commit}-dirty", True)


def test_the_zoo_archives_what_garage_did(tmp_path: Path) -> None:
    files = {**FILES, "big.bin": bytes(8 << 20), "small.bin": bytes((8 << 20) - 1)}
    changes = {"exp/train.py": "changed", "new.py": "", "data/ignored": ""}
    record = zoo.make_record(tmp_path, files, launcher="exp/train.py", changes=changes)
    with lzma.open(record / "launch_archive.tar.xz") as file, tarfile.open(fileobj=file) as tar:
        assert sorted(tar.getnames()) == [".gitignore", "exp/train.py", "new.py", "small.bin"]
        changed = tar.extractfile("exp/train.py")
        assert changed is not None
        assert changed.read() == b"changed"


def test_the_id_follows_from_the_content(record: Path, tmp_path: Path) -> None:
    first = read_garage_record(str(record))
    assert first.id.startswith("garage-")
    assert len(first.id) == len("garage-") + 16
    moved = record.rename(tmp_path / "elsewhere")
    zoo.set_times(moved, "2022-01-01")
    assert read_garage_record(str(moved)).id == first.id
    seen = {first.id}
    (moved / "variant.json").write_text("{}")
    seen.add(read_garage_record(str(moved)).id)
    (moved / "variant.json").unlink()
    seen.add(read_garage_record(str(moved)).id)
    change(moved, launcher="other.py")
    seen.add(read_garage_record(str(moved)).id)
    with (moved / "launch_archive.tar.xz").open("ab") as file:
        file.write(b"x")
    seen.add(read_garage_record(str(moved)).id)
    assert len(seen) == 5


def test_without_a_variant(record: Path) -> None:
    (record / "variant.json").unlink()
    assert read_garage_record(str(record)).variant is None


def test_numbers_that_only_python_writes(record: Path) -> None:
    (record / "variant.json").write_text('{"a": Infinity, "b": NaN}')
    found = read_garage_record(str(record)).variant
    assert found is not None
    assert found["a"] == math.inf
    assert math.isnan(found["b"])


def test_the_newest_file_tells_the_date(record: Path) -> None:
    (record / "snapshots/deep").mkdir(parents=True)
    late = record / "snapshots/deep/itr_9.pkl"
    late.write_text("")
    os.utime(late, (1_700_000_000, 1_700_000_000))
    os.symlink("/nowhere", record / "link")
    os.utime(record / "link", (1_800_000_000, 1_800_000_000), follow_symlinks=False)
    os.mkfifo(record / "pipe")
    os.utime(record / "pipe", (1_800_000_000, 1_800_000_000))
    os.utime(record / "snapshots", (1_800_000_000, 1_800_000_000))
    found = read_garage_record(str(record))
    assert (found.date, found.date_of) == ("2023-11-14", "snapshots/deep/itr_9.pkl")


def test_a_copy_that_lost_its_times_is_told(record: Path) -> None:
    found = read_garage_record(str(record))
    day = 24 * 3600
    assert date_note(found, found.newest - 30 * day) is None
    assert date_note(found, found.newest + 1000 * day) is None
    note = date_note(found, found.newest - 400 * day)
    assert note is not None
    assert zoo.DAY in note
    assert "--as-of" in note


# ---------------------------------------------------------------- which are records


def test_what_is_a_record_of_garages(record: Path, tmp_path: Path) -> None:
    assert is_garage_record(str(record))
    assert not is_garage_record(str(tmp_path))
    assert not is_garage_record(str(tmp_path / "gone"))
    (record / "run.json").symlink_to("/nowhere")
    assert not is_garage_record(str(record))


def test_no_record(tmp_path: Path) -> None:
    assert "it has no metadata.json" in refusal(tmp_path)
    assert "it has no metadata.json" in refusal(tmp_path / "gone")


def test_a_run_outside_git(tmp_path: Path) -> None:
    record = zoo.make_record_outside_git(tmp_path, {"train.py": ""})
    message = refusal(record)
    assert "outside any git repository" in message
    assert "kept no code" in message


def test_no_archive(tmp_path: Path) -> None:
    record = zoo.make_record(tmp_path, FILES, launcher="exp/train.py", archive=False)
    message = refusal(record)
    assert "has no launch_archive.tar.xz" in message
    assert "--repo PATH_OR_URL" in message
    found = read_garage_record(str(record), archive_needed=False)
    assert (found.archive, found.archive_sha256, found.notes) == (None, None, ())


def test_no_archive_of_a_dirty_tree(tmp_path: Path) -> None:
    changes = {"new.py": ""}
    record = zoo.make_record(
        tmp_path, FILES, launcher="exp/train.py", archive=False, changes=changes
    )
    [note] = read_garage_record(str(record), archive_needed=False).notes
    assert "are lost" in note


def test_no_archive_and_no_commit(record: Path) -> None:
    (record / "metadata.json").write_text('{"launcher": "train.py"}')
    assert read_garage_record(str(record)).commit is None
    (record / "launch_archive.tar.xz").unlink()
    message = refusal(record)
    assert "No commit is recorded" in message
    assert "--repo" not in message


# ---------------------------------------------------------------- hostile

DEEP = "[" * 200_000


@pytest.mark.parametrize("name", ["metadata.json", "variant.json"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("\x00", "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (DEEP, "is not JSON"),
        ('{"a": ' * 200_000, "is not JSON"),
        ("[]", "holds no JSON object, but []"),
        ("null", "holds no JSON object"),
        ('"' + "x" * 5000 + '"', "holds no JSON object"),
        ("1" * 10_000, "variant.json|metadata.json"),
        (b" " * ((16 << 20) + 1), "larger than 16 MiB"),
    ],
)
def test_what_is_no_json(record: Path, name: str, text: str | bytes, told: str) -> None:
    (record / name).write_bytes(text.encode() if isinstance(text, str) else text)
    message = refusal(record)
    assert any(each in message for each in told.split("|"))
    assert name in message


def test_nan_in_the_metadata(record: Path) -> None:
    (record / "metadata.json").write_text('{"launcher": "train.py", "x": NaN}')
    assert "NaN is not JSON" in refusal(record)


@pytest.mark.parametrize(
    ("launcher", "told"),
    [
        (None, "names no launcher"),
        (1, "not the path of a script"),
        (["train.py"], "not the path of a script"),
        ({}, "not the path of a script"),
        ("", "not the path of a script"),
        ("a\0b.py", "can't be the path"),
        ("a\nRUN rm -rf /", "can't be the path"),
        ("\x1b[2J.py", "can't be the path"),
        ("\ud800.py", "can't be the path"),
        ("/etc/passwd", "outside any git repository"),
        ("../train.py", "leads out of"),
        ("a/../../train.py", "leads out of"),
        ("a/../train.py", "leads out of"),
        ("./train.py", "leads out of"),
        ("..", "leads out of"),
        (".", "leads out of"),
        ("a//b.py", "leads out of"),
        ("a/", "leads out of"),
    ],
)
def test_launchers_that_are_none(record: Path, launcher: object, told: str) -> None:
    change(record, launcher=launcher)
    assert told in refusal(record)


@pytest.mark.parametrize(
    "launcher",
    [
        '"; rm -rf $HOME',
        "$(touch mark).py",
        "`id`.py",
        "a b/ä {{ 7*7 }}.py",
        "-rf",
        "..train.py",
        "%s{0}\\n.py",
        "x" * 5000,
    ],
)
def test_launchers_that_are_odd_stay_what_they_are(record: Path, launcher: str) -> None:
    change(record, launcher=launcher)
    assert read_garage_record(str(record)).launcher == launcher


@pytest.mark.parametrize(
    "githash",
    [
        "",
        "HEAD",
        "abc",
        "g" * 40,
        "A" * 40,
        "a" * 65,
        "a" * 40 + "-dirt",
        "a" * 40 + "-dirty\n",
        "a" * 40 + "\n",
        "--upload-pack=x",
        7,
        ["a" * 40],
        "a" * 20_000_000,
    ],
)
def test_commits_that_are_none(record: Path, githash: object) -> None:
    change(record, githash=githash)
    message = refusal(record)
    assert "is no git commit" in message or "larger than 16 MiB" in message


@pytest.mark.parametrize("name", ["metadata.json", "variant.json", "launch_archive.tar.xz"])
def test_what_is_no_regular_file(record: Path, name: str, tmp_path: Path) -> None:
    elsewhere = (record / name).rename(tmp_path / name)
    (record / name).symlink_to(elsewhere)
    assert f"{name} is not a regular file" in refusal(record)
    (record / name).unlink()
    os.mkfifo(record / name)
    assert f"{name} is not a regular file" in refusal(record)
    (record / name).unlink()
    (record / name).mkdir()
    assert f"{name} is not a regular file" in refusal(record)


def test_nothing_is_unpickled(record: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    class Marks:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(mark),))

    for name in ("params.pkl", "itr_0.pkl", "variant.pkl", "archive.pkl"):
        (record / name).write_bytes(pickle.dumps(Marks()))
    read_garage_record(str(record))
    for name in ("metadata.json", "variant.json"):
        (record / name).write_bytes(pickle.dumps(Marks()))
        refusal(record)
    assert not mark.exists()
    pickle.loads((record / "params.pkl").read_bytes())  # it would have
    assert mark.exists()


def test_nothing_is_changed(record: Path) -> None:
    def state() -> list[tuple[str, bytes, int]]:
        files = sorted(path for path in record.rglob("*") if path.is_file())
        return [(str(p), p.read_bytes(), p.stat().st_mtime_ns) for p in files]

    before = state()
    read_garage_record(str(record))
    assert state() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
METADATA = st.fixed_dictionaries(
    {}, optional={"githash": JSON | st.from_regex(r"[0-9a-f]{40}"), "launcher": JSON | st.text()}
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(metadata=METADATA | JSON, variant=JSON, junk=st.binary(max_size=3))
def test_whatever_it_holds_is_read_or_refused(
    record: Path, metadata: Any, variant: Any, junk: bytes
) -> None:
    for name, value in (("metadata.json", metadata), ("variant.json", variant)):
        (record / name).write_bytes(json.dumps(value).encode() + junk)
    try:
        found = read_garage_record(str(record))
    except RecordError:
        assert "\n" not in refusal(record)
        return
    assert not os.path.isabs(found.launcher)
    assert ".." not in found.launcher.split("/")
    assert not set(found.launcher) & {"\0", "\n"}
    assert found.githash is None or garage._GITHASH.fullmatch(found.githash)
