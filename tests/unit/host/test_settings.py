"""Settings: flags over variables over `[tool.reprorun]`, each form of each value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reprorun import settings
from reprorun.cli.options import SETTINGS
from reprorun.errors import UsageError
from reprorun.model import Gpus, Limits


def project(directory: Path, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(text)
    return directory


def resolve(directory: Path, **flags: str | None) -> dict[str, Any]:
    return settings.resolve({k.replace("_", "-"): v for k, v in flags.items()}, str(directory))


def value(name: str, text: str, directory: Path) -> Any:
    found = settings.resolve({name: text}, str(directory))
    field = settings._field(name)
    return found[field] if field in found else getattr(found["limits"], field)


def test_nothing_set(tmp_path: Path) -> None:
    assert resolve(tmp_path) == {"limits": Limits()}


def test_the_command_line_offers_every_setting() -> None:
    assert tuple(SETTINGS) == settings.NAMES


@pytest.mark.parametrize("name", settings.NAMES)
def test_flag_over_variable_over_project(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = {
        "base-image": ("a:1", "b:1", "c:1"),
        "file": (f"{tmp_path}/a", "b", "c"),
        "lock": (f"{tmp_path}/a", "b", "c"),
        "python": ("3.9", "3.10", "3.11"),
        "platform": ("linux/arm64", "linux/amd64", "linux/arm64"),
        "as-of": ("2020-01-01", "2021-01-01", "2022-01-01"),
        "gpus": ("1", "2", "3"),
        "network": ("none", "bridge", "host"),
        "memory": ("1m", "2m", "3m"),
        "cpus": ("1", "2", "3"),
        "shm-size": ("1m", "2m", "3m"),
        "timeout": ("1", "2", "3"),
        "numerics": ("native", "portable", "native"),
    }[name]
    in_project, in_variable, as_flag = forms
    project(tmp_path, f'[tool.reprorun]\n{name} = "{in_project}"\n')

    def found() -> Any:
        all_found = resolve(tmp_path)
        field = settings._field(name)
        return all_found[field] if field in all_found else getattr(all_found["limits"], field)

    assert found() == value(name, in_project, tmp_path)
    monkeypatch.setenv(f"REPRORUN_{name.replace('-', '_').upper()}", in_variable)
    assert found() == value(name, in_variable, tmp_path)
    assert value(name, as_flag, tmp_path) != found()


def test_an_empty_variable_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRORUN_MEMORY", "")
    assert resolve(tmp_path)["limits"].memory is None


def test_the_nearest_project_that_says_anything(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    project(tmp_path, '[tool.reprorun]\nnetwork = "bridge"\n')
    inner = project(tmp_path / "a", "[tool.ruff]\nline-length = 100\n")
    assert resolve(inner / "b")["network"] == "bridge"
    nearer = project(tmp_path / "a/b", '[tool.reprorun]\ncpus = 1\nmemory = "1g"\n')
    assert "network" not in resolve(nearer)


def test_nothing_above_the_repository_counts(tmp_path: Path) -> None:
    project(tmp_path, '[tool.reprorun]\nnetwork = "bridge"\n')
    inner = tmp_path / "repository" / "inner"
    inner.mkdir(parents=True)
    assert "network" not in resolve(inner)  # outside git: the directory alone
    (tmp_path / "repository" / ".git").mkdir()
    assert "network" not in resolve(inner)
    project(tmp_path / "repository", '[tool.reprorun]\nnetwork = "bridge"\n')
    assert resolve(inner)["network"] == "bridge"


def test_an_empty_table_ends_the_search(tmp_path: Path) -> None:
    project(tmp_path, '[tool.reprorun]\nnetwork = "bridge"\n')
    assert "network" not in resolve(project(tmp_path / "a", "[tool.reprorun]\n"))


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("base-image", "registry.example:5000/a/b@sha256:1", "registry.example:5000/a/b@sha256:1"),
        ("platform", "aarch64", "linux/arm64"),
        ("platform", "linux/arm64/v8", "linux/arm64"),
        ("platform", "amd64", "linux/amd64"),
        ("python", "3.13", "3.13"),
        ("as-of", "commit", "commit"),
        ("as-of", "2024-02-29", "2024-02-29"),
        ("gpus", "all", Gpus(kind="all")),
        ("gpus", "none", Gpus(kind="none")),
        ("gpus", "0", Gpus(kind="none")),
        ("gpus", "2", Gpus(kind="count", count=2)),
        ("gpus", "device=0,2", Gpus(kind="device", devices=("0", "2"))),
        ("gpus", "device=GPU-1b", Gpus(kind="device", devices=("GPU-1b",))),
        ("network", "bridge", "bridge"),
        ("memory", "512", 512),
        ("memory", "512b", 512),
        ("memory", "1k", 1024),
        ("memory", "512m", 512 << 20),
        ("memory", "512MiB", 512 << 20),
        ("memory", "1.5g", 3 << 29),
        ("memory", " 2 GB ", 2 << 30),
        ("shm-size", "1t", 1 << 40),
        ("cpus", "2", 2.0),
        ("cpus", "0.5", 0.5),
        ("timeout", "90", 90.0),
        ("timeout", "1.5s", 1.5),
        ("timeout", "5m", 300.0),
        ("timeout", "2h", 7200.0),
        ("timeout", "1d", 86400.0),
    ],
)
def test_forms(name: str, text: str, wanted: Any, tmp_path: Path) -> None:
    assert value(name, text, tmp_path) == wanted


BAD = [
    *[("python", text) for text in ("", "3", "2.7", "3.12.1", "three", "3.x", "3.1\n")],
    *[("as-of", text) for text in ("", "yesterday", "2024-02-30", "31.3.2024", "Commit")],
    *[("gpus", text) for text in ("", "some", "-1", "1.5", "device=", "device=0,", "x=0", "=0")],
    *[("network", text) for text in ("", "None", "container:x", "br0")],
    *[("memory", text) for text in ("", "0", "0.5", "-1", "much", "1x", "1e3", "1 2", "9" * 400)],
    *[("shm-size", text) for text in ("0m", "g", "1kk")],
    *[("cpus", text) for text in ("", "0", "-1", "two", "nan", "inf", "1,5", "9" * 400)],
    *[("timeout", text) for text in ("", "0", "-3", "1w", "inf", "1h30m", "9" * 400)],
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_bad_flag_is_named(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        settings.resolve({name: text}, str(tmp_path))
    assert str(caught.value).startswith(f"--{name}: {text!r} is n")


def test_a_bad_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRORUN_SHM_SIZE", "big")
    with pytest.raises(UsageError, match=r"^REPRORUN_SHM_SIZE: 'big' is no size such as 512m"):
        resolve(tmp_path)


@pytest.mark.parametrize(
    "line",
    ["cpus = true", "gpus = [0, 1]", "memory = {a = 1}", "timeout = false", "python = 3.1"],
)
def test_a_bad_value_of_the_project_is_named(line: str, tmp_path: Path) -> None:
    project(tmp_path, f"[tool.reprorun]\n{line}\n")
    name = line.split()[0]
    with pytest.raises(UsageError) as caught:
        resolve(tmp_path)
    expected = f"{name} in [tool.reprorun] of {tmp_path / 'pyproject.toml'}: "
    assert str(caught.value).startswith(expected)


def test_a_python_version_must_be_quoted(tmp_path: Path) -> None:
    project(tmp_path, "[tool.reprorun]\npython = 3.10\n")  # TOML reads the number 3.1
    with pytest.raises(UsageError, match="put it in quotes"):
        resolve(tmp_path)


def test_values_of_toml_types(tmp_path: Path) -> None:
    lines = "memory = 1024\ncpus = 1.5\ngpus = 2\nas-of = 2024-03-31\ntimeout = 90\n"
    found = resolve(project(tmp_path, f"[tool.reprorun]\n{lines}"))
    assert found["as_of"] == "2024-03-31"
    assert found["gpus"].count == 2
    assert found["limits"] == Limits(memory=1024, cpus=1.5, timeout=90.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.reprorun]\nmemmory = 1\n", "has no setting 'memmory'. It knows base-image,"),
        ("[tool.reprorun]\nshm_size = 1\n", "has no setting 'shm_size'"),
        ("[tool]\nreprorun = 5\n", "is no table"),
        ("tool = 5\n", "is no table"),
        ("[tool.reprorun\n", "can't be read"),
    ],
)
def test_a_project_file_that_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    project(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        resolve(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "pyproject.toml") in str(caught.value)


# A repository that somebody else made must not take the container away.
_OURS_ALONE = [("engine", "local", "docker"), ("network", "host", "bridge")]


def _found(name: str, directory: Path, flag: str | None = None) -> Any:
    if name == "engine":
        return settings.engine_of(flag, str(directory))[0]
    return resolve(directory, **{name: flag})[name]


@pytest.mark.parametrize(("name", "text", "allowed"), _OURS_ALONE)
def test_what_a_project_may_not_ask_for(
    name: str, text: str, allowed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, f'[tool.reprorun]\n{name} = "{text}"\n')
    with pytest.raises(UsageError) as caught:
        _found(name, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name} in [tool.reprorun] of {tmp_path / 'pyproject.toml'}: ")
    assert f"--{name} {text} or REPRORUN_{name.upper()}={text}" in message
    assert _found(name, tmp_path, text) == text
    assert _found(name, tmp_path, allowed) == allowed
    monkeypatch.setenv(f"REPRORUN_{name.upper()}", text)
    assert _found(name, tmp_path) == text


@pytest.mark.parametrize(("name", "text", "allowed"), _OURS_ALONE)
def test_what_else_a_project_says_of_them_counts(
    name: str, text: str, allowed: str, tmp_path: Path
) -> None:
    project(tmp_path, f'[tool.reprorun]\n{name} = "{allowed}"\n')
    assert _found(name, tmp_path) == allowed


def test_a_project_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="can't be read"):
        resolve(tmp_path)
