"""Values + template -> Dockerfile or page. Templates decide nothing; nothing else uses jinja2."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from reprorun.errors import UsageError
from reprorun.files import layer_file
from reprorun.model import (
    DIGEST_LABEL,
    ENTRYPOINT,
    ENVIRONMENT,
    KIND_LABEL,
    PREFIX,
    REVISION_LABEL,
    WORKSPACE,
    EnvironmentPlan,
    Plan,
)

if TYPE_CHECKING:
    import jinja2

ENVIRONMENT_TEMPLATE = "environment.Dockerfile.j2"
SYSTEM_TEMPLATE = "system.Dockerfile.j2"
RUN_TEMPLATE = "run.Dockerfile.j2"
REPORT_TEMPLATE = "report.html.j2"
SWEEP_TEMPLATE = "sweep.html.j2"
REPORT_STYLE = "report.css"
STAGE = "environment"

SYSTEM_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")


def environment_dockerfile(environment: EnvironmentPlan) -> str:
    """The Dockerfile of an environment's image."""
    return _environment(environment, base=environment.base.id, stage=None)


def system_dockerfile(base: str, packages: tuple[str, ...], labels: dict[str, str]) -> str:
    """The Dockerfile of a base image with system packages added."""
    return _render(
        SYSTEM_TEMPLATE,
        base=_reference(base),
        packages=[_system_package(name) for name in packages],
        labels=labels,
    )


def run_dockerfile(plan: Plan) -> str:
    """The Dockerfile of the run's image."""
    return _run(plan, environment=plan.environment.tag, code=layer_file(1), target="/")


def whole_dockerfile(plan: Plan) -> str:
    """Both as one file, as the record keeps it: with names that mean something elsewhere too."""
    base = plan.environment.base
    environment = _environment(plan.environment, base=base.repo_digest or base.ref, stage=STAGE)
    run = _run(plan, environment=STAGE, code="launch_archive.tar.xz", target=f"{WORKSPACE}/")
    return f"{environment}\n{run}"


def dockerfile_recipe() -> bytes:
    """What decides how they are rendered: the templates, and this file."""
    paths = [os.path.join(_directory(), name) for name in (ENVIRONMENT_TEMPLATE, RUN_TEMPLATE)]
    found = []
    for path in (*paths, __file__):
        with open(path, "rb") as file:
            found.append(file.read())
    return b"\0".join(found)


def _environment(plan: EnvironmentPlan, *, base: str, stage: str | None) -> str:
    return _render(
        ENVIRONMENT_TEMPLATE,
        base=_reference(base),
        stage=stage,
        # the image that is named by its id has them already
        apt=[_system_package(name) for name in plan.base.apt] if stage else [],
        layers=[(layer_file(n), _comment(t)) for n, t in enumerate(plan.layers, 1)],
        environment=environment_variables(plan),
        workspace=WORKSPACE,
        entrypoint=list(ENTRYPOINT),
        labels=environment_labels(plan),
    )


def _run(plan: Plan, *, environment: str, code: str, target: str) -> str:
    return _render(
        RUN_TEMPLATE,
        environment=_reference(environment),
        code=code,
        target=target,
        githash=plan.githash,
        labels=run_labels(plan),
    )


def environment_variables(plan: EnvironmentPlan) -> dict[str, str]:
    """The variables that the environment's image sets."""
    return {"PATH": f"{PREFIX}/bin:{plan.base.path}", **ENVIRONMENT}


def environment_labels(plan: EnvironmentPlan) -> dict[str, str]:
    """The labels of the environment's image."""
    return {
        "reprorun": plan.version,
        KIND_LABEL: "environment",
        DIGEST_LABEL: plan.digest,
    }


def run_labels(plan: Plan) -> dict[str, str]:
    """The labels of the run's image."""
    labels = {"reprorun": plan.version, KIND_LABEL: "run", DIGEST_LABEL: plan.run_digest}
    return {**labels, REVISION_LABEL: plan.githash} if plan.githash else labels


def _system_package(text: str) -> str:
    """A package's name stands unquoted in a shell's command line: nothing else may pass."""
    if not SYSTEM_PACKAGE.fullmatch(text):
        raise UsageError(
            f"{text!r} is no name of a Debian package (such as gcc, or gcc=4:12.2.0-3)."
        )
    return text


def _comment(text: str) -> str:
    """Text that stays within a comment's line."""
    return _CONTROL.sub(" ", text)


def report_page(**values: Any) -> str:
    """The page of a check."""
    return _page(REPORT_TEMPLATE, **values)


def sweep_page(**values: Any) -> str:
    """The page of a sweep."""
    return _page(SWEEP_TEMPLATE, **values)


def _page(template: str, **values: Any) -> str:
    """A page; all values are escaped. Its policy lets in nothing but its own style."""
    import base64
    from hashlib import sha256

    import markupsafe

    with open(os.path.join(_directory(), REPORT_STYLE), encoding="utf-8") as file:
        style = file.read()
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    found = _templates(escaping=True).get_template(template)
    return found.render(style=markupsafe.Markup(style), policy=policy, **values)


def _render(name: str, **values: Any) -> str:
    return _templates(escaping=False).get_template(name).render(**values)


@cache
def _templates(*, escaping: bool) -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=escaping,
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
