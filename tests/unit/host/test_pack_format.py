"""The pack itself: written, read, and refused in every way that it can be wrong."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.errors import RecordError, UsageError
from reprorun.json_text import MOST_VALUES
from reprorun.model import LeftOut
from reprorun.pack import reading
from reprorun.pack.contents import FoundFile, check_record, record_files
from reprorun.pack.format import LARGEST_INDEX
from reprorun.pack.reading import Pack
from reprorun.pack.writing import writing

from . import packs
from .packs import (
    LAYERS,
    WHEEL,
    WHEEL_CONTENT,
    entries,
    make_input,
    make_log_dir,
    packed,
    read_all,
    refusal,
    rewritten,
    small_pack,
    swap,
    write_pack,
)

# ---------------------------------------------------------------- what is right


def test_all_that_was_packed_comes_out(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    found = read_all(path, tmp_path / "out")
    run = (tmp_path / "made/train/run.json").read_bytes()
    assert found == {
        "record/run.json": run,
        "record/result.txt": b"42\n",
        "record/empty": b"",
        "settings": packs.settings(*LAYERS),
        WHEEL: WHEEL_CONTENT,
        "layer 0": LAYERS[0],
        "layer 1": LAYERS[1],
        "/data.bin": b"data" * 1000,
        "/data/a/x.txt": b"x",
        "/data/b.txt": b"42\n",
    }


def test_the_names_in_the_zip_are_for_people(tmp_path: Path) -> None:
    assert list(entries(small_pack(tmp_path))) == [
        "record/empty",
        "record/result.txt",
        "record/run.json",
        f"wheels/{WHEEL}",
        "image/settings.json",
        "image/layer-1.tar.gz",
        "image/layer-2.tar.gz",
        "inputs/1",
        "inputs/2/a/x.txt",  # b.txt is there as record/result.txt
        "pack.json",
    ]


def test_each_content_stands_once(tmp_path: Path) -> None:
    big = os.urandom(1 << 20)
    log_dir = make_log_dir(tmp_path / "train", a=big, b=big)
    inputs = [
        make_input(tmp_path / "c", "/c", big),
        make_input(tmp_path / "d", "/d", {"x": big, "y": big}),
    ]
    write_pack(tmp_path / "p", log_dir, *inputs)
    assert (tmp_path / "p").stat().st_size < len(big) + (64 << 10)
    found = read_all(tmp_path / "p", tmp_path / "out")
    assert [found[n] == big for n in ("record/a", "record/b", "/c", "/d/x", "/d/y")] == [True] * 5


def test_the_same_makes_the_same_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_dir = make_log_dir(tmp_path / "train", a=b"1")
    write_pack(tmp_path / "one", log_dir)
    os.utime(log_dir / "a", (0, 0))
    monkeypatch.setattr(time, "time", lambda: 1e9)
    write_pack(tmp_path / "two", log_dir)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


NAMES = ["with space", "ünï", "new\nline", "back\\slash", "-o", "a" * 255, os.fsdecode(b"\xff\xfe")]


def test_names_of_all_kinds(tmp_path: Path) -> None:
    log_dir = make_log_dir(tmp_path / "train")
    for number, name in enumerate(NAMES):
        (log_dir / name).write_text(str(number))
        (log_dir / "below" / name).mkdir(parents=True)
        (log_dir / "below" / name / name).write_text(f"below {number}")
    (log_dir / "below" / NAMES[0] / NAMES[0]).chmod(0o755)
    write_pack(tmp_path / "p", log_dir)
    read_all(tmp_path / "p", tmp_path / "out")
    for number, name in enumerate(NAMES):
        assert (tmp_path / "out" / name).read_text() == str(number)
        assert (tmp_path / "out/below" / name / name).read_text() == f"below {number}"
    modes = [(tmp_path / "out/below" / name / name).stat().st_mode & 0o777 for name in NAMES[:2]]
    assert modes == [0o755, 0o644]


def test_links_of_a_record_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not for others")
    log_dir = make_log_dir(tmp_path / "train")
    (log_dir / "file").symlink_to(tmp_path / "secret")
    (log_dir / "directory").symlink_to(tmp_path)
    os.mkfifo(log_dir / "pipe")
    (log_dir / ".reprorun-0123.tmp").write_text("a write in flight")
    index = write_pack(tmp_path / "p", log_dir)
    assert [file.path for file in index.record] == ["run.json"]
    why = "not a regular file"
    assert index.left_out == tuple(
        LeftOut(path=name, reason=why) for name in ("directory", "file", "pipe")
    )
    assert b"not for others" not in (tmp_path / "p").read_bytes()


def test_files_that_the_record_names_are_checked() -> None:
    found = [FoundFile(path=p, source=p, sha256=p * 64, executable=False) for p in "abc"]
    check_record(found, [("a", "a" * 64), ("c", "c" * 64)])
    with pytest.raises(RecordError) as caught:
        check_record(found, [("a", "a" * 64), ("b", "0" * 64), ("d", "d" * 64)])
    assert "b (has changed), d (is missing)" in str(caught.value)


# ---------------------------------------------------------------- writing that fails


def test_what_changes_meanwhile_is_no_pack(tmp_path: Path) -> None:
    log_dir = make_log_dir(tmp_path / "train", a=b"1")
    found, _ = record_files(str(log_dir))
    (log_dir / "a").write_text("2")
    target = tmp_path / "out/p"
    target.parent.mkdir()
    changed = pytest.raises(RecordError, match="train/a has changed while it was packed")
    with changed, writing(str(target)) as writer:
        packs.add_files(found, "record", writer)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("error", [OSError("broken"), KeyboardInterrupt()])
def test_a_layer_that_breaks_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def pieces() -> Any:
        yield b"1" * 5000
        raise error

    with pytest.raises(type(error)), writing(str(tmp_path / "p")) as writer:
        writer.add_layer("image/layer-1.tar.gz", pieces())
    assert list(tmp_path.iterdir()) == []


def test_without_the_index_it_is_no_pack(tmp_path: Path) -> None:
    def interrupted() -> None:
        with writing(str(tmp_path / "p")) as writer:
            writer.add_bytes("x", b"1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, signal, sys
from pathlib import Path
from tests.unit.host import packs
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
place = Path(sys.argv[1])
log_dir = packs.make_log_dir(place / "train", **{"a": bytes(300_000)})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    packs.write_pack(place / "p", log_dir)
except OSError as error:
    print(error.errno)
"""


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("27\n", "")  # EFBIG
    assert [path.name for path in tmp_path.iterdir() if path.name != "p.whl"] == ["train"]


