"""Pulling an image from its registry, and in words why that failed."""

from __future__ import annotations

import requests
from docker import APIClient
from docker.errors import APIError, DockerException

from reprorun.engine.docker_errors import explain
from reprorun.engine.docker_values import with_tag
from reprorun.engine.logins import login_for, registry_of
from reprorun.engine.protocol import Progress
from reprorun.errors import EngineError, ImageMissing

_NO_LOGIN = ("no basic auth credentials",)
_REFUSED = ("unauthorized", "denied", "forbidden", "authentication required", "incorrect username")
_NOT_THERE = ("manifest unknown", "not found", "name unknown")
_TOO_MANY = ("toomanyrequests",)
_NOT_FOR_US = ("no matching manifest",)
_NOT_TRUSTED = ("server gave http response to https client", "x509:")
_FULL = ("no space left on device",)

_ANOTHER = "name another image with --base-image"


def pull(client: APIClient, ref: str, progress: Progress) -> None:
    """Have the engine pull an image, with the login that docker's own store has.

    Raises:
        ImageMissing: it can't be had.
    """
    try:
        login = login_for(registry_of(ref))
    except EngineError as error:
        raise ImageMissing(f"the base image {ref} is not on the engine; {error}") from error
    try:
        for event in client.pull(with_tag(ref), auth_config=login, stream=True, decode=True):
            if "error" in event:
                raise ImageMissing(cannot_pull(ref, event["error"], has_login=bool(login)))
            if event.get("status") and not event.get("progressDetail"):
                progress(" ".join(filter(None, (event.get("id"), event["status"]))))
    except (APIError, DockerException, requests.RequestException) as error:
        raise ImageMissing(cannot_pull(ref, explain(error), has_login=bool(login))) from error


def cannot_pull(ref: str, why: str, *, has_login: bool = False) -> str:
    """An image that is neither on the engine nor to be had: why, and what to try.

    Args:
        ref: the image.
        why: what the engine said.
        has_login: whether docker's store had a login for its registry.
    """
    found, remedy = _reason(ref, why.lower(), has_login)
    why = " ".join(why.split())
    return f"the base image {ref} is not on the engine and {found}: {why}\n{remedy}"


def _reason(ref: str, why: str, has_login: bool) -> tuple[str, str]:
    registry = registry_of(ref)
    log_in = "`docker login`" if registry == "docker.io" else f"`docker login {registry}`"

    def said(fragments: tuple[str, ...]) -> bool:
        return any(fragment in why for fragment in fragments)

    if said(_NO_LOGIN) or (said(_REFUSED) and not has_login):
        return (
            f"could not be pulled without a login for {registry}",
            f"Log in with {log_in}, or {_ANOTHER}.",
        )
    if said(_REFUSED):
        return (
            f"could not be pulled with the login for {registry} that docker's own store has",
            f"Log in anew with {log_in}, see that the name is right, or {_ANOTHER}.",
        )
    if said(_TOO_MANY):
        return (
            f"could not be pulled now: {registry} limits how often",
            f"Wait, or log in with {log_in}.",
        )
    if said(_NOT_THERE):
        digest = ref.partition("@")[2]
        return (
            f"could not be pulled: {registry} does not have {digest or 'it'}",
            f"{'Have it pushed there again by whoever has it' if digest else 'Correct the name'}, "
            f"or {_ANOTHER}.",
        )
    if said(_NOT_FOR_US):
        return (
            "could not be pulled: there is none for the engine's kind of processor",
            f"Run it on another machine, or {_ANOTHER}.",
        )
    if said(_NOT_TRUSTED):
        return (
            f"could not be pulled: the engine does not trust {registry}",
            f"Put its certificate into /etc/docker/certs.d/{registry}/ca.crt, or name it under "
            "insecure-registries in /etc/docker/daemon.json.",
        )
    if said(_FULL):
        return (
            "could not be pulled: the engine's disk is full",
            "Free some space; `docker system df` says what the engine holds.",
        )
    return (
        "could not be pulled",
        "Name one that is there with --base-image or REPRORUN_BASE_IMAGE (`docker images` lists "
        "them); scripts/base-image of the reprorun repository makes one from Debian packages.",
    )
