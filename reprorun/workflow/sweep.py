"""`reprorun sweep`: many runs of one launch, told apart by their parameters, into one directory.

launch (code, environment, images: once) -> runs, some at once -> records, sweep.json, sweep.csv
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import NamedTuple

from msgspec.structs import replace

import reprorun
from reprorun import store
from reprorun.engine import Engine
from reprorun.errors import EngineError, ReprorunError, UsageError
from reprorun.held import holding, holding_dir, is_any_left
from reprorun.model import Changes, RunSpec, SchemaMark, Value
from reprorun.sweeps.book import SCHEMA, Book, Kept, is_sweep, read_book
from reprorun.sweeps.points import Points, fill, refuse_unfilled
from reprorun.sweeps.table import TABLE_FILE, read_results, write_table
from reprorun.sweeps.values import Ask, Entry, Head, Params, PointsSpec
from reprorun.workflow.drive import Drive, Policy, Progress
from reprorun.workflow.finished import find_finished, last_launch
from reprorun.workflow.gather import Connect
from reprorun.workflow.keeper import explain, utc_now
from reprorun.workflow.opening import log_directory
from reprorun.workflow.prepared import Prepared, prepared, prepared_again
from reprorun.workflow.recover import Scope, recover
from reprorun.workflow.report import Reporter
from reprorun.workflow.resources import ask_of
from reprorun.workflow.resumed import tell_differences, tell_what_is_done
from reprorun.workflow.runner import Runner

PREFIX = "sweep"  # below data/local
FAILED = 1  # exit code

MakeRunner = Callable[[Prepared, Engine, Ask], Runner]
Begin = Callable[[int, int], Progress]
"""Told how many runs there are and how many of them are finished; makes what is told the rest."""


class SweepRequest(Value, frozen=True, kw_only=True):
    """What the user asked for."""

    spec: RunSpec  # what the runs share; `{NAME}` in its arguments stands for a parameter's value
    points: PointsSpec
    runs_per_gpu: int = 1
    policy: Policy = Policy()
    here: bool = True  # the engine that makes the images makes the runs, too


class Resumption(Value, frozen=True, kw_only=True):
    """What the user asked for where a sweep is gone on with, with the launch that it had."""

    points: PointsSpec | None = None  # None: those that it had
    changes: Changes = Changes()
    runs_per_gpu: int = 1
    policy: Policy = Policy()
    here: bool = True


class Swept(NamedTuple):
    """How a sweep went."""

    book: Book
    error: ReprorunError | None  # why not all runs were begun
    interrupted: bool

    @property
    def counts(self) -> Counter[str]:
        """How many runs have which status."""
        return Counter(entry.status for entry in self.book.entries)

    @property
    def exit_code(self) -> int:
        """0 where every run is finished."""
        if self.error:
            return self.error.exit_code
        return 0 if self.counts["finished"] == len(self.book.entries) else FAILED


def run_sweep(
    request: SweepRequest,
    connect: Connect,
    make_runner: MakeRunner,
    begin: Begin,
    report: Reporter,
) -> Swept:
    """Make all runs of a new sweep.

    Args:
        request: what the user asked for.
        connect: reaches the engine that makes the images.
        make_runner: makes what carries the runs out.
        begin: told when the launch is ready.
        report: told how the launch is made ready.

    Raises:
        UsageError: it can't be done as asked; nothing was started.
        EngineError: the engine or the build failed; nothing was started.
    """
    points = Points(request.points)
    refuse_unfilled(request.spec.args, request.points)
    with (
        closing(connect()) as engine,
        prepared(request.spec, engine, report, here=request.here) as launch,
    ):
        giving = engine.info() if request.here else None
        ask = ask_of(launch.spec, giving, request.runs_per_gpu)
        runner = make_runner(launch, engine, ask)
        wanted = log_directory(request.spec, PREFIX)
        with holding_dir(wanted, lambda: _claim(request.spec)) as directory, held(directory):
            head = _head(launch, request.spec, request.points)
            book = Book(directory, head, points, [Entry() for _ in range(len(points))])
            return _make_runs(book, launch, runner, request.policy, begin)


def resume_sweep(
    directory: str,
    request: SweepRequest | Resumption,
    cwd: str,
    connect: Connect,
    make_runner: MakeRunner,
    begin: Begin,
    report: Reporter,
) -> Swept:
    """Go on with a sweep: make the runs that are not finished.

    Args:
        directory: of the sweep.
        request: a launch of now, or the one that the sweep had.
        cwd: the working directory, absolute.
        connect: reaches the engine that makes the images.
        make_runner: makes what carries the runs out.
        begin: told when the launch is ready.
        report: told how the launch is made ready.

    Raises:
        RecordError: there is no sweep, or it can't be gone on with.
        UsageError: it can't be done as asked, or another process is at work on it.
        EngineError: the engine or the build failed.
    """
    directory = os.path.realpath(directory)
    with held(directory):
        kept = read_book(directory)
        _end_what_runs(directory, connect, report)
        points_spec = request.points or kept.head.points
        points = Points(points_spec)
        with (
            closing(connect()) as engine,
            _launch(directory, kept, request, cwd, engine, report) as launch,
        ):
            head = _continued(kept, launch, request, points_spec)
            refuse_unfilled(head.args, points_spec)
            book = Book(directory, head, points, find_finished(directory, kept, points, head))
            tell_what_is_done(book, kept, report)
            if isinstance(request, SweepRequest) or request.changes != Changes():
                tell_differences(book, launch, report)
            giving = engine.info() if request.here else None
            ask = ask_of(launch.spec, giving, request.runs_per_gpu)
            runner = make_runner(launch, engine, ask)
            return _make_runs(book, launch, runner, request.policy, begin)


# ---------------------------------------------------------------- the steps


def _claim(spec: RunSpec) -> str:
    path = log_directory(spec, PREFIX)
    if not spec.log_dir:
        return os.path.realpath(store.claim_log_dir(path))
    if is_sweep(path):
        raise UsageError(
            f"{spec.log_dir} holds a sweep. `reprorun sweep --resume {spec.log_dir}` goes on with "
            "it; name another --log-dir for a new one."
        )
    made = os.path.realpath(store.use_log_dir(path))
    os.unlink(os.path.join(made, store.RESERVE_FILE))
    return made


@contextmanager
def held(directory: str) -> Iterator[None]:
    """Have a sweep's directory alone.

    Raises:
        UsageError: it can't be opened, or another process has it.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"{directory} can't be opened: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with holding(beside=directory):
            yield
    except BlockingIOError as error:
        raise UsageError(
            f"another sweep is at work in {directory}. Wait for its end, or stop it."
        ) from error
    finally:
        os.close(descriptor)


