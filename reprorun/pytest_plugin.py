"""The pytest plugin: records as tests, and tests that are run twice in containers and compared.

    pytest --reprorun data/local          each record below is a test, `check::NAME`
    @pytest.mark.reproducible             the test must write the same both times

Until one of them is used nothing but this file is imported.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reprorun.workflow.check import CheckOptions, RecordCheck
    from reprorun.workflow.gather import Connect
    from reprorun.workflow.twice import Twice

MARK = "reproducible"
RECORD_MARK = "reprorun"
_TOLERANCES = frozenset({"rtol", "atol"})
_TAIL = 40  # lines of a test that failed


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags."""
    group = parser.getgroup("reprorun", "reproducibility")
    group.addoption(
        "--reprorun",
        action="append",
        default=[],
        metavar="PATH",
        help="Run this record, or the records in this directory, again and compare.",
    )
    group.addoption(
        "--reprorun-args",
        default="",
        metavar="FLAGS",
        help="Flags of `reprorun check` for them, in one string.",
    )
    group.addoption(
        "--reprorun-engine",
        metavar="NAME",
        help="docker or podman. Default: what REPRORUN_ENGINE or [tool.reprorun] names.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marks."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(rtol=0, atol=0): run it twice in containers; what it writes must be the same",
    )
    config.addinivalue_line("markers", f"{RECORD_MARK}: a record that is run again")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Put the records beside the tests, and marked tests into containers."""
    items[:] = [_in_containers(item) for item in items]
    if config.option.reprorun:
        items += _records(session, config)


class NotTheSame(Exception):
    """What is told of a test of ours that failed, in lines."""


class _Item(pytest.Item):
    """What our tests have in common."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Lines without a traceback, where it is no fault of ours."""
        from reprorun.errors import ReprorunError

        if isinstance(excinfo.value, (NotTheSame, ReprorunError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


# ---------------------------------------------------------------- records


class Records(pytest.Collector):
    """All records that were named.

    Args:
        records: paths.
        options: how they are checked.
        connect: reaches the engine.
    """

    def __init__(
        self, *, records: tuple[str, ...], options: CheckOptions, connect: Connect, **node: Any
    ) -> None:
        super().__init__(**node)
        self._records = records
        self._checked = {"options": options, "connect": connect}

    def collect(self) -> Iterator[pytest.Item]:
        """An item each, named by its path."""
        from reprorun.printable import printable

        here = str(self.config.invocation_params.dir)
        for path in self._records:
            inside = os.path.relpath(path, here)
            name = printable(path if inside.startswith("..") else inside)
            yield RecordItem.from_parent(self, name=name, record=path, **self._checked)


class RecordItem(_Item):
    """One record, to be run again and compared.

    Args:
        record: path of it.
        options: how it is checked.
        connect: reaches the engine.
    """

    def __init__(
        self, *, record: str, options: CheckOptions, connect: Connect, **node: Any
    ) -> None:
        super().__init__(**node)
        self._record = record
        self._options = options
        self._connect = connect
        self.add_marker(RECORD_MARK)

    def runtest(self) -> None:
        """Check it."""
        from reprorun.report.words import is_same
        from reprorun.workflow.check import check
        from reprorun.workflow.report import Silent

        place = str(self.config.invocation_params.dir)
        found = check([self._record], self._options, 1, place, self._connect, lambda _: Silent())
        (result,) = found
        self.user_properties.append(("verdict", result.verdict))
        if not is_same(result):
            raise NotTheSame(_told(result))

    def reportinfo(self) -> tuple[str, None, str]:
        """Where it is, and its name."""
        return self._record, None, self.nodeid


def _told(result: RecordCheck) -> str:
    import click

    from reprorun.cli.check import describe_check

    return "\n".join(click.unstyle(line) for line in describe_check(result))


def _records(session: pytest.Session, config: pytest.Config) -> list[pytest.Item]:
    """The records as items. Reported as collected, so that pytest counts them."""
    from reprorun.cli.check import options_of
    from reprorun.errors import ReprorunError
    from reprorun.workflow.check import find_checkable

    here = str(config.invocation_params.dir)
    try:
        flags = _check_flags(config.option.reprorun_args)
        connect = _chosen_engine(config, here, flags["engine"])
        options = options_of(flags)
        found = find_checkable([os.path.join(here, path) for path in config.option.reprorun])
    except ReprorunError as error:
        raise pytest.UsageError(f"--reprorun: {error}") from error
    collector = Records.from_parent(
        session, name="check", nodeid="check", records=found, options=options, connect=connect
    )
    report = collector.ihook.pytest_make_collect_report(collector=collector)
    collector.ihook.pytest_collectreport(report=report)
    return list(report.result)


def _check_flags(flags: str) -> dict[str, Any]:
    import click

    from reprorun.cli.check import check_command

    try:
        words = [*shlex.split(flags), "RECORD"]
        with check_command.make_context("reprorun check", words) as context:
            return context.params
    except ValueError as error:
        raise pytest.UsageError(f"--reprorun-args: {error}") from error
    except click.ClickException as error:
        raise pytest.UsageError(f"--reprorun-args: {error.format_message()}") from error
    except click.exceptions.Exit as end:
        raise pytest.UsageError("--reprorun-args: `reprorun check --help` lists them.") from end


def _chosen_engine(config: pytest.Config, directory: str, flag: str | None = None) -> Connect:
    """What reaches the engine that a flag, the option, REPRORUN_ENGINE or the project names."""
    from reprorun.cli.engines import chosen_engine

    return chosen_engine(flag or config.option.reprorun_engine, directory)


# ---------------------------------------------------------------- tests


class TwiceItem(_Item):
    """A test function, to be run twice in containers.

    Args:
        original: the test as pytest found it.
    """

    def __init__(self, *, original: pytest.Item, **node: Any) -> None:
        super().__init__(**node)
        self.path = original.path
        self.obj = getattr(original, "obj", None)  # conditions of skipif are evaluated beside it
        self.own_markers.extend(original.own_markers)
        self.keywords.update({mark.name: mark for mark in original.own_markers})
        self._where = original.reportinfo()

    def runtest(self) -> None:
        """Run it twice and compare."""
        from reprorun.workflow.report import Silent
        from reprorun.workflow.twice import run_twice, spec_of_test

        here = str(self.config.invocation_params.dir)
        name = re.sub(r"[^A-Za-z0-9_.=-]+", "_", self.nodeid).strip("._")[-100:]
        place = os.path.join(here, "data", "local", "check", name)
        spec = spec_of_test(str(self.path), self.nodeid.partition("::")[2], here)
        connect = _chosen_engine(self.config, os.path.dirname(str(self.path)))
        found = run_twice(spec, place, _settings(self), connect, Silent())
        if found.failed is not None:
            raise NotTheSame("\n".join(_failure(found)))
        assert found.comparison is not None
        self.user_properties.append(("verdict", found.comparison.verdict))
        if not found.comparison.same:
            raise NotTheSame("\n".join(_differences(found)))

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where the function is."""
        return self._where


def _in_containers(item: pytest.Item) -> pytest.Item:
    """A marked test as one that runs in containers; every other as it is."""
    if item.get_closest_marker(MARK) is None or isinstance(item, _Item):
        return item
    assert item.parent is not None
    return TwiceItem.from_parent(item.parent, name=item.name, original=item)


def _settings(item: pytest.Item) -> Any:
    from reprorun.compare.configured import checked, settings_from
    from reprorun.errors import UsageError
    from reprorun.settings import check_table

    mark = item.get_closest_marker(MARK)
    given = dict(mark.kwargs) if mark else {}
    if (mark and mark.args) or set(given) - _TOLERANCES:
        raise UsageError(f"@pytest.mark.{MARK} takes rtol=X and atol=X, and nothing else.")
    for name, value in given.items():
        checked(value, f"{MARK}({name})")
    table, path = check_table(os.path.dirname(str(item.path)))
    return settings_from(table, path, rtol=given.get("rtol"), atol=given.get("atol"))


def _failure(found: Twice) -> Iterator[str]:
    from reprorun import store
    from reprorun.printable import printable

    assert found.failed is not None
    yield f"the test failed in the container: {found.failed.record.reason}"
    with open(os.path.join(found.failed.log_dir, store.CONSOLE_FILE), "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    yield from (f"  {printable(line)}" for line in lines[-_TAIL:])
    yield f"kept: {found.failed.log_dir}"


def _differences(found: Twice) -> Iterator[str]:
    import click

    from reprorun.cli.compare import describe

    assert found.comparison is not None
    yield "two runs in containers wrote something different:"
    yield from (f"  {click.unstyle(line)}" for line in describe(found.comparison))
    yield f"kept: {' and '.join(found.log_dirs)}"
