"""The command line: what is printed, and every error's exit code."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import reprorun
from reprorun import errors, files, record_index, store
from reprorun.cli import COMMANDS, run
from reprorun.cli.records import _HEADER
from reprorun.engine.fake import FakeEngine
from reprorun.model import (
    Archive,
    EngineUsed,
    Gpu,
    GpusSeen,
    Hardware,
    InputFile,
    LeftOut,
    Limits,
    Output,
)

from ...kit import FAKE_BASE
from ..conftest import MakeRepository
from . import values

Capture = pytest.CaptureFixture[str]
EVIL = "\x1b[2J\x1b]0;owned\x07\u202e"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def is_plain(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


# ---------------------------------------------------------------- finding the command


def test_help(capsys: Capture) -> None:
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    assert run(["-h"]) == 0
    assert capsys.readouterr().out == said
    for name in COMMANDS:
        assert f"  {name} " in said
    assert max(map(len, said.splitlines())) <= 80


def test_without_a_command(capsys: Capture) -> None:
    assert run([]) == 2
    assert "Usage: reprorun COMMAND" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"reprorun {reprorun.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name: str, capsys: Capture) -> None:
    assert run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: reprorun {name} ")
    assert run([name, "-h"]) == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exce", "there is no command 'exce'. Did you mean exec? `reprorun --help` lists them."),
        ("xyzzy", "there is no command 'xyzzy'. `reprorun --help` lists them."),
        (EVIL, "there is no command '\\x1b[2J"),
        ("--quiet", "there is no command '--quiet'"),
    ],
)
def test_an_unknown_command(name: str, said: str, capsys: Capture) -> None:
    assert run([name]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"reprorun: error: {said}")
    assert captured.out == ""
    assert is_plain(captured.err)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from reprorun.cli import run; run(['--help']);"
        "print(sorted({'click', 'docker', 'rich', 'jinja2', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


# ---------------------------------------------------------------- errors and exit codes


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(directory: str) -> Iterator[str]:
        raise error

    monkeypatch.setattr(record_index, "list_records", fail)


ALL_ERRORS = [
    (errors.ReprorunError, 1),
    (errors.UsageError, 2),
    (errors.RecordError, 2),
    (errors.EngineError, 125),
    (errors.EngineUnavailable, 125),
    (errors.FilesUnseen, 125),
    (errors.ContainerMissing, 125),
    (errors.ImageMissing, 125),
    (errors.BuildFailed, 125),
    (errors.LockFailed, 125),
]


@pytest.mark.parametrize(("kind", "code"), ALL_ERRORS)
def test_each_error_has_its_exit_code(
    kind: type[errors.ReprorunError], code: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, kind(f"it is \x1b[31mred\nTry {EVIL}"))
    assert run(["ls", "."]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reprorun: error: it is \\x1b[31mred\nTry \\x1b[2J")
    assert is_plain(captured.err)


def test_no_error_is_missing_from_that_table() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert set(kinds) == {kind for kind, _ in ALL_ERRORS}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupted(
    error: BaseException, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    assert run(["ls", "."]) == 130
    assert capsys.readouterr().err == "reprorun: interrupted\n"


def test_an_error_of_the_system_is_no_traceback(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, PermissionError(13, "Permission denied", "/x"))
    assert run(["ls", "."]) == 125  # not 1, which says that something differs
    assert capsys.readouterr().err == "reprorun: error: /x: Permission denied\n"


def test_a_cache_that_can_not_be_written_is_named(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.cache_directory("wheels")
    failing(monkeypatch, OSError(errno.EROFS, "Read-only file system", path))
    assert run(["ls", "."]) == 125
    assert "name another place in XDG_CACHE_HOME" in capsys.readouterr().err
    failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device", path))
    assert run(["ls", "."]) == 125
    assert "is full. Free some space, or name another in XDG_CACHE_HOME" in capsys.readouterr().err


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run(["ls", "."])


def test_a_traceback_only_when_it_is_asked_for(capsys: Capture) -> None:
    assert run(["exec", "missing.py"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert run(["exec", "-v", "missing.py"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "there is no script 'missing.py'" in said.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"], ["ls", "."]])
def test_a_reader_that_has_gone(arguments: list[str]) -> None:
    for number in range(3):
        values.keep(Path(f"{number}"), values.raw())
    program = "import sys; from reprorun.cli import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments]
    reading, writing = os.pipe()
    os.close(reading)
    env = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, env=env)
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == ""


# ---------------------------------------------------------------- exec


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'SCRIPT'"),
        (["--nonsense", "train.py"], "No such option"),
        (["--gpus"], "requires an argument"),
        (["missing.py"], "there is no script 'missing.py'"),
        (["--memory", "much", "train.py"], "--memory: 'much' is no size"),
        (["--gpus", "some", "train.py"], "--gpus: 'some' is none of"),
        (["--force-cpu", "--gpus", "all", "train.py"], "contradict each other"),
        (["-P", "lr", "train.py"], "-P lr: give it as KEY=VALUE"),
        (["-P", "x=True", "train.py"], "values are JSON; write true"),
        (["-e", "NOT_THERE_AT_ALL", "train.py"], "the host has no variable"),
        (["--input", "nowhere", "train.py"], "--input nowhere: there is no such file"),
        (["--name", "a/b", "--dry-run", "train.py"], "--name 'a/b' can't be"),
        ([EVIL], "there is no script '\\x1b[2J"),
    ],
)
def test_wrong_usage_of_exec(
    arguments: list[str], said: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("train.py").write_text("")
    monkeypatch.setattr("reprorun.engine.connect", no_engine)
    assert run(["exec", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert is_plain(captured.err)
    assert not Path("data").exists()


def no_engine() -> Any:
    raise errors.EngineUnavailable("no Docker Engine answers at /x. Start it.")


def test_without_an_engine(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("train.py").write_text("")
    monkeypatch.setattr("reprorun.engine.connect", no_engine)
    assert run(["exec", "train.py"]) == 125
    assert "reprorun: error: no Docker Engine answers at /x. Start it.\n" in capsys.readouterr().err
    assert not Path("data").exists()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine(images={"base:1": FAKE_BASE})
    monkeypatch.setattr("reprorun.engine.connect", lambda: made)
    monkeypatch.setenv("REPRORUN_BASE_IMAGE", "base:1")
    return made


def test_a_dry_run(
    engine: FakeEngine, repository: MakeRepository, capsys: Capture, monkeypatch: Any
) -> None:
    monkeypatch.chdir(repository({"a b.py": ""}))
    given = ["--dry-run", "-e", "HF_TOKEN=hunter2", "--memory", "1g", "a b.py", "--lr", "$x"]
    assert run(["exec", *given]) == 0
    out = capsys.readouterr().out
    assert "FROM base:1 AS environment\n" in out
    assert "docker run --rm" in out
    assert out.endswith("IMAGE python 'a b.py' --lr '$x'\n")
    assert "--env HF_TOKEN " in out
    assert "hunter2" not in out
    assert engine.builds == []
    assert not Path("data").exists()


def test_a_dry_run_as_json(
    engine: FakeEngine, repository: MakeRepository, capsys: Capture, monkeypatch: Any
) -> None:
    monkeypatch.chdir(repository({"train.py": ""}))
    assert run(["exec", "--dry-run", "--json", "-e", "HF_TOKEN=hunter2", "train.py"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["container"]["command"] == ["python", "train.py"]
    assert found["dockerfile"].startswith("# The environment")
    assert "hunter2" not in captured.out


def test_options_behind_the_script_are_the_scripts(
    engine: FakeEngine, repository: MakeRepository, capsys: Capture, monkeypatch: Any
) -> None:
    monkeypatch.chdir(repository({"train.py": ""}))
    assert run(["exec", "--dry-run", "train.py", "--json", "-q", "--", "-h"]) == 0
    assert capsys.readouterr().out.endswith("IMAGE python train.py --json -q -- -h\n")


# ---------------------------------------------------------------- ls


def test_ls_without_records(capsys: Capture) -> None:
    assert run(["ls"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "reprorun: no records yet: there is no data/local here.\n"
    assert run(["ls", "nowhere"]) == 2


def test_ls(capsys: Capture) -> None:
    later = values.raw(created="2024-04-01T00:00:00+00:00", githash=values.COMMIT + "-dirty",
                       status="failed", exit_code=3, seconds=61.0)  # fmt: skip
    values.keep(Path("data/local/a/first"), later)
    values.keep(Path("data/local/b/second"), values.raw())
    assert run(["ls"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == [word for column in _HEADER for word in column.split()]
    assert rows[0].split() == [
        *("data/local/b/second", "finished", "0", "2024-03-31", "12:34:56", "-"),
        *("train.py", "--lr", "0.1"),
    ]
    assert "01234567-dirty" in rows[1]
    assert "1 min 01 s" in rows[1]


def test_ls_as_json(capsys: Capture) -> None:
    values.keep(Path("runs/a"), values.raw(params={"a": 1}))
    assert run(["ls", "--json", "runs"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["path"] == "runs/a"
    assert found["params"] == {"a": 1}
    assert run(["ls", "--json", "runs/a"]) == 0


def test_ls_names_damaged_records_and_lists_the_others(capsys: Capture) -> None:
    values.keep(Path("runs/good"), values.raw())
    values.keep(Path(f"runs/bad{EVIL}"), "{")
    values.keep(Path("runs/new"), {"reprorun": {"schema": 99}})
    assert run(["ls", "runs"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert "runs/good" in captured.out
    assert len(captured.err.splitlines()) == 2
    assert "can't be read" in captured.err
    assert "has schema 99" in captured.err
    assert is_plain(captured.out + captured.err)


HOSTILE = {
    "id": EVIL,
    "created": EVIL,
    "argv": [EVIL, "\udcff"],
    "cwd": EVIL,
    "githash": EVIL,
    "launcher": EVIL,
    "reason": EVIL,
    "params": {EVIL: EVIL},
    "environment": {EVIL: EVIL},
    "environment_digest": EVIL,
    "requirements": EVIL,
    "engine": {"name": EVIL, "version": EVIL, "api_version": EVIL},
    "host": {"cpu_model": EVIL, "system": EVIL, "gpus": [EVIL], "memory": 10**400},
    "inputs": [{"path": EVIL, "target": EVIL, "size": 10**400, "sha256": EVIL}],
    "outputs": [{"path": EVIL, "size": -1, "sha256": EVIL}],
    "left_out": [{"path": EVIL, "reason": EVIL, "size": 0}],
    "not_kept": [{"path": EVIL, "reason": EVIL}],
    "notes": [EVIL + "\nreprorun: all is well"],
    "exit_code": 10**400,
    "peak_memory": 10**400,
    "archive": {"sha256": EVIL, "size": 10**400, "files": -1},
    "limits": {"memory": 10**400, "cpus": 1e300},
}


@pytest.mark.parametrize("seconds", ["1e999", "-1e999", "-5", "1e300"])
def test_a_hostile_record_can_be_looked_at(seconds: str, capsys: Capture) -> None:
    text = json.dumps({**values.raw(), **HOSTILE, "seconds": 0.5})
    values.keep(Path("runs/a"), text.replace('"seconds": 0.5', f'"seconds": {seconds}'))
    for arguments in (["ls", "runs"], ["show", "runs/a"], ["show", "--json", "runs/a"]):
        assert run(arguments) == 0
        captured = capsys.readouterr()
        assert captured.out
        assert is_plain(captured.out), arguments
        assert captured.err == ""


# ---------------------------------------------------------------- show


def test_show(capsys: Capture) -> None:
    record = values.record(
        cwd="sub",
        params={"lr": 0.1},
        environment={"A": "1", "HF_TOKEN": "<redacted>"},
        githash=values.COMMIT,
        launcher="sub/train.py",
        archive=Archive(sha256="a" * 64, size=2048, files=3),
        left_out=(LeftOut(path="big.bin", reason="8 MiB or more", size=9 << 20, sha256="b" * 64),),
        inputs=(InputFile(path="/data/x", target="/data/x", size=1 << 30, sha256="c" * 64),),
        requirements="requirements.txt",
        environment_digest="sha256:" + "d" * 64,
        base_image=values.BASE,
        engine=EngineUsed(name="docker", version="20.10", api_version="1.41"),
        runtime="gpu",
        limits=Limits(memory=1 << 30, cpus=1.5),
        host=Hardware(cpu_model="Chip", cpu_count=8, memory=16 << 30, gpus=("Card",), system="L"),
        gpus_seen=GpusSeen(gpus=(Gpu(name="T4", memory=15 << 30),), driver="550.1", cuda="12.4"),
        seconds=3.2,
        peak_memory=5 << 20,
        outputs=tuple(Output(path=f"o{n}", size=1, sha256="e" * 64) for n in range(33)),
        not_kept=(LeftOut(path="outputs/link", reason="not a regular file"),),
        notes=("a note",),
    )
    store.write_record(".", record)
    Path("console.log").write_text("hello\n")
    assert run(["show", "."]) == 0
    said = capsys.readouterr().out
    for line in (
        "id           abc",
        "status       finished in 3.2 s, exit code 0",
        "command      train.py --lr 0.1  (in sub)",
        'parameters   {"lr": 0.1}',
        "variables    A=1 HF_TOKEN=<redacted>",
        f"code         commit {values.COMMIT}, launcher sub/train.py, 3 files archived in 2.0 KiB",
        "input        /data/x, 1.0 GiB, sha256 cccccccccccc",
        "environment  Python 3.11.2 of python:3.11-slim, packages of requirements.txt "
        "(sha256:dddddddddddd)",
        "container    docker 20.10, GPU runtime, network none, memory 1.0 GiB, 1.5 processors",
        "machine      Chip, 8 processors, 16.0 GiB, Card, L",
        "gpus seen    T4 (15.0 GiB), driver 550.1, CUDA 12.4",
        "created      2024-03-31 12:34:56 UTC",
        "peak memory  5.0 MiB in its largest process",
        "  console.log                     6 B  what it printed",
        "  Dockerfile                  missing  as rendered",
        "  o0                              1 B  sha256 eeeeeeeeeeee",
        "  and 3 more; see run.json",
        "  big.bin, 9.0 MiB: 8 MiB or more",
        "  outputs/link: not a regular file",
        "  a note",
    ):
        assert line in said.splitlines(), line


def test_show_the_least(capsys: Capture) -> None:
    mark = {"schema": 1}
    least = {"reprorun": mark, "id": "x", "status": "created", "created": "", "argv": []}
    values.keep(Path("a"), least)
    assert run(["show", "a"]) == 0
    assert "status       created\n" in capsys.readouterr().out


def test_show_as_json_keeps_what_a_newer_version_wrote(capsys: Capture) -> None:
    data = values.raw(later={"a": [1]}, reprorun={"schema": 99})
    values.keep(Path("a"), data)
    assert run(["show", "--json", "a"]) == 0
    assert json.loads(capsys.readouterr().out) == data
    assert run(["show", "a"]) == 2
    assert "Install a newer reprorun" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "why"), [("nowhere", "run.json"), ("file", "is no pack"), (EVIL, "run.json")]
)
def test_show_what_is_no_record(path: str, why: str, capsys: Capture) -> None:
    Path("file").write_text("")
    assert run(["show", path]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("reprorun: error: ")
    assert why in captured.err
    assert is_plain(captured.err)


# ---------------------------------------------------------------- doctor


def test_doctor_without_an_engine(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reprorun.engine.connect", no_engine)
    assert run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "MISSING  engine         no Docker Engine answers at /x\n" in said
    assert "-> Start it.\n" in said
    assert "ok       python " in said


def test_doctor_with_all_that_is_needed(
    engine: FakeEngine, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "ok       engine         fake 1 (API 1.0)" in said
    assert "ok       base image     base:1 is on the engine\n" in said
    monkeypatch.setenv("REPRORUN_BASE_IMAGE", "other:1")
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "note     base image     other:1 is not on the engine" in said
    assert "REPRORUN_BASE_IMAGE" in said


def test_doctor_as_json(engine: FakeEngine, capsys: Capture) -> None:
    assert run(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert {"python", "git", "uv", "cache", "disk here", "engine", "gpu", "base image"} <= {
        check["name"] for check in checks
    }
    assert all(check["mend"] for check in checks if check["state"] != "good")


def test_doctor_without_git_uv_or_a_cache(
    engine: FakeEngine, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_uv() -> str:
        raise FileNotFoundError("/nowhere/uv")

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("uv.find_uv_bin", no_uv)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert run(["doctor"]) == 1
    said = capsys.readouterr().out
    for name in ("git", "uv", "cache"):
        assert f"MISSING  {name:<14} " in said
    assert said.count("->") >= 3
