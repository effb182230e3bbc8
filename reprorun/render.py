"""Plan + template -> Dockerfile. The templates hold no decisions; this is the only jinja2 user."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from reprorun.errors import UsageError
from reprorun.model import DIGEST_LABEL, ENTRYPOINT, HOME, PREFIX, WORKSPACE, Plan

if TYPE_CHECKING:
    import jinja2

ENVIRONMENT_TEMPLATE = "environment.Dockerfile.j2"
RUN_TEMPLATE = "run.Dockerfile.j2"
STAGE = "environment"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")


def environment_dockerfile(plan: Plan) -> str:
    """The Dockerfile that the environment's image is built from."""
    return _environment(plan, base=plan.base.id, stage=None)


def run_dockerfile(plan: Plan) -> str:
    """The Dockerfile that the run's image is built from."""
    return _run(plan, environment=plan.environment_tag)


def whole_dockerfile(plan: Plan) -> str:
    """Both as one file, as the record keeps it: with names that mean something elsewhere too."""
    base = plan.base.repo_digest or plan.base.ref
    environment = _environment(plan, base=base, stage=STAGE)
    return f"{environment}\n{_run(plan, environment=STAGE)}"


def template_source(name: str) -> str:
    """A template as it stands, for digests."""
    with open(os.path.join(_directory(), name), encoding="utf-8") as file:
        return file.read()


def _environment(plan: Plan, *, base: str, stage: str | None) -> str:
    return _render(
        ENVIRONMENT_TEMPLATE,
        base=_reference(base),
        stage=stage,
        path=f"{PREFIX}/bin:{plan.base.path}",
        home=HOME,
        workspace=WORKSPACE,
        entrypoint=list(ENTRYPOINT),
        labels={"reprorun": plan.version, DIGEST_LABEL: plan.environment_digest},
    )


def _run(plan: Plan, *, environment: str) -> str:
    labels = {"reprorun": plan.version, DIGEST_LABEL: plan.run_digest}
    if plan.githash:
        labels["org.opencontainers.image.revision"] = plan.githash
    return _render(
        RUN_TEMPLATE,
        environment=_reference(environment),
        workspace=WORKSPACE,
        githash=plan.githash,
        labels=labels,
    )


def _render(name: str, **values: Any) -> str:
    return _templates().get_template(name).render(**values)


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_directory()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["dockerfile_string"] = dockerfile_string
    return environment


def _directory() -> str:
    """In the package when installed from a wheel, beside it in a checkout."""
    package = os.path.dirname(os.path.abspath(__file__))
    shipped = os.path.join(package, "templates")
    return shipped if os.path.isdir(shipped) else os.path.join(package, os.pardir, "templates")


def dockerfile_string(text: str) -> str:
    """`text` as one quoted word of a Dockerfile, with nothing in it that docker would expand.

    Raises:
        UsageError: it holds a line break or another control character; a Dockerfile has no way to
            write those.
    """
    if _CONTROL.search(text):
        raise UsageError(f"{text!r} holds a control character and can't stand in a Dockerfile.")
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def _reference(text: str) -> str:
    """An image reference stands unquoted in FROM: nothing else may pass."""
    if not _REFERENCE.fullmatch(text):
        raise UsageError(f"{text!r} is no image reference (such as python:3.12-slim).")
    return text
