"""How a container is changed on purpose: its variables, and what its processes are told. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from reprorun.experiment.varied import VARIABLE
from reprorun.model import ContainerSpec


def with_variables(container: ContainerSpec, variables: Mapping[str, str]) -> ContainerSpec:
    """With variables of the environment added, or others in their place."""
    return replace(container, env={**container.env, **variables})


def telling(container: ContainerSpec, **facts: Any) -> ContainerSpec:
    """With something told to the processes inside, beside what they are told already."""
    told = json.loads(container.env.get(VARIABLE, "{}"))
    text = json.dumps({**told, **facts}, sort_keys=True)
    return with_variables(container, {VARIABLE: text})


def told(container: ContainerSpec, name: str) -> Any:
    """What processes are told under that name; None where it is nothing."""
    return json.loads(container.env.get(VARIABLE, "{}")).get(name)
