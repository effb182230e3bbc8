"""Everything that will be done, before anything is."""

from __future__ import annotations

from .base import Value
from .engines import ContainerSpec
from .packages import BaseImage


class EnvironmentPlan(Value, frozen=True, kw_only=True):
    """The environment's image, before it is made."""

    version: str  # of reprorun
    base: BaseImage
    layers: tuple[str, ...]  # what each holds
    digest: str
    tag: str


class Plan(Value, frozen=True, kw_only=True):
    """Everything that will be done, before anything is: what `--dry-run` prints."""

    version: str  # of reprorun
    environment: EnvironmentPlan
    githash: str | None
    run_digest: str
    run_tag: str
    container: ContainerSpec
