"""Secrets on the command line: `--secret`, a bare `-e KEY`, and those where all is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from reprorun.errors import UsageError

if TYPE_CHECKING:
    from reprorun.model import Secret

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LARGEST = 1 << 20  # bytes; larger than any key, and data is an --input
_HOW = "--secret {}: give it as id=NAME,src=FILE or id=NAME,env=VARIABLE."

with_secrets = click.option(
    "--secret", "secrets", multiple=True, metavar="id=NAME,src=FILE",
    callback=lambda context, _, entries: _taken(context, entries),
    help="Offer a file (or env=VARIABLE) at /run/secrets/NAME; it is never kept.",
)  # fmt: skip
"""Decorates a command that runs something; its `secrets` are then of `model.Secret`."""


def bare_names(entries: Iterable[str]) -> tuple[str, ...]:
    """Of `-e KEY[=VALUE]...` the names whose values the host has: these are not recorded."""
    last = {entry.partition("=")[0]: "=" in entry for entry in entries}
    return tuple(name for name, has_value in last.items() if not has_value)


# ---------------------------------------------------------------- --secret


def _taken(context: click.Context, entries: tuple[str, ...]) -> tuple[Secret, ...]:
    """The secrets; one that a variable holds is in a file until the command ends.

    Raises:
        UsageError: an entry can't be read, or names what is not there.
    """
    from reprorun.model import Secret

    found: dict[str, Secret] = {}
    for entry in entries:
        fields = _fields(entry)
        name = fields["id"]
        if name in found:
            raise UsageError(f"--secret id={name} is given twice.")
        if context.resilient_parsing:
            continue
        source = _of_variable(context, fields) if "env" in fields else _of_file(fields)
        found[name] = Secret(id=name, source=source)
    return tuple(found.values())


def _fields(entry: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in entry.split(",")]
    fields = {"src" if key == "source" else key: value for key, _, value in pairs}
    shown = f"id={fields['id']}" if "id" in fields else ""  # the rest may be the secret itself
    if set(fields) not in ({"id", "src"}, {"id", "env"}) or not all(fields.values()):
        raise UsageError(_HOW.format(shown or "..."))
    if not _ID.fullmatch(fields["id"]):
        raise UsageError(f"--secret id={fields['id']}: a name is of letters, digits, _, . and -.")
    return fields


def _of_file(fields: Mapping[str, str]) -> str:
    path = os.path.realpath(fields["src"])
    if not os.path.isfile(path):
        raise UsageError(f"--secret id={fields['id']}: there is no file {fields['src']}.")
    if not os.access(path, os.R_OK):
        raise UsageError(f"--secret id={fields['id']}: {fields['src']} can't be read.")
    if os.path.getsize(path) > _LARGEST:
        raise UsageError(
            f"--secret id={fields['id']}: {fields['src']} is larger than 1 MiB, which no key is. "
            "--input offers data, and records its digest."
        )
    return path


def _of_variable(context: click.Context, fields: Mapping[str, str]) -> str:
    from reprorun import files

    name = fields["env"]
    if name not in os.environ:
        raise UsageError(f"--secret id={fields['id']}: the host has no variable {name}.")
    directory = context.with_resource(files.scratch_directory(passing=True))
    path = os.path.join(directory, fields["id"])
    files.write(path, os.environb[os.fsencode(name)], private=True)
    return path


# ---------------------------------------------------------------- where all is kept

_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SECRET = frozenset({
    "password", "passwd", "passphrase", "passwort", "pwd", "secret", "secrets", "credential",
    "credentials", "apikey", "apitoken", "token",
})  # fmt: skip
_KEYS = frozenset({"api", "access", "secret", "private", "auth", "account", "license", "ssh"})
_OF_A_VOCABULARY = frozenset({
    "pad", "padding", "eos", "bos", "mask", "masked", "unk", "unknown", "sep", "cls", "special",
    "start", "end", "stop", "next", "begin", "first", "last", "prompt", "image", "audio", "eot",
    "text", "blank", "trigger", "separator", "class", "decoder", "placeholder",
})  # fmt: skip
_SHORTEST_TOKEN = 8  # characters: what is shorter is one of a language
_INSTEAD = (
    "Parameters and arguments are kept in the record. Offer it as a file with --secret "
    "id={name},src=FILE, or as a variable with -e {variable}, which keeps no value."
)


def looks_secret(name: str, value: object) -> bool:
    """Whether a parameter is a password or key, by its name: `api_key`, not `max_tokens`."""
    if not isinstance(value, str) or not value:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "token":
        return len(value) >= _SHORTEST_TOKEN and before not in _OF_A_VOCABULARY
    return words[-1] in _SECRET or (words[-1] == "key" and before in _KEYS)


def refuse_secret_params(params: Mapping[str, Any], flag: str = "-P") -> None:
    """Raise UsageError where a parameter looks like a secret; the message has not its value."""
    for name, value in params.items():
        values = value if isinstance(value, (list, tuple)) else (value,)
        if any(looks_secret(name, each) for each in values):
            raise UsageError(f"{flag} {name}: this looks like a secret. {_instead(name)}")


def refuse_secret_args(args: Iterable[str]) -> None:
    """Raise UsageError where an argument of the script looks like one: `--token X`, `--token=X`."""
    words = tuple(args)
    for word, following in zip(words, (*words[1:], ""), strict=False):
        name, equals, value = word.partition("=")
        if not name.startswith("-") and not equals:
            continue
        given = value if equals else ("" if following.startswith("-") else following)
        if looks_secret(name, given):
            raise UsageError(f"{name}: this argument looks like a secret. {_instead(name)}")


def refuse_secrets(params: Mapping[str, Any], args: Iterable[str], base_image: str | None) -> None:
    """Raise UsageError where what a record will keep looks like a secret."""
    refuse_secret_params(params)
    refuse_secret_args(args)
    refuse_login(base_image)


def refuse_login(reference: str | None) -> None:
    """Raise UsageError where an image's name has a login in it, which registries don't take."""
    _, at, digest = (reference or "").rpartition("@")
    if at and not re.match(r"sha(256|384|512):", digest):
        raise UsageError(
            f"--base-image: there is a login before {digest}, which no image's name has. Leave it, "
            "and log in with `docker login`."
        )


def _instead(name: str) -> str:
    plain = name.lstrip("-").replace("-", "_")
    return _INSTEAD.format(name=plain.lower(), variable=plain.upper())
