"""Records that are run again may come from anybody: whatever they say, they are refused or run."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reprorun import store
from reprorun.engine.fake import FakeEngine
from reprorun.errors import EngineError, RecordError, UsageError
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes
from reprorun.workflow.original import read_original
from reprorun.workflow.report import Silent
from reprorun.workflow.rerun import dry_rerun, rerun
from tests import garage_zoo as zoo

from ...kit import FAKE_BASE
from ..conftest import git
from .test_exec import Bench, _answer

DIGEST = "0" * 64
WHEEL = {"name": "six-1.0-py3-none-any.whl", "sha256": DIGEST, "url": None, "size": 3}
SOURCES: list[dict[str, Any] | None] = [
    None,
    {"kind": "sdist", "name": "six-1.0.tar.gz", "sha256": DIGEST, "built_with": ["a==1"]},
    {"kind": "git", "commit": "a" * 40, "subdirectory": "sub"},
]
HOSTILE = [
    *("", ".", "..", "/", "../../x", "/etc/passwd", "-x", "--index-url=x", "a b", "$(touch x)"),
    *("a\nRUN b", "\0", "\udcff", "\x1b[31m", "x" * 5000, "file:///etc/passwd", "ext::sh -c x"),
    *("sha256:../../x", "{}", "{python}", "%s", "'\"; import os", "<redacted>", "/log", "train.py"),
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(HOSTILE),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(HOSTILE), below, max_size=3)
    ),
    max_leaves=5,
)


class Place:
    """A record, and where copies of it are spoiled and run again."""

    def __init__(self, root: Path) -> None:
        repository = root / "project"
        repository.mkdir()
        (repository / "train.py").write_text("print(1)\n")
        git(repository, "init", "-q")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "first")
        (repository / "data.csv").write_text("1\n")
        (repository / "large.bin").write_bytes(b"w" * (8 << 20))
        bench = Bench(repository)
        made = bench.run(
            args=("a",),
            env={"MODE": "x"},
            inputs=("data.csv",),
            payloads={"args_data.b64": b"YQ=="},
        )
        self.record = Path(made.log_dir)
        self.raw: dict[str, Any] = json.loads((self.record / store.RUN_FILE).read_text())
        self.root = root
        self.copy, self.elsewhere = root / "copy", root / "elsewhere"
        self.elsewhere.mkdir()

    def with_packages(self, source: dict[str, Any] | None) -> dict[str, Any]:
        address = "https://example.invalid/six.git" if source else None
        package = {"name": "six", "version": "1.0", "wheel": WHEEL, "address": address}
        return {**copy.deepcopy(self.raw), "packages": [{**package, "source": source}]}

    def spoiled(self, raw: Any) -> Path:
        """A copy of the record with another run.json."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.record, self.copy)
        (self.copy / store.RUN_FILE).write_text(json.dumps(raw))
        return self.copy

    def tried(self, record: Path, runs: Any = (dry_rerun, rerun), **changes: Any) -> None:
        """Run it again: that works or is refused, and leaves everything else as it is."""
        engine = FakeEngine(images={"base:1": FAKE_BASE}, programs={"/bin/sh": _answer})
        engine.programs["python"] = lambda process: 0
        before = contents(record)
        around = {path.name for path in self.root.iterdir()}
        place = str(self.elsewhere)
        given = Changes(**{"offline": True, "name": "again", **changes})
        for run in runs:
            with suppress(EngineError, UsageError):
                run(str(record), given, place, ArchiveLimits(), lambda: engine, Silent())
        assert contents(record) == before
        assert {path.name for path in self.root.iterdir()} == around
        assert {path.name for path in self.elsewhere.iterdir()} <= {"data"}
        shutil.rmtree(self.elsewhere / "data", ignore_errors=True)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("UV_")]:
            patch.delenv(name)
        for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "UV_CACHE_DIR"):
            patch.setenv(name, str(root.parent / f"{root.name}-{name}"))
        yield Place(root)


# ---------------------------------------------------------------- any JSON anywhere


