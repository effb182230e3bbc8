"""What is garbage: all that no record needs, and nothing that one does."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun import cli, files, known, store
from reprorun.engine.fake import FakeEngine
from reprorun.engine.references import PARENT_REPOSITORY
from reprorun.environment.fetch import cached, keep
from reprorun.environment.layers import environment_layers
from reprorun.errors import EngineError, RecordError, UsageError
from reprorun.experiment import archive_cache
from reprorun.model import (
    Archive,
    ContainerSpec,
    Image,
    InputFile,
    Lock,
    Package,
    RemoteFile,
    Source,
)
from reprorun.notes import write_note
from reprorun.plan import ENVIRONMENT_REPOSITORY
from reprorun.workflow.garbage import Garbage, find_garbage, remove
from reprorun.workflow.restore import base_tag

from ...kit import FAKE_BASE
from . import values
from .values import BASE

DIGEST = "e" * 64
ENVIRONMENT = f"{ENVIRONMENT_REPOSITORY}:{DIGEST[:24]}"


def package(name: str, data: bytes = b"", **fields: Any) -> Package:
    """A package whose wheel is in the cache."""
    content = data or name.encode()
    sha256, _ = keep(f"{name}-1-py3-none-any.whl", content)
    wheel = RemoteFile(name=f"{name}-1-py3-none-any.whl", sha256=sha256, size=len(content))
    return Package(name=name, version="1", wheel=wheel, **fields)


def remembered(place: Path, *packages: Package, **fields: Any) -> Path:
    """A record of this machine that needs some packages."""
    given = {
        "packages": packages,
        "environment_digest": f"sha256:{DIGEST}",
        "image": "reprorun/run:1",
        "base_image": BASE,
        "import_paths": ("src",),
        **fields,
    }
    made = values.record(**given)
    place.mkdir(parents=True, exist_ok=True)
    store.write_record(str(place), made)
    known.remember_record(made.id, str(place))
    return place


def image(name: str, *layers: str, kind: str = "environment", size: int = 100) -> Image:
    identity = hashlib.sha256(name.encode()).hexdigest()
    labels = {"reprorun.kind": kind}
    return Image(id=f"sha256:{identity}", layers=layers, labels=labels, size=size, tags=(name,))


def engine(*images: Image) -> FakeEngine:
    return FakeEngine(images={"base:1": FAKE_BASE, **{i.tags[0]: i for i in images}})


def found(on: FakeEngine | None = None, *directories: Path) -> list[tuple[str, str]]:
    listed = find_garbage([str(place) for place in directories], on)
    return [(entry.kind, entry.name) for entry in listed]


def note(part: str, name: str, data: bytes = b"x") -> Path:
    path = Path(files.cache_directory(part), name)
    path.write_bytes(data)
    return path


def sealed(part: str, name: str, content: object) -> None:
    write_note(os.path.join(files.cache_directory(part), name), msgspec.json.encode(content))


# ---------------------------------------------------------------- the cache


def test_nothing_at_all() -> None:
    assert found(engine()) == []


def test_wheels_that_a_record_names_stay(tmp_path: Path) -> None:
    six, old = package("six"), package("old")
    remembered(tmp_path / "run", six)
    assert found() == [("wheel", "old-1-py3-none-any.whl")]
    remove(find_garbage([], None), None, print)
    assert cached(six.wheel)
    assert not cached(old.wheel)
    assert found() == []


def test_sources_that_a_wheel_was_built_from_stay(tmp_path: Path) -> None:
    sha256, _ = keep("tool-1.tar.gz", b"source")
    source = Source(kind="sdist", name="tool-1.tar.gz", sha256=sha256)
    remembered(tmp_path / "run", package("tool", source=source))
    assert found() == []


def test_layers_of_an_environment_that_a_record_names_stay(tmp_path: Path) -> None:
    packages = (package("six"), package("idna"))
    (layer,) = environment_layers(Lock(packages=packages), BASE, ("src",))
    layer.made("sha256:x")
    note("layers", "0" * 64)
    remembered(tmp_path / "run", *packages)
    assert found() == [("layer", "0" * 64)]


def test_launch_archives_that_a_record_names_stay(tmp_path: Path) -> None:
    kept, linked, old = (archived(tmp_path, name) for name in ("kept", "linked", "old"))
    os.unlink(tmp_path / "old.tar.xz")
    archive_cache.put("a.state", f"{kept} 4 1 1\n".encode())
    archive_cache.put("b.state", f"{old} 3 1 1\n".encode())
    note("archives", "c.tree")
    os.utime(note("archives", "d.tree"), (1, 1))
    os.utime(note("archives", ".reprorun-1.tmp"), (1, 1))
    remembered(tmp_path / "run", archive=Archive(sha256=kept, size=4, files=1))
    garbage = find_garbage([], None)
    assert sorted((entry.kind, entry.name, entry.size) for entry in garbage) == sorted(
        [
            ("archive", f"{linked}.tar.xz", 0),  # a record that nobody knows shares it
            ("archive", f"{old}.tar.xz", 3),
            *(("note", name, size) for name, size in (("b.state", 136), ("d.tree", 1))),
            ("note", ".reprorun-1.tmp", 1),
        ]
    )
    remove(garbage, None, print)
    assert found() == []
    assert (tmp_path / "linked.tar.xz").read_bytes() == b"linked"


def archived(place: Path, content: str) -> str:
    """Put a launch archive into the cache, and into a record; return its digest."""
    (place / content).write_text(content)
    digest = files.sha256_of(str(place / content))
    assert archive_cache.place(str(place / content), digest, str(place / f"{content}.tar.xz"))
    return digest


def test_locks_stay_while_all_their_wheels_do(tmp_path: Path) -> None:
    six, old = package("six"), package("old")
    remembered(tmp_path / "run", six)
    sealed("locks", "a.json", Lock(packages=(six,)))
    sealed("locks", "b.json", Lock(packages=(six, old)))
    note("locks", "c.json", b"damaged")
    sealed("built", "d.json", {"wheel": six.wheel, "built_with": []})
    sealed("built", "e.json", {"wheel": old.wheel, "built_with": []})
    sealed("built", "f.json", [])
    assert [name for kind, name in found() if kind != "wheel"] == [
        "b.json", "c.json", "e.json", "f.json",
    ]  # fmt: skip


def test_only_what_is_old_in_the_scratch_directory() -> None:
    note("scratch", "young")
    old = note("scratch", "old")
    (Path(files.cache_directory("scratch")) / "directory").mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    assert found() == [("scratch", "old")]


def test_a_scratch_directory_in_use_stays_however_old() -> None:
    with files.scratch_directory() as scratch:
        long_ago = time.time() - 10 * 86400
        os.utime(scratch, (long_ago, long_ago))
        assert found() == []
        assert os.path.isdir(scratch)
    assert not os.path.exists(scratch)


def test_how_much_is_freed(tmp_path: Path) -> None:
    package("old", bytes(5000))
    (entry,) = find_garbage([], None)
    assert entry.size >= 5000


def test_strange_things_in_the_cache_are_no_surprise() -> None:
    package("six")
    shelves = Path(files.cache_directory("wheels"))
    (shelves / "stray.txt").write_text("x")
    (next(path for path in shelves.iterdir() if path.is_dir()) / "stray.txt").write_text("x")
    (shelves / "ab").mkdir(exist_ok=True)
    (shelves / "ab" / "link").symlink_to("/etc")
    remove(find_garbage([], None), None, print)
    assert Path("/etc/passwd").exists()


# ---------------------------------------------------------------- records


def test_a_record_elsewhere_counts_where_it_is_named(tmp_path: Path) -> None:
    six = package("six")
    place = remembered(tmp_path / "copied/deep/run", six)
    shutil.rmtree(os.path.join(os.environ["XDG_STATE_HOME"], "reprorun"))
    assert found() == [("wheel", six.wheel.name)]
    assert found(None, tmp_path) == []
    assert found(None, place) == []


def test_a_record_that_is_gone_counts_no_more(tmp_path: Path) -> None:
    six = package("six")
    place = remembered(tmp_path / "run", six)
    shutil.rmtree(place)
    assert ("wheel", six.wheel.name) in found()


def test_a_record_that_can_not_be_read_stops_everything(tmp_path: Path) -> None:
    package("six")
    place = remembered(tmp_path / "run")
    (place / store.RUN_FILE).write_text("{")
    with pytest.raises(RecordError, match="nothing was removed"):
        find_garbage([], None)
    (place / store.RUN_FILE).unlink()
    assert found() == [("wheel", "six-1-py3-none-any.whl")]


def test_a_note_that_is_no_path_is_passed_over() -> None:
    known.remember_record("x", "/nowhere/at/all")
    known.remember_record("y", "")
    assert [kind for kind, _ in found() if kind != "note"] == []


@pytest.mark.parametrize("status", ["created", "building", "running", "lost", "failed"])
def test_a_record_counts_however_its_run_stands(status: str, tmp_path: Path) -> None:
    six = package("six")
    remembered(tmp_path / "run", six, status=status, exit_code=None)
    assert found(engine(image(ENVIRONMENT, "a"))) == []


# ---------------------------------------------------------------- the engine


def test_images_that_a_record_names_stay(tmp_path: Path) -> None:
    remembered(tmp_path / "run")
    base = msgspec.structs.replace(image("reprorun/system:1", "s", kind="system"), id=BASE.id)
    fake = engine(
        base,
        image(ENVIRONMENT, "a"),
        image("reprorun/run:1", "a", "b", kind="run"),
        image("reprorun/run:2", "a", "c", kind="run"),
        image(f"{ENVIRONMENT_REPOSITORY}:other", "d"),
        image("reprorun/dockerfile:1", "f", kind="dockerfile"),
    )
    names = [name for kind, name in found(fake) if kind == "image"]
    assert sorted(names) == [
        "reprorun/dockerfile:1", f"{ENVIRONMENT_REPOSITORY}:other", "reprorun/run:2",
    ]  # fmt: skip
    remove(find_garbage([], fake), fake, print)
    assert set(fake.images) == {"base:1", "reprorun/system:1", ENVIRONMENT, "reprorun/run:1"}
    assert found(fake) == []


def test_images_of_others_are_never_touched() -> None:
    theirs = Image(id="sha256:theirs", labels={"reprorun": "x"}, tags=("theirs:1",))
    assert found(engine(theirs)) == []


def test_what_others_may_need_goes_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("reprorun/run:mine", "reprorun/run:theirs", "sha256:without-a-name")
    fake = engine(*(image(name, "a", name, kind="run") for name in names))
    known.remember_images("reprorun/run:mine", "base:1")
    container(fake, reprorun="probe")
    monkeypatch.setattr("reprorun.engine.connect", lambda: fake)
    assert cli.run(["gc"]) == 0
    assert set(fake.images) == {"base:1", *names[1:]}
    assert len(fake.containers) == 1
    said = capsys.readouterr().out
    assert "1 removed" in said
    assert "3 on the engine that no run of yours has used; --all removes them, too" in said
    assert known.known_images() == {"base:1"}
    assert cli.run(["gc", "--all"]) == 0
    assert (set(fake.images), fake.containers) == ({"base:1"}, {})


def test_images_that_a_run_uses_are_noted(tmp_path: Path) -> None:
    known.remember_images("lab:5000/a b:1", "reprorun/run:1", "reprorun/run:1")
    assert known.known_images() == {"lab:5000/a b:1", "reprorun/run:1"}
    known.forget_image("reprorun/run:1")
    known.forget_image("reprorun/run:1")
    assert known.known_images() == {"lab:5000/a b:1"}


def test_what_is_built_on_others_goes_first() -> None:
    fake = engine(image("low:1", "a"), image("high:1", "a", "b", "c"), image("mid:1", "a", "b"))
    assert [name for _, name in found(fake)] == ["high:1", "mid:1", "low:1"]


def test_a_layer_that_images_share_is_counted_once() -> None:
    fake = engine(
        image("low:1", "a", size=100), image("mid:1", "a", "b", size=150), image("x:1", "q", size=7)
    )
    sizes = {entry.name: entry.size for entry in find_garbage([], fake)}
    assert sizes == {"low:1": 100, "mid:1": 50, "x:1": 7}


def container(fake: FakeEngine, **labels: str) -> str:
    spec = ContainerSpec(
        image="base:1", command=("sleep", "60"), name=f"c{len(fake.containers)}", workdir="/",
        labels={name.replace("_", "."): value for name, value in labels.items()},
    )  # fmt: skip
    return fake.create(spec)


def test_containers_that_nobody_waits_for(tmp_path: Path) -> None:
    remembered(tmp_path / "run", id="done")
    remembered(tmp_path / "bad", id="bad", status="failed", exit_code=None)
    fake = engine()
    container(fake, reprorun="probe")
    container(fake, reprorun="build")
    container(fake, reprorun="1.0", reprorun_run="done")
    container(fake, reprorun="1.0", reprorun_run="bad")  # it may hold the only copy of outputs
    container(fake, reprorun="1.0", reprorun_run="unknown")
    container(fake, other="x")
    running = container(fake, reprorun="build")
    fake.start(running)
    assert found(fake) == [("container", "c0"), ("container", "c1"), ("container", "c2")]
    remove(find_garbage([], fake), fake, print)
    assert len(fake.containers) == 4
    fake.kill(running)


def test_what_is_in_use_stays_and_is_told(tmp_path: Path) -> None:
    class Busy(FakeEngine):
        def remove_image(self, ref: str) -> None:
            raise EngineError(f"{ref} is used by a container")

    package("old")
    fake = Busy(images={"low:1": image("low:1", "a")})
    told: list[str] = []
    remove(find_garbage([], fake), fake, told.append)
    assert told == ["image low:1 stays: low:1 is used by a container"]
    assert found() == []  # the rest went


def test_what_is_gone_already_is_told() -> None:
    told: list[str] = []
    remove([Garbage(kind="lock", name="x", path="/nowhere/x")], None, told.append)
    assert len(told) == 1
    assert told[0].startswith("lock x stays: ")


# ---------------------------------------------------------------- runs beside it


def test_nothing_is_removed_while_a_run_is_prepared() -> None:
    with (
        files.cache_lock(),
        pytest.raises(UsageError, match="a run is being prepared"),
        files.cache_lock(exclusive=True),
    ):
        pass
    with files.cache_lock(exclusive=True):
        pass
    with files.cache_lock(), files.cache_lock():
        pass


# ---------------------------------------------------------------- what came out of packs


def test_base_images_out_of_packs(tmp_path: Path) -> None:
    needed = base_tag(BASE.digest)
    plain = Image(id="sha256:1", layers=("a",), size=5, tags=("python:3", needed))
    other = Image(id="sha256:2", layers=("b",), size=7, tags=("lab:1", "reprorun/base:old"))
    remembered(tmp_path / "one")
    images = {tag: image for image in (plain, other) for tag in image.tags}
    engine = FakeEngine(images=images)
    found = find_garbage((), engine)
    assert [(entry.kind, entry.id) for entry in found] == [("image", "reprorun/base:old")]
    remove(found, engine, print)
    assert set(engine.images) == {"python:3", needed, "lab:1"}  # the user's own names stay


def test_names_that_a_killed_build_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left = f"{PARENT_REPOSITORY}:0123"
    tagged = Image(id="sha256:1", tags=("python:3", left))
    fetched = Image(id="sha256:2", tags=(f"{left}4",), repo_digests=("python@sha256:1",))
    only = Image(id="sha256:3", tags=(f"{left}5",))  # it would go with its last name
    images = {tag: image for image in (tagged, fetched, only) for tag in image.tags}
    engine = FakeEngine(images=images)
    there = {PARENT_REPOSITORY: (tagged, fetched, only)}  # as a real one tells of them
    monkeypatch.setattr(engine, "tagged_images", lambda repository: there.get(repository, ()))
    found = find_garbage((), engine)
    assert [(entry.kind, entry.name) for entry in found] == [("name", left), ("name", f"{left}4")]
    remove(found, engine, print)
    assert set(engine.images) == {"python:3", f"{left}5"}


def test_inputs_out_of_packs(tmp_path: Path) -> None:
    entry = InputFile(path="/x", target="/x", size=1, sha256="a" * 64)
    remembered(tmp_path / "one", inputs=(entry,))
    for digest in ("a" * 64, "b" * 64, "c" * 64):
        path = Path(files.cache_directory("inputs"), digest)
        path.write_text("x")
        age = 0 if digest[0] == "c" else 2 * 86400  # a shell may have it mounted right now
        os.utime(path, (time.time() - age,) * 2)
    found = find_garbage((), None)
    assert [(each.kind, each.name) for each in found] == [("input", "b" * 64)]
