"""What is fuzzed: name -> function of bytes, with the exceptions that it may raise.

Anything else that comes out of a target is a crash, as are two seconds for one input and memory
without bound. A target whose parser reads files writes its input into a directory of its own.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from reprorun.errors import EngineError, RecordError, ReprorunError, UsageError

from . import seeds

Parse = Callable[[bytes], object]


class Target(NamedTuple):
    """A parser."""

    parse: Parse
    allowed: tuple[type[Exception], ...]
    seeds: Callable[[], tuple[bytes, ...]]
    child: bool = False  # the parser runs in a process of its own: a thousand times slower


# ---------------------------------------------------------------- files


@lru_cache(maxsize=1)
def workplace() -> Path:
    """A directory in memory, where there is such a thing."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = tempfile.TemporaryDirectory(prefix="reprorun-fuzz-", dir=base)
    _kept.append(made)
    return Path(made.name)


_kept: list[Any] = []


def in_file(name: str, parse: Callable[[str], object]) -> Parse:
    """A parser of a path: the input lies there, in a directory that is the parser's own."""

    def run(data: bytes) -> object:
        path = place / name
        if not place.is_dir():
            path.parent.mkdir(parents=True)
        path.write_bytes(data)
        return parse(str(path))

    place = workplace() / f"file-{len(_kept)}-{name}"
    _kept.append(place)
    return run


def in_directory(name: str, parse: Callable[[str], object], **beside: bytes) -> Parse:
    """A parser of the directory that the input lies in."""

    def of(path: str) -> object:
        for other, data in beside.items():
            Path(path).with_name(other.replace("__", ".")).write_bytes(data)
        return parse(os.path.dirname(path))

    return in_file(name, of)


def in_zip(member: str, parse: Parse, beside: Mapping[str, bytes]) -> Parse:
    """A parser of a zip: the input is one member of a whole one."""

    def run(data: bytes) -> object:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for other, content in {**beside, member: data}.items():
                archive.writestr(other, content)
        return parse(out.getvalue())

    return run


# ---------------------------------------------------------------- files that say what is needed


def requirements(kind: str, name: str, *, python: str = "3.11.2") -> Parse:
    from reprorun.formats.read import read
    from reprorun.formats.target import Target as For
    from reprorun.model import Requirements

    target = For(python=python, machine="x86_64", libc="glibc 2.36")
    wanted = Requirements(kind=kind, source=name, paths=(".",))  # type: ignore[arg-type]
    beside = {
        "requirements-more.txt": b"six\n",
        "pyproject.toml": b'[project]\nname = "x"\nversion = "1"\n',
    }
    beside.pop(name, None)
    root = workplace() / f"root-{len(_kept)}-{kind}"
    _kept.append(root)

    def run(data: bytes) -> object:
        if not root.is_dir():
            root.mkdir()
            for other, content in beside.items():
                if kind in ("uv-lock", "poetry-lock", "requirements"):
                    (root / other).write_bytes(content)
            for member in ("core", "tool"):  # of the uv.lock among the seeds
                (root / "libs" / member).mkdir(parents=True)
        (root / name).write_bytes(data)
        return read(wanted, str(root), target)

    return run


def imports(data: bytes) -> object:
    from reprorun.model import Code
    from reprorun.probe.imports import find_imports

    root = workplace() / "imports"
    root.mkdir(exist_ok=True)
    (root / "train.py").write_bytes(data)
    code = Code(root=str(root), launcher="train.py", workdir=".", in_git=False, files=("train.py",))
    return find_imports(code, {}, installed=False)


def python_version(data: bytes) -> object:
    from reprorun.model import Code
    from reprorun.probe.requirements import find_requirements

    root = workplace() / "python-version"
    root.mkdir(exist_ok=True)
    names = (".python-version", "runtime.txt", "pyproject.toml", "environment.yml")
    which, _, text = data.partition(b"\n")
    for name in names:
        (root / name).unlink(missing_ok=True)
    name = names[len(which) % len(names)]
    (root / name).write_bytes(text)
    (root / "train.py").write_text("")
    files = ("train.py", name)
    code = Code(root=str(root), launcher="train.py", workdir=".", in_git=False, files=files)
    return find_requirements(code, None, installed=False)


