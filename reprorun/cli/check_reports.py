"""The reports of a check: the flags that ask for them, and writing them where they go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.options import with_options
from reprorun.errors import UsageError

if TYPE_CHECKING:
    from reprorun.workflow.check import RecordCheck

_ON_GITHUB = "GITHUB_ACTIONS"
_SUMMARY = "GITHUB_STEP_SUMMARY"
_FILES = ("html", "junit_xml")
_NOT_SHOWN = frozenset(
    {*_FILES, "as_json", "github", "quiet", "verbose", "jobs", "place", "address"}
)


with_reports = with_options(
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
    click.option("--html", metavar="FILE", help="Write a page that shows what differs."),
    click.option("--junit-xml", metavar="FILE", help="Write the result as JUnit XML."),
    click.option("--github/--no-github", default=None,
                 help="Annotations and a job summary (default: in GitHub Actions)."),
)  # fmt: skip
"""Decorates a command with the flags for reports."""


def refuse_unwritable(given: dict[str, Any]) -> None:
    """Look before anything is run whether the reports can be written.

    Raises:
        UsageError: one can't be.
    """
    for name in _FILES:
        path = given[name]
        if path is None:
            continue
        flag = f"--{name.replace('_', '-')}"
        directory = os.path.dirname(os.path.abspath(path))
        if not path or os.path.isdir(path):
            raise UsageError(f"{flag} {path!r} names no file.")
        if not os.access(directory, os.W_OK):
            raise UsageError(f"{flag} {path}: {directory} is no directory that can be written to.")


def write_reports(
    results: Sequence[RecordCheck], given: dict[str, Any], options: Any, flags: Sequence[str]
) -> None:
    """Write all reports that were asked for.

    Args:
        results: of the records.
        given: the flags.
        options: how the records were checked.
        flags: those that a reader needs to check again.

    Raises:
        UsageError: a file can't be written.
    """
    if given["html"]:
        write_report(given["html"], _page(results, options, flags))
    if given["junit_xml"]:
        write_report(given["junit_xml"], _junit(results))
    on_github = os.environ.get(_ON_GITHUB) == "true"
    if on_github if given["github"] is None else given["github"]:
        _tell_github(results, to_stderr=given["as_json"])


def flags_given(context: click.Context) -> tuple[str, ...]:
    """The flags of a command as words, without those that say how and where to report.

    Of variables that look secret only the name is left, which takes the host's value.
    """
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if not isinstance(parameter, click.Option) or name in _NOT_SHOWN:
            continue
        if source is click.core.ParameterSource.COMMANDLINE:
            words += _words(parameter, context.params[name])
    return tuple(words)


def _words(option: click.Option, value: Any) -> list[str]:
    from reprorun.environment.credentials import strip_in_text

    flag = max(option.opts, key=len)
    if option.is_flag:
        return [flag if value or not option.secondary_opts else option.secondary_opts[0]]
    values = value if option.multiple else [value]
    if option.name == "env":
        values = [_without_secret(entry) for entry in values]
    return [word for each in values for word in (flag, strip_in_text(str(each)))]


def _without_secret(entry: str) -> str:
    from reprorun.plan import redact

    name, equals, value = entry.partition("=")
    return name if equals and redact({name: value})[name] != value else entry


def _page(results: Sequence[RecordCheck], options: Any, flags: Sequence[str]) -> bytes:
    from datetime import datetime, timezone

    from reprorun.report.page import page
    from reprorun.workflow.exhibits import gather_exhibits

    exhibits = gather_exhibits(results, options)
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return page(results, exhibits, flags=flags, made=made, cwd=os.getcwd()).encode()


def _junit(results: Sequence[RecordCheck]) -> bytes:
    from reprorun.cli.check import describe_check
    from reprorun.report.junit import junit_xml

    return junit_xml(results, lambda result: map(click.unstyle, describe_check(result)))


def _tell_github(results: Sequence[RecordCheck], *, to_stderr: bool) -> None:
    """Annotations go where GitHub reads them; with --json that can only be stderr."""
    from reprorun.report.github import summary, workflow_commands

    for line in workflow_commands(results):
        click.echo(line, err=to_stderr)
    path = os.environ.get(_SUMMARY)
    if path:
        write_report(path, summary(results).encode(), mode="ab")


def write_report(path: str, content: bytes, mode: str = "wb") -> None:
    """Write a report.

    Raises:
        UsageError: it can't be written.
    """
    try:
        with open(path, mode) as file:
            file.write(content)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror or error}.") from error
