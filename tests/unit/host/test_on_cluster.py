"""`--on ray` and engines: one that is named is refused, since nobody on a cluster goes by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reprorun.cli import run
from reprorun.cli.clusters import on_cluster
from reprorun.errors import UsageError

RAY = {"place": "ray", "engine": None, "address": None, "registry": None}
HERE = {**RAY, "place": "here"}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPRORUN_ENGINE", raising=False)


def project(place: Path, engine: str) -> None:
    place.mkdir(exist_ok=True)
    (place / "pyproject.toml").write_text(f'[tool.reprorun]\nengine = "{engine}"\n')


def test_no_engine_is_named() -> None:
    assert on_cluster(RAY)
    assert on_cluster({**RAY, "script": "train.py"})
    assert not on_cluster(HERE)


@pytest.mark.parametrize("name", ["docker", "podman", "local"])
def test_a_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRORUN_ENGINE", name)
    with pytest.raises(UsageError, match=f"REPRORUN_ENGINE asks for {name}.*\n.*DOCKER_HOST"):
        on_cluster(RAY)
    assert not on_cluster(HERE)


def test_the_project_of_the_working_directory(tmp_path: Path) -> None:
    project(tmp_path, "podman")
    with pytest.raises(UsageError, match=r"engine in \[tool.reprorun\] of .* asks for podman"):
        on_cluster(RAY)


def test_the_project_of_the_script_counts_for_a_sweep(tmp_path: Path) -> None:
    project(tmp_path / "lab", "podman")
    assert on_cluster(RAY)
    with pytest.raises(UsageError, match=r"lab/pyproject\.toml asks for podman"):
        on_cluster({**RAY, "script": "lab/train.py"})


@pytest.mark.parametrize("words", [("sweep", "train.py", "--grid", "a=1"), ("check", "r")])
def test_both_commands_refuse_it(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Path("train.py").write_text("")
    Path("r").mkdir()
    Path("r/run.json").write_text("{}")
    monkeypatch.setenv("REPRORUN_ENGINE", "podman")
    assert run([*words, "--on", "ray"]) == 2
    assert "REPRORUN_ENGINE asks for podman" in capsys.readouterr().err
