"""Docker's contexts, as its client keeps them: names of engines, with what TLS needs.

docker-py reads them too, but takes a damaged configuration for none and, where there is no
config.json, looks for contexts in the working directory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from reprorun.errors import EngineError, UsageError
from reprorun.model import Value

DEFAULT = "default"  # what stands for the default socket
_PROXIES = {
    "httpProxy": "http_proxy",
    "httpsProxy": "https_proxy",
    "ftpProxy": "ftp_proxy",
    "noProxy": "no_proxy",
}


class Context(Value, frozen=True, kw_only=True):
    """A context that is to be used."""

    name: str
    by: str  # what named it


class Endpoint(Value, frozen=True, kw_only=True):
    """The engine of a context."""

    host: str  # address; empty: the default socket
    unverified: bool = False  # TLS, but whoever answers is trusted
    files: tuple[str, ...] = ()  # ca.pem, cert.pem, key.pem, those of them that there are


def current_context(env: Mapping[str, str]) -> Context | None:
    """The context in use, as docker's client chooses it; None: the default one.

    Raises:
        EngineError: docker's configuration is damaged.
    """
    path = os.path.join(_directory(env), "config.json")
    if env.get("DOCKER_CONTEXT"):
        found = Context(name=env["DOCKER_CONTEXT"], by="DOCKER_CONTEXT")
    elif not os.path.exists(path):
        return None
    else:
        name = _read(path).get("currentContext") or DEFAULT
        found = Context(name=str(name), by=path)
    return None if found.name == DEFAULT else found


def read_context(context: Context, env: Mapping[str, str]) -> Endpoint:
    """The engine that a context names.

    Raises:
        UsageError: there is no such context.
        EngineError: it is damaged.
    """
    place = hashlib.sha256(context.name.encode(errors="surrogatepass")).hexdigest()
    contexts = os.path.join(_directory(env), "contexts")
    path = os.path.join(contexts, "meta", place, "meta.json")
    if not os.path.exists(path):
        raise UsageError(
            f"there is no docker context {context.name!r}, which {context.by} names. "
            "`docker context ls` lists those that there are; `docker context use` takes another."
        )
    endpoint = _read(path).get("Endpoints", {})
    endpoint = endpoint.get("docker", {}) if isinstance(endpoint, dict) else None
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("Host", ""), str):
        raise _damaged(path, "it has no address of an engine")
    return Endpoint(
        host=endpoint.get("Host", ""),
        unverified=endpoint.get("SkipTLSVerify") is True and bool(endpoint.get("Host")),
        files=_files(os.path.join(contexts, "tls", place, "docker")),
    )


def proxies(address: str, env: Mapping[str, str]) -> dict[str, str]:
    """The variables of the user's proxies, which docker's client gives to every container.

    Raises:
        EngineError: docker's configuration is damaged.
    """
    path = os.path.join(_directory(env), "config.json")
    told = _read(path).get("proxies") if os.path.exists(path) else None
    if not isinstance(told, dict):
        return {}
    found = told.get(address, told.get(DEFAULT))
    variables: dict[str, str] = {}
    for key, name in _PROXIES.items():
        if isinstance(found, dict) and isinstance(found.get(key), str):
            variables |= {name: found[key], name.upper(): found[key]}
    return variables


def _files(directory: str) -> tuple[str, ...]:
    paths = (os.path.join(directory, f"{name}.pem") for name in ("ca", "cert", "key"))
    return tuple(path for path in paths if os.path.exists(path))


def _directory(env: Mapping[str, str]) -> str:
    return env.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is no JSON") from error
    if not isinstance(found, dict):
        raise _damaged(path, "it is no JSON object")
    return found


def _damaged(path: str, why: str) -> EngineError:
    return EngineError(
        f"docker's own configuration, {path}, can't be used: {why}.\n"
        "Mend it, name another directory in DOCKER_CONFIG, or the engine in DOCKER_HOST."
    )
