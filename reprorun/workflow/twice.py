"""The same run twice, and the one compared with the other: whether it comes out the same at all."""

from __future__ import annotations

import os

import msgspec

from reprorun import settings as defaults
from reprorun import store
from reprorun.compare.values import Comparison, Settings
from reprorun.experiment.repository import find_root
from reprorun.held import holding_dir
from reprorun.model import WORKSPACE, RunSpec, Value
from reprorun.workflow.compare import compare_paths
from reprorun.workflow.connecting import connecting
from reprorun.workflow.exec import Finished, execute
from reprorun.workflow.gather import Connect
from reprorun.workflow.removing import remove_record
from reprorun.workflow.report import Reporter

_OUTPUTS = "reprorun-tmp"  # where tmp_path is in the container, below the working directory
_GUEST = "reprorun.experiment.pytest_guest"


class Twice(Value, frozen=True, kw_only=True):
    """What came of two runs."""

    failed: Finished | None = None  # a run that did not succeed; no other was begun
    comparison: Comparison | None = None  # of two that did
    log_dirs: tuple[str, ...] = ()  # those that were kept


def run_twice(
    spec: RunSpec, place: str, settings: Settings, connect: Connect, report: Reporter
) -> Twice:
    """Run twice and compare. The records are kept unless they are the same.

    Args:
        spec: what to run.
        place: where the records go, with numbers behind.
        settings: how strictly they are compared.
        connect: reaches the engine, for each run anew.
        report: told what happens.

    Raises:
        UsageError: it can't be done as asked.
        EngineError: the engine or the build failed.
        KeyboardInterrupt: interrupted.
    """
    done: list[Finished] = []
    for _ in range(2):
        with holding_dir(place, lambda: store.claim_log_dir(place)) as log_dir:
            here = msgspec.structs.replace(spec, log_dir=log_dir)
            with connecting(connect) as reached:
                finished = execute(here, reached, report)
        if finished.record.status == "interrupted":
            raise KeyboardInterrupt
        done.append(finished)
        if finished.exit_code != 0:
            return Twice(failed=finished, log_dirs=tuple(each.log_dir for each in done))
    comparison = compare_paths(done[0].log_dir, done[1].log_dir, settings)
    if comparison.same:
        _remove(done)
        return Twice(comparison=comparison)
    return Twice(comparison=comparison, log_dirs=tuple(each.log_dir for each in done))


def _remove(runs: list[Finished]) -> None:
    for finished in runs:
        remove_record(finished.log_dir, finished.record.id)


# ---------------------------------------------------------------- a test of pytest's


def spec_of_test(path: str, name: str, cwd: str) -> RunSpec:
    """The run of one test, in the project's own environment with pytest added.

    pytest's own root is not relied on: a directory of records may have moved it.

    Args:
        path: of the file, absolute.
        name: of the test in it, such as `TestIt::test_that[1]`.
        cwd: the working directory, absolute.

    Raises:
        UsageError: a setting that can't be understood.
    """
    command = (
        *("python", "-m", "pytest", "-q", "-p", _GUEST, "-p", "no:cacheprovider"),
        *("-o", "addopts=", f"--basetemp={_OUTPUTS}"),
        f"{WORKSPACE}/{_inside(path)}::{name}",
    )
    return RunSpec(
        script=path,
        cwd=cwd,
        command=command,
        extra_requirements=("pytest>=7",),
        **defaults.resolve({}, os.path.dirname(path)),
    )


def _inside(path: str) -> str:
    """The path relative to what is archived with it: see `reprorun.probe.code`."""
    directory, name = os.path.split(path)
    path = os.path.join(os.path.realpath(directory), name)
    root = find_root(path)
    return name if root is None else os.path.relpath(path, os.path.realpath(root))
