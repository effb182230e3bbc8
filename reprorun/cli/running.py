"""What commands that run an experiment share: signals, the report while it runs, how it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import click


def finish_run(given: dict[str, Any], launch: Callable[[Any], Any]) -> int:
    """Launch a run, report how it goes and ends, and return the exit code.

    Args:
        given: the command's flags: quiet, verbose, as_json.
        launch: runs it; takes the reporter, returns what has `record`, `log_dir`, `exit_code` and
            `error`.

    Raises:
        UsageError: a mistake of the user that showed only in the end.
    """
    from reprorun.cli.report import make_reporter
    from reprorun.errors import UsageError
    from reprorun.store import record_text

    interrupts_as_ctrl_c()
    recover_first(given)
    report = make_reporter(quiet=given["quiet"], verbose=given["verbose"], json=given["as_json"])
    try:
        finished = launch(report)
        _say_end(report, finished)
    finally:
        report.close()
    if given["as_json"]:
        click.echo(record_text(finished.record), nl=False)
    if finished.error:
        raise UsageError(finished.error)
    return int(finished.exit_code)


def recover_first(given: dict[str, Any]) -> None:
    """Finish and clean up what killed processes have left, before anything new is begun.

    Args:
        given: the command's flags: quiet, engine.
    """
    from reprorun.held import is_any_left

    if not is_any_left():
        return
    from reprorun.cli.engines import chosen_engine
    from reprorun.cli.report import make_reporter
    from reprorun.errors import UsageError
    from reprorun.workflow.recover import recover_by_the_way

    try:
        connect = chosen_engine(given.get("engine"))
    except UsageError:
        return  # the command itself says so, if it needs one
    report = make_reporter(quiet=given["quiet"], verbose=False, json=True)
    try:
        recover_by_the_way(connect, report)
    finally:
        report.close()


def interrupts_as_ctrl_c() -> None:
    """Let what ends a process end it as Ctrl-C does: the record has to say so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)


def _say_end(report: Any, finished: Any) -> None:
    from reprorun.cli.text import duration, near

    record = finished.record
    took = f"in {duration(record.seconds)}" if record.seconds is not None else ""
    if record.status == "finished":
        report.step("finished", took)
    else:
        report.step(record.status, f"{record.reason} (exit code {record.exit_code}) {took}".strip())
    report.step("record", near(finished.log_dir))