def paths(value: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield so_far
    if isinstance(value, dict):
        for name, below in value.items():
            yield from paths(below, (*so_far, name))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from paths(below, (*so_far, number))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    value = copy.deepcopy(value)
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return value


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_any_json_in_place_of_anything(place: Place, data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from([place.raw, *map(place.with_packages, SOURCES)]), "record")
    where = [path for path in paths(raw) if path[:1] != ("host",)]
    raw = replaced(raw, data.draw(st.sampled_from(where), "path"), data.draw(json_values, "new"))
    place.tried(place.spoiled(raw))


# What can be handed on to git, uv, the engine or the file system.
TEXTS = [
    *(("argv", 0), ("argv", 1), ("command", 0), ("command", 1), ("cwd",), ("launcher",)),
    *(("githash",), ("created",), ("id",), ("environment", "MODE"), ("requirements",)),
    *(("inputs", 0, "path"), ("inputs", 0, "target"), ("inputs", 0, "sha256")),
    *(("payloads", 0, "path"), ("left_out", 0, "path"), ("archive", "sha256")),
    *(("base_image", name) for name in ("ref", "id", "digest", "repo_digest", "python", "path")),
    *(("base_image", name) for name in ("below", "dockerfile", "executable", "machine", "libc")),
    *(("environment_digest",), ("image",), ("packages_resolved",), ("python_source",)),
    *(("packages", 0, name) for name in ("name", "version", "address")),
    *(("packages", 0, "wheel", name) for name in ("name", "sha256", "url")),
    *(("packages", 0, "source", name) for name in ("name", "sha256")),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_means_something_elsewhere(place: Place, text: str) -> None:
    raw = place.with_packages(SOURCES[1])
    for path in TEXTS:
        whole = raw if path[0] == "packages" else place.raw
        place.tried(place.spoiled(replaced(whole, path, text)), runs=(rerun,))


@pytest.mark.parametrize("text", HOSTILE[::2])
def test_system_packages_that_are_none(place: Place, text: str) -> None:
    base = {**place.raw["base_image"], "id": "x", "ref": "gone:1", "apt": [text]}
    place.tried(place.spoiled({**place.raw, "base_image": base}))


@given(text=st.binary(max_size=30))
@example(text=b'{"reprorun": {"schema": 1}}')
@example(text=b"\xff\xfe")
@example(text=b"[" * 100_000)
@example(text=b'{"reprorun": {"schema": true}}')
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_any_bytes_as_run_json(place: Place, text: bytes) -> None:
    path = place.spoiled({}) / store.RUN_FILE
    path.write_bytes(text)
    with pytest.raises(RecordError):
        read_original(str(path.parent), ArchiveLimits())


# ---------------------------------------------------------------- what must be refused


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("packages", 0, "wheel", "name"), "../../six-1.0-py3-none-any.whl"),
        (("packages", 0, "wheel", "sha256"), "../../x"),
        (("packages", 0, "source", "commit"), "--upload-pack=touch x"),
        (("packages", 0, "source", "subdirectory"), "../../.."),
        (("packages", 0, "address"), "ext::sh -c touch% x"),
        (("base_image", "ref"), "../containers/json"),
        (("base_image", "id"), "../../containers"),
        (("cwd",), "a/../.."),
        (("import_paths",), ["x\nimport os"]),
        (("environment",), {"LD PRELOAD": "x"}),
    ],
)
def test_what_would_mean_something_elsewhere(place: Place, path: Any, text: Any) -> None:
    record = place.spoiled(replaced(place.with_packages(SOURCES[2]), path, text))
    with pytest.raises(RecordError, match="the record has the"):
        read_original(str(record), ArchiveLimits())


@pytest.mark.parametrize(
    "path",
    ["../outside/Dockerfile", "/etc/passwd", "docker/../../outside/Dockerfile", "a\nb"],
)
def test_a_dockerfile_that_is_not_in_the_archive(place: Place, path: str) -> None:
    """It would be built from files of the host that the record never had."""
    outside = place.root / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "Dockerfile").write_text("FROM base:1\nCOPY . /all\n")
    base = {**place.raw["base_image"], "id": "x", "ref": "gone:1", "dockerfile": path}
    record = place.spoiled({**place.raw, "base_image": base})
    with pytest.raises(RecordError, match="Dockerfile"):
        read_original(str(record), ArchiveLimits())


@pytest.mark.parametrize("name", [store.RUN_FILE, store.ARCHIVE_FILE, "args_data.b64"])
@pytest.mark.parametrize("kind", ["gone", "pipe", "link", "directory"])
def test_files_of_other_kinds(place: Place, name: str, kind: str) -> None:
    path = place.spoiled(place.raw) / name
    os.unlink(path)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "directory":
        path.mkdir()
    with pytest.raises(RecordError):
        read_original(str(path.parent), ArchiveLimits())


def test_a_newer_record_is_named_as_such(place: Place) -> None:
    record = place.spoiled({**place.raw, "reprorun": {"schema": 2}, "argv": {"new": "shape"}})
    with pytest.raises(RecordError, match="newer reprorun"):
        read_original(str(record), ArchiveLimits())
    record = place.spoiled({**place.raw, "some_new_field": 1})  # of a newer minor version
    assert read_original(str(record), ArchiveLimits()).record.argv == ("train.py", "a")


# ---------------------------------------------------------------- records of garage


@pytest.fixture(scope="module")
def garage(place: Place) -> Path:
    return zoo.make_record(place.root.parent / "garage", {"train.py": zoo.CALLS_ITSELF})


@given(data=st.data())
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_any_json_in_records_of_garage(place: Place, garage: Path, data: st.DataObject) -> None:
    shutil.rmtree(place.copy, ignore_errors=True)
    shutil.copytree(garage, place.copy)
    metadata = json.loads((garage / "metadata.json").read_text())
    path = data.draw(st.sampled_from(list(paths(metadata))), "path")
    spoiled = replaced(metadata, path, data.draw(json_values, "new"))
    (place.copy / "metadata.json").write_text(json.dumps(spoiled))
    (place.copy / "variant.json").write_text(json.dumps(data.draw(json_values, "variant")))
    function = data.draw(st.sampled_from([None, "train"]), "function")
    place.tried(place.copy, shim="garage", function=function, base_image="base:1")
