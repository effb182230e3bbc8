"""Logins for registries: docker's own store of credentials (config.json and its helpers).

They go from there to the engine with the request that needs them, and nowhere else.
"""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

import docker
from docker.errors import DockerException, InvalidConfigFile

from reprorun.errors import EngineError

_LEGACY = ".dockercfg"  # it need not be JSON


def login_for(registry: str) -> dict[str, Any]:
    """What docker's store has for a registry; empty when it has nothing.

    Raises:
        EngineError: the store can't be read, or a helper that it names fails.
    """
    _check_file()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a helper that is missing; the error says it too
            return docker.auth.load_config().resolve_authconfig(registry) or {}
    except DockerException as error:  # a helper, which says more than docker-py
        raise EngineError(_unusable(str(error.__cause__ or error))) from error
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(_unusable(f"a helper for {registry} answers oddly")) from error


def check_store() -> None:
    """Raises EngineError where docker's store is such that no client can be made with it."""
    try:
        docker.auth.load_config()
    except (InvalidConfigFile, ValueError, AttributeError, TypeError) as error:
        raise EngineError(_unusable("a login in it is not as docker writes them")) from error


def _check_file() -> None:
    path = docker.utils.config.find_config_file()
    if path is None or os.path.basename(path) == _LEGACY:
        return
    try:
        with open(path, encoding="utf-8") as file:
            json.load(file)
    except OSError as error:
        raise EngineError(_unusable(error.strerror or str(error))) from error
    except ValueError as error:
        raise EngineError(_unusable("it is no JSON")) from error


def _unusable(why: str) -> str:
    path = docker.utils.config.find_config_file()
    return (
        f"docker's own store of credentials, {path}, can't be used: {' '.join(why.split())}\n"
        "Mend it, or name the directory of another in DOCKER_CONFIG."
    )