def apt(path: str) -> object:
    from reprorun.workflow.system import read_apt

    return read_apt(os.path.dirname(path), os.path.basename(path))


def settings(path: str) -> object:
    from reprorun import settings as found

    given = dict.fromkeys(("base-image", "python", "memory", "gpus", "timeout", "network"))
    return found.resolve(given, os.path.dirname(path)), found.check_table(os.path.dirname(path))


def uv_settings(path: str) -> object:
    from reprorun.environment.uv_settings import index_addresses, uv_settings

    directory = os.path.dirname(path)
    return uv_settings(directory, foreign=True), index_addresses((), directory)


# ---------------------------------------------------------------- archives


def launch_archive(path: str) -> object:
    from reprorun.launch_archive import ArchiveLimits, list_archive

    found = list_archive(path, ArchiveLimits(files=1000, size=64 << 20), links_out=None)
    for name in found.files:
        assert not name.startswith("/"), name
        assert ".." not in name.split("/"), name
    return found


def launch_tar(data: bytes) -> object:
    """The tar inside, so that what is mutated is not only its compression."""
    return _launch_tar(lzma.compress(data, preset=0))


def extract(data: bytes) -> object:
    """What an engine hands out of a container, unpacked: nothing lies outside."""
    from reprorun.extract import extract as extract_tar

    outer = workplace() / "extract"
    root = outer / "root"
    root.mkdir(parents=True, exist_ok=True)
    (outer / "victim").write_text("victim")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as tar:
            return extract_tar(tar, str(root))
    finally:
        assert (outer / "victim").read_text() == "victim"
        assert sorted(os.listdir(outer)) == ["root", "victim"]
        for path, below, names in os.walk(root):
            for name in (*below, *names):
                full = os.path.join(path, name)
                if os.path.islink(full):
                    assert os.path.realpath(full).startswith(f"{os.path.realpath(root)}"), full
        _clear(root)


def _clear(root: Path) -> None:
    for path, below, names in os.walk(root, topdown=False):
        os.chmod(path, 0o700)
        for name in (*names, *below):
            full = os.path.join(path, name)
            (os.unlink if name in names or os.path.islink(full) else os.rmdir)(full)


def wheel(path: str) -> object:
    from reprorun.environment.wheel import Layout, wheel_entries
    from reprorun.environment.wheel_file import read_metadata

    found = wheel_entries(path, Layout(python_minor="3.11"))
    for entry in found:
        assert ".." not in entry.path.split("/"), entry.path
    return found, read_metadata(path)


def sdist(path: str) -> object:
    from reprorun.environment.source import from_distribution

    tree = from_distribution(path)
    for entry in tree.entries:
        assert ".." not in entry.path.split("/"), entry.path
    return tree


def pack(path: str) -> object:
    from reprorun.pack.reading import Pack

    with Pack.open(path) as found:
        place = workplace() / "unpacked"
        try:
            found.unpack(found.index.record, str(place))
        finally:
            _clear(place)
            if place.exists():
                place.rmdir()


# ---------------------------------------------------------------- records


def record(log_dir: str) -> object:
    from reprorun.launch_archive import ArchiveLimits
    from reprorun.record_index import summarize
    from reprorun.workflow.original import read_original

    original = read_original(log_dir, ArchiveLimits(files=100, size=1 << 20))
    return original, summarize(original.record)


def shown(log_dir: str) -> object:
    """What people are shown of a record has nothing in it that a terminal obeys."""
    from reprorun import store
    from reprorun.cli.show import describe
    from reprorun.workflow.lineage import Lineage

    found = store.read_record(log_dir)
    lineage = Lineage()
    for line in describe(log_dir, found, lineage):
        assert all(c.isprintable() for c in line), line
    return found


