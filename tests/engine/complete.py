"""What every record of a run that finished has to be, whatever the run was."""

from __future__ import annotations

import json
import lzma
import os
import tarfile
from datetime import datetime, timedelta
from pathlib import Path

from reprorun import store
from reprorun.model import Record

from .bench import Bench, Done, client, containers_of, sha256
from .schema import violations


def assert_complete(done: Done, bench: Bench, launcher: str) -> Record:
    """The record of a finished run holds everything, and all of it is true.

    Args:
        done: the command.
        bench: where it ran; nothing in the repository may have changed since.
        launcher: relative to the repository's root.
    """
    assert done.code == 0, done.err
    record = done.record
    assert (record.status, record.exit_code, record.reason) == ("finished", 0, None)
    assert_valid(done.log_dir)
    _assert_files(done.log_dir)
    _assert_code(done.log_dir, record, bench, launcher)
    _assert_engine(record)
    _assert_times(record)
    _assert_outputs(done.log_dir, record)
    assert containers_of(record.id) == []
    return record


def assert_valid(log_dir: Path) -> None:
    """`run.json` is as its schema says."""
    schema = json.loads(store.json_schema())
    raw = json.loads((log_dir / store.RUN_FILE).read_bytes())
    assert violations(raw, schema, schema) == []
    assert set(raw) == set(Record.__struct_fields__)


def archived(log_dir: Path) -> dict[str, tuple[bytes, bool]]:
    """The files of the launch archive: content, and whether it is executable."""
    found = {}
    with lzma.open(log_dir / store.ARCHIVE_FILE) as file, tarfile.open(fileobj=file) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None and member.isreg():
                found[member.name] = (content.read(), bool(member.mode & 0o100))
    return found


def in_repository(bench: Bench) -> dict[str, tuple[bytes, bool]]:
    """The files that git tracks, as they are on the disk."""
    found = {}
    for name in bench.git("ls-files", "-z").split("\0"):
        path = bench.root / name
        if name and path.is_file():
            found[name] = (path.read_bytes(), os.access(path, os.X_OK))
    return found


def _assert_files(log_dir: Path) -> None:
    for name in store.OURS - store.PAYLOADS:
        assert (log_dir / name).is_file(), name
    leftovers = [p.name for p in log_dir.rglob("*") if ".reprorun-" in p.name]
    assert leftovers == []


def _assert_code(log_dir: Path, record: Record, bench: Bench, launcher: str) -> None:
    commit = bench.git("rev-parse", "HEAD")
    metadata = json.loads((log_dir / store.METADATA_FILE).read_bytes())
    assert metadata == {"githash": commit, "launcher": launcher}
    assert (record.githash, record.launcher, record.dirty) == (commit, launcher, False)
    packed = (log_dir / store.ARCHIVE_FILE).read_bytes()
    assert record.archive is not None
    assert (record.archive.sha256, record.archive.size) == (sha256(packed), len(packed))
    assert archived(log_dir) == in_repository(bench)
    assert record.archive.files == len(archived(log_dir))
    dockerfile = (log_dir / store.DOCKERFILE).read_text()
    assert f'org.opencontainers.image.revision="{commit}"' in dockerfile
    assert record.base_image is not None
    assert f"FROM {record.base_image.ref} AS" in dockerfile


def _assert_engine(record: Record) -> None:
    assert record.base_image is not None
    assert record.engine is not None
    with client() as engine:
        assert record.engine.version == engine.version()["Version"]
        base = engine.images.get(record.base_image.ref)
        assert record.base_image.id == base.id
        image = engine.images.get(record.image)
        assert image.labels["org.opencontainers.image.revision"] == record.githash
        assert image.labels["reprorun"] == record.reprorun.version
        layers = image.attrs["RootFS"]["Layers"]
        assert layers[: len(base.attrs["RootFS"]["Layers"])] == base.attrs["RootFS"]["Layers"]
    assert record.isolated
    assert record.environment_digest.startswith("sha256:")
    assert record.host.cpu_count > 0
    assert record.host.memory > 1 << 28


def _assert_times(record: Record) -> None:
    assert record.started is not None
    assert record.ended is not None
    assert record.seconds is not None
    moments = [datetime.fromisoformat(m) for m in (record.created, record.started, record.ended)]
    assert moments == sorted(moments)
    assert all(moment.utcoffset() == timedelta(0) for moment in moments)
    assert 0 < record.seconds <= (moments[2] - moments[1]).total_seconds()
    assert record.peak_memory is not None
    assert 1 << 20 < record.peak_memory < record.host.memory


def _assert_outputs(log_dir: Path, record: Record) -> None:
    there = {
        str(path.relative_to(log_dir)): path
        for path in log_dir.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    ours = {name for name in there if name in store.OURS or name.endswith(store.ARCHIVE_FILE)}
    assert {output.path for output in record.outputs} == set(there) - ours
    for output in record.outputs:
        content = there[output.path].read_bytes()
        assert (output.size, output.sha256) == (len(content), sha256(content)), output.path
