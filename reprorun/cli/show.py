"""A record in words, for `reprorun show`."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from reprorun import store
from reprorun.cli.text import duration, printable, size
from reprorun.model import Difference, GpusSeen, LeftOut, Record
from reprorun.workflow.lineage import Kin, Lineage

WIDTH = 12
SHOWN = 30  # outputs that are listed one by one
DEEPEST = 20  # steps by which a re-run of a re-run is indented

_FILES = (
    (store.RUN_FILE, "the full record"),
    (store.METADATA_FILE, "commit and launcher"),
    (store.VARIANT_FILE, "the parameters"),
    (store.ARCHIVE_FILE, "the code as it was"),
    (store.LOCK_FILE, "every package with its hashes"),
    (store.DOCKERFILE, "as rendered"),
    (store.CONSOLE_FILE, "what it printed"),
)


@contextmanager
def files_of(path: str) -> Iterator[str]:
    """The directory with a record's own files while the block lasts, also where it is a pack.

    Raises:
        RecordError: it is a file, but no pack, or the pack is damaged.
        EngineError: the disk is full.
    """
    if not os.path.isfile(path):
        yield path
        return
    from reprorun.workflow.opened import opened
    from reprorun.workflow.report import Silent

    with opened(path, Silent(), whole=False) as place:
        yield place.log_dir


def describe(path: str, log_dir: str, record: Record, lineage: Lineage) -> Iterator[str]:
    """The lines that `reprorun show` prints.

    Args:
        path: what the user named.
        log_dir: where its files are; of a pack, while it is open.
        record: read from there.
        lineage: what it is a re-run of, and its re-runs.
    """
    for name, text in _facts(path, record):
        yield f"{name:<{WIDTH}} {printable(text)}"
    yield from _section("files", [_file_line(log_dir, name, what) for name, what in _FILES])
    yield from _section("outputs", _outputs(record))
    yield from _section("left out of the archive", [_left_out(e) for e in record.left_out])
    yield from _section("not kept", [_left_out(entry) for entry in record.not_kept])
    yield from _section("notes", [printable(note) for note in record.notes])
    yield from _section("re-run of", [_kin(kin) for kin in lineage.originals])
    title = "differs from the original (* asked for)"
    yield from _section(title, [_difference(entry) for entry in record.differences])
    yield from _section("re-runs", [_kin(kin) for kin in lineage.reruns])


def _facts(path: str, record: Record) -> Iterator[tuple[str, str]]:
    yield "record", path
    yield "id", record.id
    yield "status", _status(record)
    yield "command", shlex.join(record.argv) + (f"  (in {record.cwd})" if record.cwd != "." else "")
    if record.params:
        yield "parameters", json.dumps(record.params)
    if record.environment:
        yield "variables", " ".join(f"{key}={value}" for key, value in record.environment.items())
    if record.secrets:
        yield "secrets", f"{' '.join(record.secrets)} (not kept; a re-run asks for them again)"
    yield "code", _code(record)
    for entry in record.inputs:
        yield "input", f"{entry.path}, {size(entry.size)}, sha256 {entry.sha256[:12]}"
    yield "environment", _environment(record)
    yield "container", _container(record)
    yield "machine", _machine(record)
    if record.gpus_seen:
        yield "gpus seen", _gpus(record.gpus_seen)
    yield "created", record.created[:19].replace("T", " ") + " UTC"
    if record.peak_memory:
        yield "peak memory", f"{size(record.peak_memory)} in its largest process"


def _status(record: Record) -> str:
    took = f" in {duration(record.seconds)}" if record.seconds is not None else ""
    code = f", exit code {record.exit_code}" if record.exit_code is not None else ""
    reason = f": {record.reason}" if record.reason else ""
    return f"{record.status}{took}{code}{reason}"


def _code(record: Record) -> str:
    commit = f"commit {record.githash}" if record.githash else "no commit"
    archive = record.archive
    kept = f", {archive.files} files archived in {size(archive.size)}" if archive else ""
    return f"{commit}, launcher {record.launcher}{kept}"


def _environment(record: Record) -> str:
    base = record.base_image
    python = f"Python {base.python} of {base.ref}" if base else "unknown"
    source = f", packages of {record.requirements}" if record.requirements else ""
    return f"{python}{source} ({record.environment_digest[:19]})"


def _container(record: Record) -> str:
    engine = f"{record.engine.name} {record.engine.version}" if record.engine else "no engine"
    limits = record.limits
    bounds = [f"network {record.network}"]
    bounds += [f"memory {size(limits.memory)}"] if limits.memory else []
    bounds += [f"{limits.cpus:g} processors"] if limits.cpus else []
    return f"{engine}, {record.runtime.upper()} runtime, {', '.join(bounds)}"


def _machine(record: Record) -> str:
    host = record.host
    gpus = f", {', '.join(host.gpus)}" if host.gpus else ""
    return (
        f"{host.cpu_model}, {host.cpu_count} processors, {size(host.memory)}{gpus}, {host.system}"
    )


def _gpus(seen: GpusSeen) -> str:
    names = [f"{gpu.name}{f' ({size(gpu.memory)})' * bool(gpu.memory)}" for gpu in seen.gpus]
    driver = f", driver {seen.driver}" if seen.driver else ""
    cuda = f", CUDA {seen.cuda}" if seen.cuda else ""
    return f"{', '.join(names) or 'none'}{driver}{cuda}"


def _file_line(log_dir: str, name: str, what: str) -> str:
    path = os.path.join(log_dir, name)
    there = size(os.path.getsize(path)) if os.path.isfile(path) else "missing"
    return f"{name:<24} {there:>10}  {what}"


def _outputs(record: Record) -> list[str]:
    lines = [
        printable(f"{output.path:<24} {size(output.size):>10}  sha256 {output.sha256[:12]}")
        for output in record.outputs[:SHOWN]
    ]
    more = len(record.outputs) - SHOWN
    return [*lines, f"and {more} more; see run.json"] if more > 0 else lines


def _left_out(entry: LeftOut) -> str:
    there = f", {size(entry.size)}" if entry.size is not None else ""
    return printable(f"{entry.path}{there}: {entry.reason}")


def _kin(kin: Kin) -> str:
    """A record in the chain, indented by how far off it is."""
    where = kin.log_dir or "not known on this machine"
    depth = min(kin.distance - 1, DEEPEST)
    return f"{'  ' * depth}{printable(f'{kin.id:<16}  {kin.status:<11}  {where}')}"


def _difference(entry: Difference) -> str:
    mark = "*" if entry.wanted else " "
    return printable(f"{mark} {entry.what}: {entry.original}, now {entry.now}")


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)
