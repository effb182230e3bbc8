"""Whether a record is true, and what is left that belongs to nobody."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import docker

from reprorun import store
from reprorun.files import is_unfinished
from reprorun.model import Record

if TYPE_CHECKING:
    from .place import Place


def digest_of(directory: Path) -> str:
    """Of all that is in a directory."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def files_of(log_dir: Path) -> dict[str, bytes]:
    """What the run itself has made."""
    there = {str(p.relative_to(log_dir)): p for p in log_dir.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in there.items() if name not in store.OURS}


def false_in(log_dir: Path, record: Record, expected: Mapping[str, bytes]) -> Iterator[str]:
    """What a record says that is not so, of a run that ends by itself unless it is lost.

    Args:
        log_dir: the record's.
        record: as it was read there.
        expected: the files that the run makes.
    """
    where = f"{log_dir.name} ({record.status})"
    if record.status not in ("finished", "lost"):
        yield f"{where}: {record.reason}"
    outputs = files_of(log_dir)
    yield from false_outputs(where, record, outputs)
    if record.status == "lost":
        if record.exit_code is not None or not record.reason:
            yield f"{where}: exit code {record.exit_code}, {record.reason}"
        return
    if (record.exit_code, record.reason) != (0, None):
        yield f"{where}: exit code {record.exit_code}, {record.reason}"
    if outputs != dict(expected):
        yield f"{where}: made {sorted(outputs)}"
    if sorted((log_dir / store.CONSOLE_FILE).read_bytes().split()) != [b"first", b"last"]:
        yield f"{where}: printed {(log_dir / store.CONSOLE_FILE).read_bytes()!r}"
    missing = [n for n in store.OURS - store.PAYLOADS if not (log_dir / n).is_file()]
    if missing:
        yield f"{where}: no {sorted(missing)}"
    if not (record.started and record.ended and record.seconds and record.peak_memory):
        yield f"{where}: {record.started} {record.ended} {record.seconds} {record.peak_memory}"
    elif not record.created <= record.started <= record.ended:
        yield f"{where}: {record.created}, {record.started}, {record.ended}"
    if not record.host.node:
        yield f"{where}: no host"


def false_outputs(where: str, record: Record, outputs: Mapping[str, bytes]) -> Iterator[str]:
    """Outputs that are listed and not there, or there and not listed, or others."""
    listed = {each.path: (each.size, each.sha256) for each in record.outputs}
    if listed != {n: (len(d), hashlib.sha256(d).hexdigest()) for n, d in outputs.items()}:
        yield f"{where}: lists {sorted(listed)}, has {sorted(outputs)}"


def left_behind(place: Place, containers: Iterable[str]) -> Iterator[str]:
    """What is there and belongs to nobody.

    Args:
        place: where commands were run.
        containers: names of those that they have created.
    """
    yield from _containers(place.engine, set(containers))
    for path in place.root.rglob("*"):
        if is_unfinished(path.name) or path.name.startswith("reprorun-scratch-"):
            yield str(path.relative_to(place.root))
    for path in (*place.held.iterdir(), *(place.root / "tmp").iterdir()):
        if not _is_pythons(path):
            yield str(path.relative_to(place.root))
    for path in place.project.glob("data/local/*/*"):
        if not ((path / store.RUN_FILE).exists() or (path / "sweep.json").exists()):
            yield f"{path.relative_to(place.root)} without a record"
    for path in place.project.glob("*.rrpack"):
        if zipfile.ZipFile(path).testzip() is not None:
            yield f"half a pack: {path.name}"


def _is_pythons(path: Path) -> bool:
    """A file by which Python has tried whether a directory of temporary files can be written."""
    return path.is_file() and path.stat().st_size <= 4 and path.read_bytes() in (b"", b"blat")


def _containers(engine: str, names: set[str]) -> list[str]:
    """Those that are still there; others come and go meanwhile."""
    client = docker.DockerClient(base_url=engine)
    try:
        listed = client.api.containers(all=True)
        return sorted(names & {name.lstrip("/") for each in listed for name in each["Names"]})
    finally:
        client.close()
