"""--engine, REPRORUN_ENGINE and the project: which engine a command talks to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reprorun import engine, launch_sweep
from reprorun.cli.engines import chosen_engine, is_local
from reprorun.errors import UsageError
from reprorun.launch_sweep import SweepResult, sweep


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the engine is asked to be."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(engine, "connect", lambda *kind: calls.append(kind))
    return calls


def test_whatever_answers_where_nothing_is_named(tmp_path: Path, asked: list[Any]) -> None:
    chosen_engine(None, str(tmp_path))()
    assert asked == [()]


def test_flag_over_variable_over_project(
    tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.reprorun]\nengine = "podman"\n')
    chosen_engine(None, str(tmp_path))()
    monkeypatch.setenv("REPRORUN_ENGINE", "docker")
    chosen_engine(None, str(tmp_path))()
    chosen_engine("podman", str(tmp_path))()
    assert asked == [("podman",), ("docker",), ("podman",)]


def test_local_is_for_exec_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_local("local", str(tmp_path))
    assert not is_local(None, str(tmp_path))
    monkeypatch.setenv("REPRORUN_ENGINE", "local")
    with pytest.raises(UsageError, match="REPRORUN_ENGINE: local runs no containers"):
        chosen_engine(None, str(tmp_path))


def test_no_project_takes_the_container_away(tmp_path: Path, asked: list[Any]) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.reprorun]\nengine = "local"\n')
    for choose in (is_local, chosen_engine):
        with pytest.raises(UsageError, match="--engine local or REPRORUN_ENGINE=local"):
            choose(None, str(tmp_path))
    assert is_local("local", str(tmp_path))
    chosen_engine("podman", str(tmp_path))()
    assert asked == [("podman",)]


def test_a_sweep_from_python_goes_by_the_project(
    tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("")
    (tmp_path / "pyproject.toml").write_text('[tool.reprorun]\nengine = "podman"\n')
    result = SweepResult("x", (), True)
    monkeypatch.setattr(launch_sweep, "_result", lambda swept: result)
    monkeypatch.setattr(launch_sweep, "_run", lambda request, connect, *_: connect())
    assert sweep(tmp_path / "train.py", grid={"a": [1]}) is result
    sweep(tmp_path / "train.py", grid={"a": [1]}, engine="docker")
    monkeypatch.setenv("REPRORUN_ENGINE", "docker")
    sweep(tmp_path / "train.py", grid={"a": [1]})
    assert asked == [("podman",), ("docker",), ("docker",)]
    with pytest.raises(UsageError, match="local runs no containers"):
        sweep(tmp_path / "train.py", grid={"a": [1]}, engine="local")


@pytest.mark.parametrize("name", ["rkt", "Docker", " podman"])
def test_an_engine_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="none of docker, podman, local"):
        chosen_engine(name, str(tmp_path))
    with pytest.raises(UsageError, match="--engine"):
        is_local(name, str(tmp_path))
