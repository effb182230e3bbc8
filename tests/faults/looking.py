"""What a fault has left: what is lost, what is false, and what belongs to nobody."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from reprorun import store
from reprorun.errors import RecordError
from reprorun.files import SCRATCH_PREFIX, is_unfinished, sha256_of
from reprorun.model import Record

from ..engine.bench import Done
from ..engine.schema import violations
from .lab import MADE, Lab, containers_of, record_of

PRINTED = [b"first", b"last"]
ENDED = ("finished", "failed", "interrupted", "lost")


def false_after(made: Lab, done: Done) -> Iterator[str]:
    """What is not as it has to be after a fault, once `reprorun recover` has been given a chance.

    Args:
        made: where it was injected.
        done: the command that it struck.
    """
    yield from ended_badly(done)
    log_dir = made.seen(done.log_dir)
    if done.code == 0 and not (log_dir / store.RUN_FILE).exists():
        yield "it ended with 0 and has no record"
    recovered = made.reprorun("recover")
    if recovered.code not in (0, 1) or "Traceback" in recovered.err:
        yield f"recover ended with {recovered.code}: {recovered.err.strip()[-300:]}"
    for each in made.log_dirs():
        yield from false_in(each)
        found = record_of(each)
        if found and found.status == "lost" and found.started:
            yield f"{each.name} is lost: {found.reason}"
    record = record_of(log_dir)
    if done.code == 0 and record and record.status != "finished":
        yield f"it ended with 0 and its record says {record.status}"
    yield from left_by(made)


def ended_badly(done: Done) -> Iterator[str]:
    """What is wrong with the end of a command: a traceback, or an error that says nothing."""
    if "Traceback" in done.err:
        yield f"a traceback: {done.err.strip()[-400:]}"
    elif done.code not in (0, 2, 125):
        yield f"it ended with {done.code}: {done.err.strip()[-300:]}"
    elif done.code != 0 and not 1 <= len(message(done).splitlines()) <= 2:
        yield f"its error is no line or two: {done.err.strip()[-400:]}"


def message(done: Done) -> str:
    """The error that a command ended with."""
    return done.err.rpartition("reprorun: error: ")[2].strip() if "error: " in done.err else ""


def unfinished(made: Lab, done: Done, outputs: Mapping[str, bytes] = MADE) -> Iterator[str]:
    """What is wrong with a run that has to finish, whatever there was before."""
    log_dir = made.seen(done.log_dir)
    record = record_of(log_dir)
    if done.code != 0 or record is None or record.status != "finished":
        yield f"ended with {done.code}, {record and record.status}: {done.err.strip()[-300:]}"
        return
    yield from false_in(log_dir)
    if outputs_of(log_dir) != outputs:
        yield f"made {sorted(outputs_of(log_dir))}"


def false_in(log_dir: Path) -> Iterator[str]:
    """What a record says that is not so."""
    try:
        record = store.read_record(str(log_dir))
    except RecordError as error:
        yield str(error)
        return
    where = f"{log_dir.name} ({record.status})"
    for text in (*_invalid(log_dir), *_false_end(record), *_false_files(log_dir, record)):
        yield f"{where}: {text}"


def false_run(log_dir: Path, expected: Mapping[str, bytes]) -> Iterator[str]:
    """The same, of a run that ends by itself unless it is lost.

    Args:
        log_dir: of the run.
        expected: what it makes.
    """
    yield from false_in(log_dir)
    record = record_of(log_dir)
    if record is None:
        return
    where = f"{log_dir.name} ({record.status})"
    outputs = outputs_of(log_dir)
    yield from false_outputs(where, record, outputs)
    if record.status == "lost" and record.exit_code is not None:
        yield f"{where}: exit code {record.exit_code}"
    elif record.status not in ("finished", "lost"):
        yield f"{where}: {record.reason}"
    if record.status != "finished":
        return
    if outputs != dict(expected):
        yield f"{where}: made {sorted(outputs)}"
    if printed_in(log_dir) != PRINTED:
        yield f"{where}: printed {printed_in(log_dir)}"
    if not (record.peak_memory and record.host.node):
        yield f"{where}: {record.peak_memory} bytes, on {record.host.node!r}"
    if not record.created <= (record.started or "") <= (record.ended or ""):
        yield f"{where}: {record.created}, {record.started}, {record.ended}"


def false_outputs(where: str, record: Record, outputs: Mapping[str, bytes]) -> Iterator[str]:
    """Outputs that are listed and not there, or there and not listed, or others."""
    listed = {each.path: (each.size, each.sha256) for each in record.outputs}
    if listed != {n: (len(d), hashlib.sha256(d).hexdigest()) for n, d in outputs.items()}:
        yield f"{where}: lists {sorted(listed)}, has {sorted(outputs)}"


def printed_in(log_dir: Path) -> list[bytes]:
    """The words of its console, whose two streams may mix."""
    return sorted((log_dir / store.CONSOLE_FILE).read_bytes().split())


def _invalid(log_dir: Path) -> Iterator[str]:
    schema = json.loads(store.json_schema())
    raw = json.loads((log_dir / store.RUN_FILE).read_bytes())
    yield from violations(raw, schema, schema)


def _false_end(record: Record) -> Iterator[str]:
    if record.status not in ENDED:
        yield f"is {record.status}"
    if (record.status == "finished") != (record.exit_code == 0 and record.reason is None):
        yield f"exit code {record.exit_code}, {record.reason}"
    if record.status != "finished" and not record.reason:
        yield "gives no reason"
    if record.seconds is not None and record.seconds < 0:
        yield f"took {record.seconds} s"
    if record.status == "finished" and not (record.started and record.ended and record.seconds):
        yield f"from {record.started} to {record.ended}, {record.seconds} s"


def _false_files(log_dir: Path, record: Record) -> Iterator[str]:
    listed = {each.path: (each.size, each.sha256) for each in record.outputs}
    there = {
        name: (os.path.getsize(log_dir / name), sha256_of(str(log_dir / name)))
        for name in _files_of(log_dir)
    }
    if record.status == "finished" and listed != there:
        yield f"lists {sorted(set(listed) - set(there))} or not {sorted(set(there) - set(listed))}"
    elif any(there.get(name) != facts for name, facts in listed.items()):
        yield f"lists {sorted(listed)}, has {sorted(there)}"
    archive, told = log_dir / store.ARCHIVE_FILE, any(store.ARCHIVE_FILE in n for n in record.notes)
    if record.archive and not told and _digest(archive) != record.archive.sha256:
        yield "its archive is another"
    missing = {n for n in store.OURS - store.PAYLOADS if not (log_dir / n).is_file()}
    if record.status == "finished" and missing:
        yield f"has no {sorted(missing)}"


def _digest(path: Path) -> str:
    return sha256_of(str(path)) if path.is_file() else ""


def _files_of(log_dir: Path) -> list[str]:
    paths = [p for p in log_dir.rglob("*") if p.is_file() and not p.is_symlink()]
    names = {str(path.relative_to(log_dir)) for path in paths if not is_unfinished(path.name)}
    archive = log_dir / store.ARCHIVE_FILE
    linked = {n for n in names if n.endswith(f"/{archive.name}") and archive.is_file()}
    twins = {name for name in linked if (log_dir / name).samefile(archive)}
    return sorted(names - store.OURS - twins)


def outputs_of(log_dir: Path) -> dict[str, bytes]:
    """What an experiment made."""
    return {name: (log_dir / name).read_bytes() for name in _files_of(log_dir)}


def left_by(made: Lab, containers: Iterable[str] = ()) -> Iterator[str]:
    """What is there and belongs to nobody.

    Args:
        made: where commands were run.
        containers: names of some that they have created, beside those of runs.
    """
    client = made.client()
    try:
        left = {each.name for each in containers_of(made, client)}
        listed = {name.lstrip("/") for c in client.api.containers(all=True) for name in c["Names"]}
    finally:
        client.close()
    yield from (f"the container {name} is left" for name in left | listed.intersection(containers))
    for path in made.seen(made.place).rglob("*"):
        # uv's own files are none of ours
        ours = is_unfinished(path.name) or path.name.startswith(SCRATCH_PREFIX)
        if ours and made.place / "uv" not in path.parents:
            yield f"{path.relative_to(made.seen(made.place))} is left"
    for path in made.held.iterdir() if made.held.is_dir() else ():
        yield f"{path.relative_to(made.place)} is left"
    for path in made.root.glob("data/local/*/*"):
        if not any((path / name).exists() for name in (store.RUN_FILE, "sweep.json")):
            yield f"{path.relative_to(made.place)} without a record"
    for path in (made.place / "tmp").iterdir():
        if not _is_pythons(path):
            yield f"{path.relative_to(made.place)} is left"
    for path in made.root.glob("*.rrpack"):
        if zipfile.ZipFile(path).testzip() is not None:
            yield f"half a pack: {path.name}"


def _is_pythons(path: Path) -> bool:
    """A file by which Python has tried whether a directory of temporary files can be written."""
    return path.is_file() and path.stat().st_size <= 4 and path.read_bytes() in (b"", b"blat")