def _end_what_runs(directory: str, connect: Connect, report: Reporter) -> None:
    """Runs that a killed sweep has left come to their end first: none is made twice."""
    if is_any_left():
        for each in recover(Scope(unmarked=False, below=directory), connect, report):
            report.step(each.what, f"{os.path.basename(each.name)}: {each.text}")


def _launch(
    directory: str,
    kept: Kept,
    request: SweepRequest | Resumption,
    cwd: str,
    engine: Engine,
    report: Reporter,
) -> AbstractContextManager[Prepared]:
    if isinstance(request, SweepRequest):
        return prepared(request.spec, engine, report, here=request.here)
    record = last_launch(directory, kept.head)
    return prepared_again(record, request.changes, cwd, engine, report, here=request.here)


def _make_runs(book: Book, launch: Prepared, runner: Runner, policy: Policy, begin: Begin) -> Swept:
    def spec_of(params: Params, log_dir: str) -> RunSpec:
        spec = spec_of_point(launch.spec, book.head.args, book.head.params, params)
        return replace(spec, log_dir=log_dir, rebuild=False)

    done = sum(entry.status == "finished" for entry in book.entries)
    progress = begin(len(book.entries), done)
    drive = Drive(book, spec_of, runner, policy, progress)
    drive.run()
    error = _close(book, progress)
    return Swept(book, drive.stopped or error, drive.interrupted)


def _close(book: Book, progress: Progress) -> EngineError | None:
    """Write down how it ended; an error says what could not be written."""
    try:
        book.head = replace(book.head, ended=utc_now())
        book.write()
        results = read_results(book.directory, book.rows())
        for note in write_table(os.path.join(book.directory, TABLE_FILE), results):
            progress.note(note)
    except OSError as error:
        return EngineError(explain(error, book.directory))
    return None


def spec_of_point(
    spec: RunSpec, templates: tuple[str, ...], common: Params, params: Params
) -> RunSpec:
    """The spec of one run.

    Args:
        spec: of the launch.
        templates: its arguments; `{NAME}` in them stands for a parameter's value, common or not.
        common: parameters that all runs share.
        params: of this run.
    """
    args, rest = fill(templates, {**common, **params})
    return replace(spec, args=args, params=rest, name=None)


def _head(launch: Prepared, spec: RunSpec, points: PointsSpec) -> Head:
    code = launch.sources.code
    return Head(
        reprorun=SchemaMark(schema=SCHEMA, version=reprorun.__version__),
        sweep=os.urandom(8).hex(),
        created=utc_now(),
        script=spec.script,
        args=spec.args,
        cwd=code.workdir,
        params=spec.params,
        points=points,
        environment_digest=f"sha256:{launch.environment.digest}",
        archive_sha256=launch.sources.archive_sha256,
        githash=code.githash,
        launcher=code.metadata["launcher"],
    )


def _continued(
    kept: Kept, launch: Prepared, request: SweepRequest | Resumption, points: PointsSpec
) -> Head:
    """The head of a sweep that is gone on with: the same sweep, as it is now."""
    if isinstance(request, SweepRequest):
        spec = request.spec
    else:
        spec = replace(launch.spec, args=kept.head.args, params=kept.head.params)
    now = _head(launch, spec, points)
    return replace(now, sweep=kept.head.sweep, created=kept.head.created)
