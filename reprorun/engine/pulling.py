"""Pulling an image from its registry, and in words why that failed."""

from __future__ import annotations

from typing import NamedTuple

from reprorun.engine.client import Client, Refused
from reprorun.engine.protocol import Progress
from reprorun.engine.references import HUB, name_and_tag, registry_of
from reprorun.errors import EngineError, ImageMissing


class _Reason(NamedTuple):
    """Why an image can't be pulled: what engines say then, what it means, what to try."""

    signs: tuple[str, ...]
    found: str
    remedy: str


_REFUSED = ("unauthorized", "denied", "forbidden", "authentication required", "incorrect username")
_LOGIN_MISSING = _Reason(
    ("no basic auth credentials", *_REFUSED),
    "could not be pulled without a login for {registry}",
    "Log in with `{login}`, or name another image with --base-image.",
)
_LOGIN_REFUSED = _Reason(
    _REFUSED,
    "could not be pulled with the login for {registry} that docker's own store has",
    "Log in anew with `{login}`, see that the name is right, or name another with --base-image.",
)
_DIGEST_GONE = _Reason(
    ("manifest unknown", "not found"),
    "could not be pulled: {registry} does not have {digest}",
    "Have it pushed there again by somebody who has it, or name another image with --base-image.",
)
_OTHERS = (
    _Reason(
        ("manifest unknown", "not found", "name unknown"),
        "could not be pulled: {registry} does not have it",
        "Correct the name, or name another image with --base-image.",
    ),
    _Reason(
        ("toomanyrequests",),
        "could not be pulled now: {registry} limits how often",
        "Wait, or log in with `{login}`.",
    ),
    _Reason(
        ("no matching manifest",),
        "could not be pulled: there is none for the engine's kind of processor",
        "Run it on another machine, or name another image with --base-image.",
    ),
    _Reason(
        ("server gave http response to https client", "x509:"),
        "could not be pulled: the engine does not trust {registry}",
        "Put its certificate into /etc/docker/certs.d/{registry}/ca.crt, or name it under "
        "insecure-registries in /etc/docker/daemon.json.",
    ),
    _Reason(
        ("no space left on device",),
        "could not be pulled: the engine's disk is full",
        "Free some space; `docker system df` says what the engine holds.",
    ),
    _Reason(
        ("",),
        "could not be pulled",
        "Name one that is there with --base-image or REPRORUN_BASE_IMAGE (`docker images` lists "
        "them); scripts/base-image of the reprorun repository makes one from Debian packages.",
    ),
)


def pull(client: Client, ref: str, progress: Progress, platform: str | None = None) -> None:
    """Have the engine pull an image, with the login that docker's own store has.

    Raises:
        ImageMissing: it can't be had.
    """
    from reprorun.engine import logins  # brings docker-py, which takes its time

    try:
        login = logins.login_for(registry_of(ref))
    except EngineError as error:
        raise ImageMissing(f"the base image {ref} is not on the engine; {error}") from error
    name, tag = name_and_tag(ref)
    wanted = {"fromImage": name, "tag": tag, **({"platform": platform} if platform else {})}
    headers = {"X-Registry-Auth": logins.header(login)}
    try:
        for event in client.events("/images/create", wanted, headers=headers):
            if "error" in event:
                raise ImageMissing(cannot_pull(ref, event["error"], has_login=bool(login)))
            if event.get("status") and not event.get("progressDetail"):
                progress(" ".join(filter(None, (event.get("id"), event["status"]))))
    except Refused as error:
        raise ImageMissing(cannot_pull(ref, error.explanation, has_login=bool(login))) from error


def cannot_pull(ref: str, why: str, *, has_login: bool = False) -> str:
    """An image that is neither on the engine nor to be had: why, and what to try.

    Args:
        ref: the image.
        why: what the engine said.
        has_login: whether docker's store had a login for its registry.
    """
    registry, digest = registry_of(ref), ref.partition("@")[2]
    login = "docker login" if registry == HUB else f"docker login {registry}"
    reasons = (
        _LOGIN_REFUSED if has_login else _LOGIN_MISSING,
        *((_DIGEST_GONE,) if digest else ()),
        *_OTHERS,
    )
    reason = next(r for r in reasons if any(sign in why.lower() for sign in r.signs))
    found, remedy = (
        text.format(registry=registry, digest=digest, login=login)
        for text in (reason.found, reason.remedy)
    )
    name, why = " ".join(ref.split()), " ".join(why.split())  # one line each, whatever they hold
    return f"the base image {name} is not on the engine and {found}: {why}\n{remedy}"
