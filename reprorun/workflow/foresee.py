"""The environment of a re-run as far as it is known with nothing started; for a dry run."""

from __future__ import annotations

from contextlib import closing

import msgspec

from reprorun.environment.layers import environment_digest
from reprorun.errors import EngineError
from reprorun.model import BaseImage, EngineInfo, EnvironmentPlan, Lock, RunSpec
from reprorun.workflow.again import python_is_given
from reprorun.workflow.gather import Connect, Environment, recall_environment
from reprorun.workflow.launch_again import Launch
from reprorun.workflow.python import pythons_of_day


def foresee(launch: Launch, connect: Connect) -> Environment:
    """The environment, without those packages that are still to be chosen.

    Raises:
        UsageError: no Python or base image will do.
    """
    base, engine = _base(launch, connect)
    lock = Lock(packages=() if launch.resolves else launch.original.record.packages)
    paths = launch.sources.requirements.paths
    digest = environment_digest(base, lock, paths)
    return Environment(base=base, lock=lock, engine=engine, digest=digest, paths=paths)


def foreseen_plan(launch: Launch, environment: Environment) -> EnvironmentPlan:
    """The environment's image; packages that are still to be chosen are named by their file."""
    plan, source = environment.plan, launch.sources.requirements.source
    if not (launch.resolves and source):
        return plan
    return msgspec.structs.replace(plan, layers=(f"the packages of {source}", *plan.layers))


def _base(launch: Launch, connect: Connect) -> tuple[BaseImage, EngineInfo]:
    recorded, spec = launch.original.record.base_image, launch.spec
    if recorded and not (spec.base_image or spec.python):
        return recorded, _info(connect)
    found = recall_environment(_with_python(launch), launch.sources, connect)
    return found.base, found.engine


def _with_python(launch: Launch) -> RunSpec:
    """With the Python that is tried first for a record of garage's."""
    spec, requirements = launch.spec, launch.sources.requirements
    if launch.original.garage is None or python_is_given(spec, requirements):
        return spec
    newest = next(iter(pythons_of_day(spec.as_of or "", requirements)), None)
    return msgspec.structs.replace(spec, python=newest)


def _info(connect: Connect) -> EngineInfo:
    try:
        with closing(connect()) as engine:
            return engine.info()
    except EngineError:
        return EngineInfo(name="unknown", version="", api_version="")
