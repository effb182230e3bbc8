"""Logins for registries: docker's own store of credentials (config.json and its helpers).

They go from there to the engine with the request that needs them, and nowhere else.
"""

from __future__ import annotations

import base64
import json
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import docker
from docker.errors import DockerException

from reprorun.errors import EngineError

_LEGACY = ".dockercfg"  # it need not be JSON


def login_for(registry: str) -> dict[str, Any]:
    """What docker's store has for a registry; empty when it has nothing.

    Raises:
        EngineError: the store can't be read, or a helper that it names fails.
    """
    _check_file()
    with _reading(f"a helper for {registry} answers oddly"):
        return _store().resolve_authconfig(registry) or {}


def all_logins() -> dict[str, Any]:
    """All that docker's store has, by registry: a build may need any of them.

    Raises:
        EngineError: the store can't be read, or a helper that it names fails.
    """
    with _reading("a helper answers oddly"):
        found = dict(_store().get_all_credentials())
    if docker.auth.INDEX_NAME in found:  # which engines know by its old address
        found.setdefault(docker.auth.INDEX_URL, found[docker.auth.INDEX_NAME])
    return found


def header(login: dict[str, Any]) -> str:
    """A login, or all of them, as a request to an engine takes it along."""
    return base64.urlsafe_b64encode(json.dumps(login).encode()).decode()


@contextmanager
def _reading(odd: str) -> Generator[None, None, None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a helper that is missing; the error says it too
            yield
    except DockerException as error:  # a helper, which says more than docker-py
        raise EngineError(_unusable(str(error.__cause__ or error))) from error
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(_unusable(odd)) from error


def _store() -> Any:
    try:
        return docker.auth.load_config()
    except (DockerException, ValueError, AttributeError, TypeError) as error:
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
