"""The record's Dockerfile: rendered once for an image, and never that of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun import files, render
from reprorun.model import Plan
from reprorun.workflow.dockerfile import SHELF, dockerfile_of

from . import values


@pytest.fixture
def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that were rendered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found: list[Plan] = []
    whole = render.whole_dockerfile

    def noted(plan: Plan) -> str:
        found.append(plan)
        return whole(plan)

    monkeypatch.setattr(render, "whole_dockerfile", noted)
    return found


def changed(**fields: Any) -> Plan:
    return msgspec.structs.replace(values.plan(), **fields)


def based(**fields: Any) -> Plan:
    plan = values.plan()
    base = msgspec.structs.replace(plan.environment.base, **fields)
    return changed(environment=msgspec.structs.replace(plan.environment, base=base))


def test_it_is_rendered_once(rendered: list[Plan]) -> None:
    plan = values.plan()
    assert dockerfile_of(plan) == dockerfile_of(plan) == render.whole_dockerfile(plan)
    assert len(rendered) == 1 + 1


@pytest.mark.parametrize(
    "other",
    [
        changed(githash="f" * 40),
        changed(githash=None),
        changed(run_digest="sha256:other"),
        based(ref="python:3.12-slim", repo_digest=None),
        based(repo_digest=f"python@sha256:{'9' * 64}"),
        based(apt=("gcc",)),
        based(path="/elsewhere/bin"),
    ],
)
def test_another_plan_has_its_own(rendered: list[Plan], other: Plan) -> None:
    dockerfile_of(values.plan())
    assert dockerfile_of(other) == render.whole_dockerfile(other)
    assert dockerfile_of(other) != dockerfile_of(values.plan())


def test_other_templates_make_another(
    rendered: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    dockerfile_of(values.plan())
    monkeypatch.setattr(render, "dockerfile_recipe", lambda: b"other")
    dockerfile_of(values.plan())
    assert len(rendered) == 2


def test_one_that_was_damaged_is_rendered_again(rendered: list[Plan]) -> None:
    text = dockerfile_of(values.plan())
    (path,) = Path(files.cache_directory(SHELF)).iterdir()
    path.write_text(path.read_text().replace("FROM", "FRON"))
    assert dockerfile_of(values.plan()) == text
    assert len(rendered) == 2
