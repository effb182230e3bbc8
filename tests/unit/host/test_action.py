"""action.yml: its script, as GitHub runs it, with a stand-in for reprorun."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from reprorun.cli.check import check_command

ACTION = Path(__file__).parents[3] / "action.yml"
STAND_IN = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps(sys.argv[1:]))
sys.exit(int(os.environ["CODE"]))
"""


@pytest.fixture(scope="module")
def action() -> Any:
    return yaml.safe_load(ACTION.read_text())


def check_step(action: Any) -> Any:
    (step,) = [step for step in action["runs"]["steps"] if step.get("id") == "check"]
    return step


def run(action: Any, place: Path, *, code: int = 0, **inputs: str) -> tuple[int, list[str]]:
    """Runs the step: its exit code and the words that reprorun got."""
    program = place / "bin" / "reprorun"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    step = check_step(action)
    given = {name: spec.get("default", "") for name, spec in action["inputs"].items()} | inputs
    env = {
        name: given[str(value).removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, value in step["env"].items()
    }
    done: subprocess.CompletedProcess[str] = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=place,
        env={
            **env,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(place / "temp"),
            "GITHUB_OUTPUT": str(place / "output"),
            "CODE": str(code),
        },
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.returncode, json.loads(done.stdout)


def outputs(place: Path) -> dict[str, str]:
    lines = (place / "output").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_what_it_runs(action: Any, tmp_path: Path) -> None:
    for name in ("a.rrpack", "b.rrpack"):
        (tmp_path / name).touch()
    code, words = run(action, tmp_path, records="runs/x\n*.rrpack", args="--rtol 1e-6 --no-blame")
    assert code == 0
    with check_command.make_context("reprorun check", words[1:]) as context:
        given = context.params
    assert words[0] == "check"
    assert given["records"] == ("runs/x", "a.rrpack", "b.rrpack")
    assert (given["rtol"], given["github"]) == (1e-6, True)
    assert outputs(tmp_path) == {"html": given["html"], "junit-xml": given["junit_xml"]}
    assert (tmp_path / "temp" / "reprorun-reports").is_dir()


def test_a_difference_fails_the_step_and_the_reports_are_named(action: Any, tmp_path: Path) -> None:
    code, _ = run(action, tmp_path, code=1, records="runs")
    assert code == 1
    assert set(outputs(tmp_path)) == set(action["outputs"]) == {"html", "junit-xml"}


def test_inputs_are_no_part_of_the_script(action: Any, tmp_path: Path) -> None:
    """GitHub puts `${{ }}` into the script as it stands."""
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    _, words = run(action, tmp_path, records="a;touch${IFS}owned `touch owned` $(touch owned)")
    assert not (tmp_path / "owned").exists()
    assert "a;touch${IFS}owned" in words
