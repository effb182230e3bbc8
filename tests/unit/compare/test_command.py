"""`reprorun compare`: exit codes, what is printed, and the settings of a pyproject.toml."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reprorun.cli import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two directories with one output that differs, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, loss in (("a", "0.5"), ("b", "0.5001")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.csv").write_text(f"step,loss\n1,{loss}\n")
        (tmp_path / name / "same").write_text("x")
    return tmp_path


def settings(directory: Path, text: str) -> None:
    (directory / "pyproject.toml").write_text(f"[tool.reprorun.check]\n{text}\n")


def test_different(capsys: Capture) -> None:
    assert run(["compare", "a", "b"]) == 1
    out = capsys.readouterr().out
    assert "p.csv: 1 of 1 cell differs in column loss" in out
    assert "first at row 1, column loss: 0.5, now 0.5001 (relative error 0.0002)" in out
    assert "different: 2 outputs (1 identical, 1 different)" in out
    assert "same" not in out
    assert "\x1b" not in out


def test_the_same(capsys: Capture) -> None:
    assert run(["compare", "a", "a"]) == 0
    assert capsys.readouterr().out == "identical: 2 outputs (2 identical)\n"
    assert run(["compare", "a", "b", "--rtol", "1e-3"]) == 0
    assert run(["compare", "a", "b", "--atol", "1e-3"]) == 0
    assert run(["compare", "a", "b", "--atol", "1e-9"]) == 1


def test_quiet_and_verbose(capsys: Capture) -> None:
    assert run(["compare", "a", "b", "-q"]) == 1
    assert capsys.readouterr().out == ""
    run(["compare", "a", "b", "-v"])
    assert "identical         same" in capsys.readouterr().out


def test_json(capsys: Capture) -> None:
    assert run(["compare", "a", "b", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["counts"]) == ("different", {"identical": 1, "different": 1})
    first = found["findings"][0]["finding"]["divergence"]
    assert (first["where"], first["original"], first["now"]) == (
        "row 1, column loss",
        "0.5",
        "0.5001",
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rtol = 1e-3", 0),
        ("atol = 1", 0),
        ("rtol = 1e-9", 1),
        ('ignore = ["*.csv"]', 0),
        ('files."*.csv".rtol = 1e-3', 0),
        ('files."*.json".rtol = 1e-3', 1),
        ('files."p.csv".columns.loss.rtol = 1e-3', 0),
        ('files."p.csv".columns."l*".rtol = 1e-3', 0),
        ('files."p.csv".columns.step.rtol = 1e-3', 1),
        ('rtol = 1e-3\nfiles."*.csv".rtol = 0', 1),
    ],
)
def test_settings_of_the_project(text: str, code: int, here: Path) -> None:
    settings(here, text)
    assert run(["compare", "a", "b"]) == code


def test_flags_go_before_the_project(here: Path) -> None:
    settings(here, "rtol = 1e-3")
    assert run(["compare", "a", "b", "--rtol", "0"]) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rtol = -1", "no tolerance"),
        ("rtol = nan", "no tolerance"),
        ('atol = "1"', "no tolerance"),
        ("rtol = true", "no tolerance"),
        ("ignore = 1", "no list of names"),
        ("relative = 1", "no setting 'relative'"),
        ("files = 1", "no table"),
        ('files."*".column = {}', "no setting 'column'"),
        ('files."*".columns.loss = 1', "no table"),
    ],
)
def test_wrong_settings_are_named(text: str, said: str, here: Path, capsys: Capture) -> None:
    settings(here, text)
    assert run(["compare", "a", "b"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "pyproject.toml" in error
    assert len(error.splitlines()) <= 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["a"],
        ["a", "nowhere"],
        ["a", "a/p.csv"],
        ["a", "b", "--rtol", "-1"],
        ["a", "b", "--rtol", "x"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: Capture) -> None:
    assert run(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert error
    assert "Traceback" not in error


def test_what_comes_from_files_is_printed_so_that_no_terminal_obeys_it(
    here: Path, capsys: Capture
) -> None:
    for side, text in (("a", "x \x1b[31m 1"), ("b", "y \x1b[31m 2")):
        (here / side / "z\x1b[2J.txt").write_text(text)
    run(["compare", "a", "b"])
    assert "\x1b" not in capsys.readouterr().out


def test_the_table_of_checks_is_no_setting_of_a_run(here: Path) -> None:
    from reprorun.settings import resolve

    settings(here, "rtol = 1")
    assert "check" not in resolve({}, str(here))
