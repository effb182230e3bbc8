"""The flags of `check` for reports, and how it goes on the screen."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click
import pytest

from reprorun.cli import run
from reprorun.cli.check import check_command
from reprorun.cli.check_progress import Beginnings, Screen, Steps, make_progress
from reprorun.cli.check_reports import flags_given, refuse_unwritable, write_reports
from reprorun.engine.fake import FakeProcess
from reprorun.errors import UsageError
from reprorun.model import Changes
from reprorun.workflow.check import CheckOptions

from ..report import results
from .test_check import Lab

OPTIONS = CheckOptions(changes=Changes())
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI"):
        monkeypatch.delenv(name, raising=False)


def flags(**given: Any) -> dict[str, Any]:
    nothing = {"html": None, "junit_xml": None, "github": None, "as_json": False}
    return {**nothing, "quiet": False, "verbose": False, **given}


def write(**given: Any) -> None:
    write_reports([results.SAME, results.DIFFERS], flags(**given), OPTIONS, ())


def test_no_report_unless_asked_for(tmp_path: Path, capsys: Capture) -> None:
    write()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_files(tmp_path: Path) -> None:
    write(html="r.html", junit_xml="r.xml")
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "r.xml").read_bytes().startswith(b"<?xml")


def test_github_is_told_where_it_runs_us(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    (tmp_path / "summary").write_text("before\n")
    write()
    assert capsys.readouterr().out.startswith("::error file=runs/a/run.json,")
    assert (tmp_path / "summary").read_text().startswith("before\n## reprorun check\n")
    write(github=False)
    assert capsys.readouterr() == ("", "")


def test_github_elsewhere_when_asked_for(capsys: Capture) -> None:
    write(github=True)
    assert "::error " in capsys.readouterr().out
    write(github=True, as_json=True)  # stdout is the result's
    said = capsys.readouterr()
    assert said.out == ""
    assert "::error " in said.err


@pytest.mark.parametrize("name", ["html", "junit_xml"])
@pytest.mark.parametrize("path", ["", ".", "nowhere/r.html"])
def test_a_report_that_cant_be_written_is_refused_at_once(name: str, path: str) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}"):
        refuse_unwritable(flags(**{name: path}))


def test_the_flags_that_a_reader_needs() -> None:
    words = [
        *("--repeat", "2", "-e", "A=1", "-e", "MY_TOKEN=hunter2", "--rtol", "0.1", "--keep"),
        *("--html", "r.html", "-q", "-j", "2", "--repo", "https://user:hunter2@example.invalid/r"),
        "RECORD",
    ]
    with check_command.make_context("reprorun check", words) as context:
        found = " ".join(flags_given(context))
    assert "hunter2" not in found
    assert "--env A=1 --env MY_TOKEN" in found
    assert "--repo https://example.invalid/r" in found
    assert "--repeat 2" in found
    assert "--keep" in found
    assert not {"--html", "--quiet", "--jobs", "--json"} & set(found.split())


# ---------------------------------------------------------------- the command


@pytest.fixture
def lab(repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab(repository({"train.py": "print('hello')\n"}), tmp_path / "elsewhere")
    monkeypatch.setattr("reprorun.engine.connect", lambda: lab.engine)
    monkeypatch.chdir(lab.elsewhere)
    return lab


def test_the_whole_command(lab: Lab, capsys: Capture) -> None:
    count = iter(range(9))

    def program(process: FakeProcess) -> int:
        process.write("n.csv", b"n\n%d\n" % next(count))
        return 0

    record = lab.record(program)
    reports = ("--json", "--html", "r.html", "--junit-xml", "r.xml", "--github")
    code = run(["check", "--no-blame", record, *reports])
    said = capsys.readouterr()
    assert code == 1
    found = json.loads(said.out)
    assert found["exit_code"] == 1
    assert found["records"][0]["verdict"] == "different"
    assert "::error " in said.err
    page = Path("r.html").read_text()
    assert 'class="divergence"' in page
    assert "reprorun compare" in page
    assert b"<failure" in Path("r.xml").read_bytes()


def test_nothing_is_run_for_a_report_that_cant_be_written(lab: Lab, capsys: Capture) -> None:
    def program(process: FakeProcess) -> int:
        pytest.fail("it was run")

    record = lab.record(lambda process: 0)
    lab.engine.programs["python"] = program
    assert run(["check", record, "--html", "nowhere/r.html"]) == 2
    assert "nowhere" in capsys.readouterr().err


# ---------------------------------------------------------------- how it goes


def test_a_line_when_a_records_turn_comes(capsys: Capture) -> None:
    reporter = Beginnings().of("a\x1b[2Jb")
    assert capsys.readouterr().err == ""
    reporter.step("code", "x")
    reporter.step("running", "y")
    assert capsys.readouterr().err == "checking  a\\x1b[2Jb\n"


def test_every_step_with_v(capsys: Capture) -> None:
    reporter = Steps().of("a")
    reporter.step("running", "python\x07")
    reporter.note("careful")
    assert capsys.readouterr().err == "a: running python\\x07\na: note careful\n"


def test_a_line_for_each_record_under_way() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=60, legacy_windows=False)
    screen = Screen(2, console)

    def shown() -> str:
        with console.capture() as capture:
            console.print(screen._lines())
        return click.unstyle(capture.get())

    try:
        one, other = screen.of("a\x1b[2J"), screen.of("b[bold]")
        assert "a" not in shown().replace("of 2 records", "")
        one.step("running", "python train.py")
        other.step("lock", "x")
        assert "a\\x1b[2J  running python train.py" in shown()
        assert "b[bold]  lock x" in shown()
        screen.done("a\x1b[2J")
        assert "train.py" not in shown()
        assert "1 of 2 records" in shown()
        with screen.paused():
            assert not screen._live.is_started
        assert screen._live.is_started
    finally:
        screen.close()
    assert not screen._live.is_started


def test_what_suits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_progress(flags(), 1), Beginnings)  # no terminal
    assert isinstance(make_progress(flags(verbose=True), 1), Steps)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    screen = make_progress(flags(), 1)
    screen.close()
    assert isinstance(screen, Screen)
    monkeypatch.setenv("CI", "true")
    assert isinstance(make_progress(flags(), 1), Beginnings)
