"""Rendering: exact Dockerfiles, and nothing that breaks out of them."""

from __future__ import annotations

import re
from typing import Any

import jinja2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun import render
from reprorun.errors import UsageError
from reprorun.model import Plan

from . import values

ENVIRONMENT = f"""\
# The environment: the base image, the locked packages and the part of reprorun that runs inside.
# Nothing is run and nothing is downloaded to make this; the layers are those of requirements.lock.
FROM sha256:{"b" * 64}
# numpy 2.2.6
ADD layer-01.tar /
# the rest
ADD layer-02.tar /
ENV PATH="/opt/reprorun/bin:/usr/local/bin:/usr/bin" \\
    HOME="/home/reprorun" \\
    LANG="C.UTF-8" \\
    LC_ALL="C.UTF-8" \\
    TZ="UTC" \\
    PYTHONHASHSEED="0" \\
    PYTHONUNBUFFERED="1" \\
    PYTHONDONTWRITEBYTECODE="1" \\
    MPLBACKEND="Agg"
WORKDIR /workspace
ENTRYPOINT ["python", "-I", "-S", "/opt/reprorun/supervise.py"]
LABEL reprorun="1.2.3" \\
      reprorun.kind="environment" \\
      reprorun.digest="sha256:{"e" * 64}"
"""

RUN = f"""\
# The run: the launcher's repository as it was, at commit {values.COMMIT}.
FROM reprorun/environment:{"e" * 24}
ADD layer-01.tar /
LABEL reprorun="1.2.3" \\
      reprorun.kind="run" \\
      reprorun.digest="DIGEST" \\
      org.opencontainers.image.revision="{values.COMMIT}"
"""


def test_the_environments_dockerfile() -> None:
    assert render.environment_dockerfile(values.plan().environment) == ENVIRONMENT


def test_the_runs_dockerfile() -> None:
    plan = values.plan()
    assert render.run_dockerfile(plan) == RUN.replace("DIGEST", plan.run_digest)


def test_without_a_commit() -> None:
    text = render.run_dockerfile(values.plan(code=values.code(commit=None)))
    assert text.startswith("# The run: the launcher's repository as it was.\nFROM ")
    assert "revision" not in text


def test_both_as_one_file_with_names_that_last() -> None:
    plan = values.plan()
    whole = render.whole_dockerfile(plan)
    environment = ENVIRONMENT.replace(values.BASE.id, "python:3.11-slim AS environment")
    run = RUN.replace("DIGEST", plan.run_digest).replace(plan.environment.tag, "environment")
    run = run.replace("ADD layer-01.tar /", "ADD launch_archive.tar.xz /workspace/")
    assert whole == f"{environment}\n{run}"


def test_a_registrys_digest_is_preferred() -> None:
    base = msgspec.structs.replace(values.BASE, repo_digest="python@sha256:" + "1" * 64)
    assert f"FROM {base.repo_digest} AS environment\n" in render.whole_dockerfile(
        values.plan(base=base)
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", '"plain"'),
        ("", '""'),
        ('a"b', r'"a\"b"'),
        ("$HOME ${X}", r'"\$HOME \${X}"'),
        ("a\\b\\", r'"a\\b\\"'),
        ('\\"$', r'"\\\"\$"'),
        ("it's a b", '"it\'s a b"'),
        ("# `x` [y]", '"# `x` [y]"'),
        ("schön", '"schön"'),
    ],
)
def test_strings(text: str, wanted: str) -> None:
    assert render.dockerfile_string(text) == wanted


@pytest.mark.parametrize("text", ["a\nRUN x", "a\rb", "\0", "\x1b[2J", "\t", "\x7f"])
def test_strings_that_no_dockerfile_can_hold(text: str) -> None:
    with pytest.raises(UsageError, match="control character"):
        render.dockerfile_string(text)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_strings_read_back(text: str) -> None:
    quoted = render.dockerfile_string(text)
    assert re.fullmatch(r'"([^"\\$]|\\["\\$])*"', quoted)
    assert re.sub(r"\\(.)", r"\1", quoted[1:-1]) == text


def with_base(**fields: Any) -> Plan:
    return values.plan(base=msgspec.structs.replace(values.BASE, **fields))


@pytest.mark.parametrize(
    "ref", ["a", "a:1", "registry.example:5000/a/b-c_d:1.0", "a@sha256:" + "0" * 64]
)
def test_references(ref: str) -> None:
    assert f"FROM {ref} AS environment\n" in render.whole_dockerfile(with_base(ref=ref))


@pytest.mark.parametrize(
    "ref", ["", "a b", "a\nRUN x", "a\n", "-a", "--platform=x", "$A", "a AS b", "a#b", "é", '"a"']
)
def test_references_that_are_none(ref: str) -> None:
    with pytest.raises(UsageError, match="is no image reference"):
        render.whole_dockerfile(with_base(ref=ref))
    with pytest.raises(UsageError, match="is no image reference"):
        render.environment_dockerfile(with_base(id=ref).environment)


def test_the_base_images_own_path_is_quoted() -> None:
    text = render.environment_dockerfile(with_base(path='/a"b:$X:/c d').environment)
    assert r'ENV PATH="/opt/reprorun/bin:/a\"b:\$X:/c d" \ '.rstrip() in text
    with pytest.raises(UsageError):
        render.environment_dockerfile(with_base(path="/bin\nRUN reboot").environment)


def test_a_name_that_a_template_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render._render(render.RUN_TEMPLATE, workspace="/workspace", labels={}, githash=None)


def test_system_packages_come_first_and_are_named() -> None:
    text = render.whole_dockerfile(with_base(apt=("gcc", "libgl1=1.6.0-1")))
    before, _, after = text.partition("ADD layer-01.tar")
    assert "apt-get install -y --no-install-recommends gcc libgl1=1.6.0-1 &&" in before
    assert "apt-get" not in after
    # the image that is named by its id has them already
    assert "apt-get" not in render.environment_dockerfile(with_base(apt=("gcc",)).environment)


@pytest.mark.parametrize("name", ["", "-y", "a b", "a;reboot", "$(x)", "A", "a\nb", "./x.deb"])
def test_system_packages_that_are_none(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a Debian package"):
        render.system_dockerfile("base:1", (name,), {})


def test_titles_stay_within_their_line() -> None:
    plan = msgspec.structs.replace(values.plan().environment, layers=("x 1\nRUN reboot",))
    assert "# x 1 RUN reboot\n" in render.environment_dockerfile(plan)
