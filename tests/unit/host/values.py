"""Values that tests share: small, complete, and changed by keyword."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reprorun import store
from reprorun.model import BaseImage, Code, EngineInfo, Plan, Record, RunSpec, SchemaMark
from reprorun.plan import Facts, make_plan, plan_environment

BASE = BaseImage(
    ref="python:3.11-slim",
    id="sha256:" + "b" * 64,
    digest="sha256:" + "d" * 64,
    python="3.11.2",
    executable="/usr/bin/python3.11",
    machine="x86_64",
    libc="glibc 2.36",
    path="/usr/local/bin:/usr/bin",
)
ENGINE = EngineInfo(name="fake", version="1", api_version="1.0")
ANSWER = {
    "python": "3.11.2",
    "executable": "/usr/bin/python3.11",
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "path": "/usr/bin:/bin",
}
"""What a base image says of itself when it is asked."""

LAYERS = ("numpy 2.2.6", "the rest")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def code(root: Path | str = "/project", **fields: Any) -> Code:
    """A clean repository with one script."""
    given = {"launcher": "train.py", "workdir": ".", "in_git": True, "commit": COMMIT}
    return Code(root=str(root), **{**given, **fields})


def facts(**fields: Any) -> Facts:
    """What was found for that repository."""
    given: dict[str, Any] = {
        "code": code(),
        "inputs": (),
        "engine": ENGINE,
        "uid": 1000,
        "gid": 1001,
        "log_dir": "/project/data/local/experiment/train",
        "run_id": "abc",
        "version": "1.2.3",
    }
    return Facts(**{**given, **fields})


def spec(script: str = "train.py", **fields: Any) -> RunSpec:
    """What the user asked for."""
    return RunSpec(script=script, cwd="/project", **fields)


def plan(asked: RunSpec | None = None, **fields: Any) -> Plan:
    """The plan of both."""
    environment = plan_environment("1.2.3", fields.pop("base", BASE), "e" * 64, LAYERS)
    return make_plan(asked or spec(), facts(**fields), environment, "a" * 64)


def record(**fields: Any) -> Record:
    """A finished run."""
    given: dict[str, Any] = {
        "reprorun": SchemaMark(version="1.2.3"),
        "id": "abc",
        "status": "finished",
        "created": "2024-03-31T12:34:56.000001+00:00",
        "argv": ("train.py", "--lr", "0.1"),
        "exit_code": 0,
    }
    return Record(**{**given, **fields})


def raw(**fields: Any) -> dict[str, Any]:
    """The least that a run.json holds, and more."""
    return {**json.loads(store.record_text(record())), **fields}


def keep(directory: Path, data: Any) -> Path:
    """Writes a run.json, whatever it holds."""
    directory.mkdir(parents=True, exist_ok=True)
    text = data if isinstance(data, str) else json.dumps(data)
    (directory / store.RUN_FILE).write_text(text)
    return directory