MEMORY = """
import re, sys
from pathlib import Path
from tests.unit.host import packs
place = Path(sys.argv[1])
log_dir = packs.make_log_dir(place / "train")
with open(log_dir / "big", "wb") as file:
    file.truncate(400 << 20)
packs.write_pack(place / "p", log_dir)
with packs.Pack.open(str(place / "p")) as pack:
    pack.unpack(pack.index.record, str(place / "out"))
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


def test_what_is_large_is_never_in_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert (tmp_path / "out/big").stat().st_size == 400 << 20
    assert int(done.stdout) < 200 << 10  # KiB


# ---------------------------------------------------------------- packs that are wrong


def test_what_is_no_pack(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_text("")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("text", "empty", "directory", "pipe"):
        assert f"{name} is no pack" in refusal(tmp_path / name, tmp_path / "out")


def test_another_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("x", "1")
    assert "it has no pack.json" in refusal(tmp_path / "z", tmp_path / "out")


def test_a_pack_that_is_cut_short(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) - 100, len(whole) // 2, 100, 4):
        path.write_bytes(whole[:size])
        assert "is cut short or damaged" in refusal(path, tmp_path / "out")


def test_a_newer_pack(tmp_path: Path) -> None:
    path = rewritten(small_pack(tmp_path), lambda index: index["pack"].update(schema=2, new=[1]))
    said = refusal(path, tmp_path / "out")
    assert said.endswith("has schema 2; this reprorun reads up to 1. Install a newer reprorun.")
    assert "damaged" not in said


def test_fields_of_newer_versions_are_passed_over(tmp_path: Path) -> None:
    path = rewritten(small_pack(tmp_path), lambda index: index.update(new={"x": 1}))
    assert read_all(path, tmp_path / "out")


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "{}", '{"pack": {}}', '{"pack": {"schema": 1}}', "[" * 100_000]
)
def test_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    path = swap(small_pack(tmp_path), "pack.json", text.encode())
    assert "is damaged" in refusal(path, tmp_path / "out")


def test_an_index_that_is_too_large(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    index = entries(path)["pack.json"]
    swap(path, "pack.json", index + b" " * LARGEST_INDEX)
    assert "its pack.json is too large" in refusal(path, tmp_path / "out")


def test_an_index_of_too_many_values(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    text = entries(path)["pack.json"].rstrip().removesuffix(b"}")
    swap(path, "pack.json", text + b', "more": [' + b"[]," * (MOST_VALUES // 2) + b"[]]}")
    assert "is damaged: it holds more than 5,000,000 values" in refusal(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("record/result.txt", "'record/result.txt' has changed"),
        (f"wheels/{WHEEL}", "has changed"),
        ("image/settings.json", "has changed"),
        ("inputs/1", "'inputs/1' has changed"),
        ("inputs/2/a/x.txt", "'inputs/2/a/x.txt' has changed"),
    ],
)
def test_content_that_is_another_is_named(tmp_path: Path, name: str, what: str) -> None:
    path = small_pack(tmp_path)
    old = entries(path)[name]
    assert what in refusal(swap(path, name, old[:-1] + b"!"), tmp_path / "out")


def test_a_layer_that_is_another_is_named(tmp_path: Path) -> None:
    path = swap(small_pack(tmp_path), "image/layer-1.tar.gz", packed(b"3" + LAYERS[0][1:]))
    assert "'image/layer-1.tar.gz' has changed" in refusal(path, tmp_path / "out")


def test_layers_with_other_sizes(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    swap(path, "image/layer-1.tar.gz", packed(LAYERS[0][:-1]))
    assert "has 1 bytes less" in refusal(path, tmp_path / "out")
    swap(path, "image/layer-1.tar.gz", packed(LAYERS[0] + b"\0"))
    assert "has more than the" in refusal(path, tmp_path / "out2")
    swap(path, "image/layer-1.tar.gz", LAYERS[0])
    assert "is damaged" in refusal(path, tmp_path / "out3")


def test_a_layer_that_unpacks_to_very_much_is_not_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with packs.gzip.open(buffer, "wb") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    path = swap(small_pack(tmp_path), "image/layer-2.tar.gz", buffer.getvalue())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "has more than the" in refusal(path, tmp_path / "out")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_entries_that_are_missing(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    for name in list(entries(path)):
        copy = tmp_path / "copy"
        copy.write_bytes(path.read_bytes())
        if name != "pack.json":
            rewritten(copy, None, **{name: None})
            assert f"{name!r} is missing" in refusal(copy, tmp_path / "out")


def test_sizes_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    def edit(index: dict[str, Any]) -> None:
        index["record"][1]["size"] += 1

    path = rewritten(small_pack(tmp_path), edit)
    assert "has 3 bytes, 4 were wanted" in refusal(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_twice(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("record/result.txt", "43\n")
    assert "'record/result.txt' is in it twice" in refusal(path, tmp_path / "out")


def test_an_entry_that_is_compressed(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("bomb", bytes(1 << 20), zipfile.ZIP_DEFLATED)
    assert "'bomb' is compressed" in refusal(path, tmp_path / "out")


def test_an_entry_that_is_encrypted(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refusal(path, tmp_path / "out")


PATHS = [
    *("../x", "a/../../x", "/etc/x", "", ".", "./x", "a//b", "a/", "a/./b", "nul\0", "..", "/"),
    *("\ud800", "result.txt", "result.txt/x"),
]


@pytest.mark.parametrize("name", PATHS)
def test_paths_that_lead_out(tmp_path: Path, name: str) -> None:
    path = small_pack(tmp_path)

    def of_record(index: dict[str, Any]) -> None:
        index["record"][0]["path"] = name

    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    refusal(rewritten(copy, of_record), tmp_path / "a/b/out")
    assert not (tmp_path / "a").exists()

    def of_input(index: dict[str, Any]) -> None:
        index["inputs"][1]["files"][0]["path"] = name

    refusal(rewritten(path, of_input), tmp_path / "a/b/out")


@pytest.mark.parametrize("name", ["..", "a/b", "", "/", "."])
def test_the_name_of_the_record_is_one_name(tmp_path: Path, name: str) -> None:
    refusal(rewritten(small_pack(tmp_path), lambda i: i.update(name=name)), tmp_path / "out")


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    path = rewritten(small_pack(tmp_path), lambda i: i["record"][0].update(path="x" * 300))
    assert "can't be made: File name too long" in refusal(path, tmp_path / "out")


@pytest.mark.parametrize(
    "edit",
    [
        lambda i: i["wheels"][0].update(name="../six.whl"),
        lambda i: i["wheels"][0].update(name=".six.whl"),
        lambda i: i["wheels"][0].update(sha256="X" * 64),
        lambda i: i["inputs"][0].update(sha256="0" * 64),
        lambda i: i["inputs"][1].update(sha256="0" * 64),
        lambda i: i["inputs"][1]["files"].pop(),
        lambda i: i["image"]["layers"][0].update(diff_id="0" * 64),
        lambda i: i["image"]["layers"][0].update(size=-1),
        lambda i: i["image"]["layers"][0].update(size=1 << 60),
        lambda i: i["image"]["layers"][0].update(entry="nothing"),
        lambda i: i["image"].update(ref="../../containers/x"),
        lambda i: i["image"].update(id="a b"),
        lambda i: i["image"].update(layers=None),
        lambda i: i["record"][0].update(size="12"),
        lambda i: i.pop("image"),
    ],
)
def test_an_index_that_no_pack_of_ours_has(tmp_path: Path, edit: packs.Edit) -> None:
    path = rewritten(small_pack(tmp_path), edit)
    assert "is damaged" in refusal(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_than_the_disk_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_pack(tmp_path)
    usage = reading.shutil._ntuple_diskusage(100, 100, 3)  # type: ignore[attr-defined]
    monkeypatch.setattr(reading.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(UsageError, match=r"bytes, but the disk of .* has 3"):
        read_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_goes_through_what_is_there(tmp_path: Path) -> None:
    path = small_pack(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with Pack.open(str(path)) as pack, pytest.raises(FileExistsError):
        pack.unpack(pack.index.record, str(tmp_path / "out"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


@cache
def a_pack() -> tuple[bytes, dict[str, bytes]]:
    with tempfile.TemporaryDirectory() as place:
        path = small_pack(Path(place))
        return path.read_bytes(), read_all(path, Path(place, "out"))


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """The bytes of a pack with some of them changed, taken out, put in or repeated."""
    data = bytearray(a_pack()[0])
    for _ in range(draw(st.integers(1, 4))):
        # most of what zipfile looks at is at the end
        near_end = draw(st.booleans())
        at = draw(st.integers(max(0, len(data) - 1500) if near_end else 0, max(0, len(data) - 1)))
        length = draw(st.integers(0, 8))
        kind = draw(st.sampled_from(["change", "cut", "insert", "repeat", "truncate"]))
        if kind == "change":
            data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "cut":
            del data[at : at + length * 20]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=16))
        elif kind == "repeat":
            data[at:at] = data[at : at + length * 20]
        else:
            del data[at:]
    return bytes(data)


@settings(max_examples=300)
@given(mutations())
def test_whatever_happens_to_its_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "run.rrpack")
        path.write_bytes(data)
        try:
            found = read_all(path, Path(place, "out"))
        except RecordError:
            return
        assert found == a_pack()[1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(PATHS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@st.composite
def indexes(draw: st.DrawFn) -> dict[str, Any]:
    """The index of a pack with one value somewhere in it replaced."""
    with zipfile.ZipFile(io.BytesIO(a_pack()[0])) as archive:
        index: dict[str, Any] = json.loads(archive.read("pack.json"))
    at: Any = index
    while True:
        keys = list(range(len(at))) if isinstance(at, list) else list(at)
        if not keys:
            return index
        key = draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or draw(st.integers(0, 3)) == 0:
            at[key] = draw(json_values)
            return index
        at = at[key]


@settings(max_examples=300)
@given(indexes())
def test_whatever_its_index_says(index: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "run.rrpack")
        path.write_bytes(a_pack()[0])
        swap(path, "pack.json", json.dumps(index).encode())
        inside = Path(place, "deep/er/out")
        inside.parent.mkdir(parents=True)
        with suppress(RecordError):
            read_all(path, inside)
        assert sorted(os.listdir(place)) == ["deep", "run.rrpack"]
        assert os.listdir(Path(place, "deep")) == ["er"]
