"""`reprorun.sweep`: the command of that name, from Python.

It is carried into the container, too, where it says that it can't be used there; so it runs on
Python 3.8 and imports the rest of the host side only when it is called.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from reprorun.experiment.guest import current_guest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reprorun.sweeps.values import PointsSpec
    from reprorun.workflow.gather import Connect
    from reprorun.workflow.sweep import SweepRequest, Swept

Script = Union[str, "os.PathLike[str]"]


class SweptRun(NamedTuple):
    """One run of a sweep.

    Attributes:
        params: Its own parameters.
        status: `finished`, `failed`, `interrupted`, `lost` or `planned` (not begun).
        log_dir: The log directory of its record, None where there is none.
        exit_code: The experiment's, None where it did not come so far.
        seconds: How long it took.
        metrics: The last row of its `progress.csv`, as text.
    """

    params: Dict[str, Any]
    status: str
    log_dir: Optional[str]
    exit_code: Optional[int]
    seconds: Optional[float]
    metrics: Dict[str, str]


class SweepResult(NamedTuple):
    """How a sweep went.

    Attributes:
        log_dir: Its directory, with `sweep.json` and `sweep.csv`.
        runs: Its runs, in order.
        finished: Whether every one of them is finished.
    """

    log_dir: str
    runs: Tuple[SweptRun, ...]
    finished: bool


def sweep(
    script: Script,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    zipped: Mapping[str, Sequence[Any]] | None = None,
    points: Sequence[Mapping[str, Any]] = (),
    sample: int | None = None,
    sample_seed: int = 0,
    args: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    inputs: Sequence[str] = (),
    parallel: int | None = None,
    retries: int = 2,
    retry_failed: bool = False,
    max_failures: int | None = None,
    runs_per_gpu: int = 1,
    name: str | None = None,
    log_dir: str | None = None,
    resume: str | None = None,
    engine: str | None = None,
    quiet: bool = False,
    **flags: str,
) -> SweepResult:
    """Run a launcher many times, side by side, each time with other parameters.

    Values of parameters are what JSON has: numpy's numbers become plain ones, tuples lists.

    Args:
        script: The launcher.
        grid: Values by parameter; every combination is run.
        zipped: Values by parameter that go hand in hand.
        points: Parameters of runs, one mapping each; combined with the others.
        sample: So many of all these runs, chosen at random.
        sample_seed: Chooses them.
        args: Arguments of the script; `{NAME}` in them takes the value of a parameter.
        params: Parameters that all runs share.
        env: Variables.
        inputs: Paths of data that is mounted read-only.
        parallel: Runs at once, at most; None: what the machine's resources allow.
        retries: Of a run that the engine or its machine failed.
        retry_failed: Retry runs that fail by themselves, too.
        max_failures: Begin no other run when so many have failed.
        runs_per_gpu: Runs that may share a GPU.
        name: Of the sweep; the script's by default.
        log_dir: Where to keep it; `data/local/sweep/NAME` by default.
        resume: Directory of a sweep to go on with: what is finished there is not run again.
        engine: `docker` or `podman`; by default what `REPRORUN_ENGINE` or the project names.
        quiet: Print only what goes wrong.
        **flags: Settings as the command's flags have them, as text: `cpus="2"`, `gpus="1"`.

    Returns:
        How its runs went. Runs that fail are no error.

    Raises:
        reprorun.errors.ReprorunError: It can't be done as asked, the images can't be made, or the
            runs can't go on; what is finished is kept.
        KeyboardInterrupt: Interrupted; `resume` goes on with it.
        RuntimeError: Called in a container.
    """
    if current_guest() is not None:
        raise RuntimeError("sweep starts containers, and this is one: call it outside")
    from reprorun.cli.engines import chosen_engine
    from reprorun.cli.secrets import refuse_secret_args, refuse_secret_params
    from reprorun.errors import UsageError
    from reprorun.model import RunSpec
    from reprorun.sweeps.plain import plain_params
    from reprorun.workflow.drive import Policy
    from reprorun.workflow.sweep import SweepRequest

    if resume is not None and (name or log_dir):
        raise UsageError("resume names the sweep's directory: leave name and log_dir.")
    place = os.path.dirname(os.path.realpath(script))
    connect = chosen_engine(engine, place)
    common = plain_params(params or {}, "params")
    refuse_secret_params(common, "parameter")
    refuse_secret_args(args)
    request = SweepRequest(
        spec=RunSpec(
            script=os.fspath(script),
            args=tuple(args),
            cwd=os.getcwd(),
            name=name,
            log_dir=log_dir,
            params=common,
            env=dict(env or {}),
            inputs=tuple(inputs),
            **_settings(place, flags),
        ),
        points=_points(grid, zipped, points, sample, sample_seed, common),
        runs_per_gpu=runs_per_gpu,
        policy=Policy(retries=retries, retry_failed=retry_failed, max_failures=max_failures),
    )
    return _result(_run(request, connect, resume, parallel, quiet))


def _settings(place: str, flags: Mapping[str, str]) -> dict[str, Any]:
    from reprorun import settings

    given = {name.replace("_", "-"): text for name, text in flags.items()}
    unknown = sorted(set(given) - set(settings.NAMES))
    if unknown:
        raise TypeError(f"sweep() takes no {unknown[0].replace('-', '_')!r}")
    return settings.resolve(given, place)


def _points(
    grid: Mapping[str, Sequence[Any]] | None,
    zipped: Mapping[str, Sequence[Any]] | None,
    points: Sequence[Mapping[str, Any]],
    sample: int | None,
    sample_seed: int,
    common: dict[str, Any],
) -> PointsSpec:
    from reprorun.cli.secrets import refuse_secret_params
    from reprorun.sweeps.grid_text import points_of
    from reprorun.sweeps.plain import plain_axes, plain_params

    rows = tuple(plain_params(point, f"points[{number}]") for number, point in enumerate(points))
    in_hand, combined = plain_axes(zipped or {}, "zipped"), plain_axes(grid or {}, "grid")
    for given in (*rows, in_hand, combined):
        refuse_secret_params(given, "parameter")
    spec, _ = points_of(rows, in_hand, combined, sample, sample_seed, common)
    return spec


def _run(
    request: SweepRequest,
    connect: Connect,
    resume: str | None,
    parallel: int | None,
    quiet: bool,
) -> Swept:
    from reprorun.cli.shown import Shown
    from reprorun.workflow.here import here
    from reprorun.workflow.recover import recover_by_the_way
    from reprorun.workflow.sweep import resume_sweep, run_sweep

    shown = Shown(quiet=quiet, verbose=False)
    make_runner = here(connect, shown.of, parallel, shown.report)
    try:
        recover_by_the_way(connect, shown.report)
        if resume is None:
            return run_sweep(request, connect, make_runner, shown.begin, shown.report)
        cwd = os.getcwd()
        return resume_sweep(resume, request, cwd, connect, make_runner, shown.begin, shown.report)
    finally:
        shown.close()


def _result(swept: Swept) -> SweepResult:
    from reprorun.sweeps.table import read_results

    if swept.interrupted:
        raise KeyboardInterrupt
    if swept.error:
        raise swept.error
    book = swept.book
    runs = tuple(
        SweptRun(
            params=result.params,
            status=result.entry.status,
            log_dir=_path(book.directory, result.entry.log_dir),
            exit_code=result.entry.exit_code,
            seconds=result.entry.seconds,
            metrics=result.metrics,
        )
        for result in read_results(book.directory, book.rows())
    )
    return SweepResult(book.directory, runs, swept.exit_code == 0)


def _path(directory: str, log_dir: str | None) -> str | None:
    return None if log_dir is None else os.path.join(directory, log_dir)