def exported(log_dir: str) -> object:
    from reprorun import store
    from reprorun.export.files import KeptFile
    from reprorun.export.slsa import statement

    output = KeptFile(path="outputs/a.txt", size=1, sha256="0" * 64)
    return json.dumps(statement(store.read_record(log_dir), (output,), ()), allow_nan=False)


def garage(log_dir: str) -> object:
    from reprorun.launch_archive import ArchiveLimits
    from reprorun.workflow.original import read_original

    return read_original(log_dir, ArchiveLimits(files=100, size=1 << 20), need_archive=False)


def sweep_book(directory: str) -> object:
    from reprorun.sweeps.book import read_book
    from reprorun.sweeps.points import Points

    kept = read_book(directory)
    points = Points(kept.head.points)
    return [points[n] for n in range(min(len(points), 3))]


def progress(directory: str) -> object:
    from reprorun.sweeps.progress import last_row, plain

    row = last_row(directory, ended=False)
    for text in (*row, *row.values()):
        assert plain(text).isprintable(), text
    return row


def guest_report(directory: str) -> object:
    from reprorun.workflow.harvest import read_guest_report

    return read_guest_report(directory)


def metadata_and_variant(directory: str) -> object:
    from reprorun.workflow.harvest import find_sub_records, write_variant

    inner = os.path.join(directory, "call")
    os.makedirs(inner, exist_ok=True)
    with open(os.path.join(directory, "variant.json"), "rb") as file:
        data = file.read()
    for name in ("variant.json", "metadata.json"):
        with open(os.path.join(inner, name), "wb") as target:
            target.write(data)
    return write_variant(directory, find_sub_records(directory), {})


# ---------------------------------------------------------------- comparing


def compared(name: str, original: Callable[[], bytes]) -> Parse:
    """A broken output against a whole one, either way round."""
    from reprorun.compare.content import BytesContent
    from reprorun.compare.registry import compare_contents
    from reprorun.compare.values import Settings

    whole = lru_cache(maxsize=1)(lambda: BytesContent(name=name, data=original()))
    strict = Settings()

    def run(data: bytes) -> object:
        broken = BytesContent(name=name, data=data)
        first = compare_contents(whole(), broken, strict)
        compare_contents(broken, whole(), strict)
        assert (first.verdict == "identical") is (data == whole().data), first
        return first

    return run


def series(name: str) -> Parse:
    from reprorun.compare.content import BytesContent
    from reprorun.workflow.series import columns_of

    return lambda data: columns_of(BytesContent(name=name, data=data))


# ---------------------------------------------------------------- the engine's


def docker_config(directory: str) -> object:
    from reprorun.engine.contexts import current_context, read_context

    env = {"DOCKER_CONFIG": directory}
    found = current_context(env)
    return read_context(found, env) if found else None


def uv_answer(data: bytes) -> object:
    from reprorun.environment.uv_answer import read_answer
    from reprorun.model import BaseImage, Wanted

    base = BaseImage(ref="b", id="b", digest="b", python="3.11.2", machine="x86_64",
                     libc="glibc 2.36")  # fmt: skip
    return read_answer(data.decode(), "/nowhere", base, Wanted())


def grid(data: bytes) -> object:
    from reprorun.sweeps.grid_text import parse_points
    from reprorun.sweeps.points import Points

    words = data.decode().split("\n")
    spec, _ = parse_points(words[:2], words[2:4], None, None, 0, {})
    return len(Points(spec))


def build_targets() -> Mapping[str, Target]:
    """All targets by name."""
    from reprorun.compare.rich import Refused
    from reprorun.compare.values import Unreadable

    usage = (UsageError,)
    own = (ReprorunError,)
    texts = (*usage, UnicodeDecodeError)
    found: dict[str, Target] = {}

    def add(
        name: str, parse: Parse, allowed: tuple[type[Exception], ...], child: bool = False
    ) -> None:
        found[name] = Target(parse, allowed, partial(seeds.of, name), child)

    for kind, name in (
        ("requirements", "requirements.txt"), ("lock", "requirements.lock"),
        ("uv-lock", "uv.lock"), ("pylock", "pylock.toml"), ("poetry-lock", "poetry.lock"),
        ("pipfile-lock", "Pipfile.lock"), ("project", "pyproject.toml"), ("setup", "setup.py"),
        ("conda", "environment.yml"),
    ):  # fmt: skip
        add(kind, requirements(kind, name), usage)
    add("setup-cfg", _setup_cfg(), usage)
    add("imports", imports, usage)
    add("python-version", python_version, usage)
    add("apt", in_file("apt.txt", apt), usage)
    add("settings", in_file("pyproject.toml", settings), usage)
    add("uv-settings", in_file("uv.toml", uv_settings), own)
    add("grid", grid, texts)
    add("uv-answer", uv_answer, (*own, UnicodeDecodeError))
    add("docker-config", in_directory("config.json", docker_config), (*usage, EngineError))

    add("launch-archive", in_file("launch_archive.tar.xz", launch_archive), (RecordError,))
    add("launch-tar", launch_tar, (RecordError,))
    add("extract", extract, (tarfile.TarError,))
    add("wheel", in_file("tool-1.0-py3-none-any.whl", wheel), own)
    for name in ("METADATA", "RECORD", "entry_points.txt", "WHEEL"):
        add(f"wheel-{name.partition('.')[0].lower()}", _wheel_part(name), own)
    add("sdist-tar", in_file("tool-1.0.tar.gz", sdist), own)
    add("sdist-zip", in_file("tool-1.0.zip", sdist), own)
    add("pack", in_file("run.rrpack", pack), own)
    members = {name: data for name, data in seeds.pack_members().items() if name != "pack.json"}
    add("pack-index", in_zip("pack.json", in_file("index.rrpack", pack), members), own)

    archive = {"launch_archive__tar__xz": seeds.launch_archive()}
    add("record", in_directory("run.json", record, **archive), (RecordError,))
    add("record-shown", in_directory("run.json", shown), (RecordError,))
    add("record-exported", in_directory("run.json", exported), own)
    add("garage-metadata", in_directory("metadata.json", garage, **archive), own)
    add("sweep-book", in_directory("sweep.json", sweep_book), own)
    add("progress", in_directory("progress.csv", progress), ())
    add("guest-report", in_directory(".reprorun-guest.json", guest_report), ())
    add("variant", in_directory("variant.json", metadata_and_variant), ())

    for name in seeds.OUTPUTS:
        add(f"compare-{name}", compared(name, partial(seeds.whole, name)), ())
    for name in seeds.IN_A_CHILD:
        add(f"compare-{name}", compared(name, partial(seeds.whole, name)), (), child=True)
    for name in ("x.csv", "x.jsonl", "events.out.tfevents.1"):
        add(f"series-{name}", series(name), (Unreadable, Refused))
    return found


def _setup_cfg() -> Parse:
    parse = requirements("setup", "setup.py")
    root = workplace() / f"root-{len(_kept) - 1}-setup"

    def run(data: bytes) -> object:
        with suppress(FileNotFoundError):
            (root / "setup.cfg").write_bytes(data)
        if not root.is_dir():
            parse(b"from setuptools import setup\nsetup()\n")
            (root / "setup.cfg").write_bytes(data)
        return parse(b"from setuptools import setup\nsetup()\n")

    return run


def _wheel_part(name: str) -> Parse:
    target = in_file("tool-1.0-py3-none-any.whl", wheel)
    return in_zip(f"tool-1.0.dist-info/{name}", target, seeds.wheel_members())


_launch_tar = in_file("launch_archive.tar.xz", launch_archive)
