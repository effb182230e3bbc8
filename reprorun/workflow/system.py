"""Base images that have to be built: a Dockerfile of the project's own, and apt.txt on top.

These are the only steps that run something while they build, so the only ones with network. Both
are built once: the tags derive from what they are built from.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator

import msgspec

import reprorun
from reprorun import files
from reprorun.engine import Engine
from reprorun.engine.context import write_files
from reprorun.errors import BuildFailed, ImageMissing, UsageError
from reprorun.held import holding
from reprorun.model import DIGEST_LABEL, KIND_LABEL, BaseImage, Code, Image, RunSpec
from reprorun.notes import read_note, write_note
from reprorun.render import SYSTEM_PACKAGE, system_dockerfile
from reprorun.workflow.base import ask_image, describe_base
from reprorun.workflow.keeper import utc_now
from reprorun.workflow.report import Reporter

_LIST = ("dpkg-query", "-W", "-f", "${Package}=${Version}\\n")
_TAG_LENGTH = 24
_STEP = re.compile(r" ---> Running in ([0-9a-f]{12})")  # as the engine's own builder says it
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", re.DOTALL)
_TOKENS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


# ---------------------------------------------------------------- --file


def find_dockerfile(spec: RunSpec, code: Code) -> str:
    """Where the project's own Dockerfile lies in the working tree: what a record says of it.

    Raises:
        UsageError: there is no such file in the repository.
    """
    path = os.path.join(spec.cwd, spec.dockerfile or "")
    place = os.path.relpath(os.path.realpath(path), os.path.realpath(code.root))
    if not os.path.isfile(path):
        raise UsageError(f"--file {spec.dockerfile}: there is no such file.")
    if place.startswith("../") or place not in code.files:
        raise UsageError(
            f"--file {spec.dockerfile} is not among the files of {code.root} that the record "
            "keeps. Put it into the repository, and see that .gitignore does not name it."
        )
    return place


def build_dockerfile(
    place: str, spec: RunSpec, code: Code, engine: Engine, report: Reporter
) -> str:
    """Build the project's own Dockerfile; returns the image's name.

    Its context are the files of its directory that the launch archive holds too, less those that
    .dockerignore names: so the record holds all that it was built from.

    Args:
        place: of the Dockerfile, in the working tree.
        spec: says whether to build anew, and whether to fetch.
        code: the working tree.
        engine: builds it.
        report: told what happens.

    Raises:
        ImageMissing: it is not built yet, and nothing may be fetched for it.
        BuildFailed: with the last lines of the build.
    """
    directory = os.path.dirname(place)
    names = _context(code, directory)
    digest = files.digest_of(
        "dockerfile 1", place, *(part for n in names for part in (n, *_state(code, directory, n)))
    )
    tag = f"reprorun/dockerfile:{digest[:_TAG_LENGTH]}"
    if engine.image(tag) and not spec.rebuild:
        return tag
    if spec.offline:
        raise ImageMissing(
            f"{place} is not built yet, and --offline lets nothing be fetched for it."
        )
    report.step("base image", f"building {place}")
    labels = {"reprorun": reprorun.__version__, KIND_LABEL: "dockerfile", DIGEST_LABEL: digest}
    root = os.path.join(code.root, directory)
    text = _labelled(os.path.join(code.root, place), labels)
    _build(write_files(root, names, text), tag, engine, report)
    return tag


def _context(code: Code, directory: str) -> list[str]:
    """The files for a build, relative to its directory."""
    prefix = f"{directory}/" if directory else ""
    names = [name[len(prefix) :] for name in code.files if name.startswith(prefix)]
    ignored = _ignored(os.path.join(code.root, directory, ".dockerignore"))
    return [name for name in names if not ignored(name)]


def _ignored(path: str) -> Ignored:
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except FileNotFoundError:
        lines = []
    return Ignored([line for line in lines if line and not line.startswith("#")])


class Ignored:
    """The patterns of a .dockerignore; the last that matches decides."""

    def __init__(self, lines: list[str]) -> None:
        self._rules = [(not line.startswith("!"), _pattern(line.lstrip("!"))) for line in lines]

    def __call__(self, name: str) -> bool:
        ignored = False
        for ignores, pattern in self._rules:
            if pattern.fullmatch(name):
                ignored = ignores
        return ignored


def _pattern(text: str) -> re.Pattern[str]:
    """docker's patterns: `*` and `?` within a name, `**` across directories; all below counts."""
    text = posixpath.normpath(text.strip()).strip("/")
    parts = [_TOKENS.get(token) or _literal(token) for token in _TOKEN.findall(text)]
    try:
        return re.compile("".join(parts) + "(?:/.*)?", re.DOTALL)
    except re.error:  # a range backwards, say: then it is meant as it stands
        return re.compile(re.escape(text) + "(?:/.*)?")


def _literal(token: str) -> str:
    """A set of characters as it is, anything else as itself."""
    return token if len(token) > 2 and token.startswith("[") else re.escape(token)


def _state(code: Code, directory: str, name: str) -> Iterator[str]:
    path = os.path.join(code.root, directory, name)
    if os.path.islink(path):
        yield f"link {os.readlink(path)}"
    else:
        yield f"{os.stat(path).st_mode & 0o100} {files.sha256_of(path)}"


def _labelled(path: str, labels: dict[str, str]) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is no Dockerfile: it is not UTF-8 text ({error.reason})."
        ) from error
    if text.rstrip().endswith("\\"):
        raise UsageError(f"{path} ends in a backslash: its last instruction is not complete.")
    words = " ".join(f'"{name}"="{value}"' for name, value in labels.items())
    return f"{text.rstrip()}\nLABEL {words}\n"


# ---------------------------------------------------------------- apt.txt


def read_apt(root: str, path: str) -> tuple[str, ...]:
    """The packages that apt.txt names, one a line or several, sorted.

    Raises:
        UsageError: a word that is no package's name.
    """
    try:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    names = set()
    for number, line in enumerate(lines, 1):
        for word in line.split("#", 1)[0].split():
            if not SYSTEM_PACKAGE.fullmatch(word):
                raise UsageError(
                    f"{path}, line {number}: {word!r} is no name of a Debian package. "
                    "Name one a line, such as gcc or gcc=4:12.2.0-3."
                )
            names.add(word)
    return tuple(sorted(names))


def add_system_packages(
    base: BaseImage, names: tuple[str, ...], spec: RunSpec, engine: Engine, report: Reporter
) -> BaseImage:
    """The base image with system packages installed, and the list of all that it has then.

    Raises:
        BuildFailed: they can't be installed.
        ImageMissing: it is not built yet, and nothing may be fetched.
    """
    digest = files.digest_of("system 1", base.digest, *names)
    tag = f"reprorun/system:{digest[:_TAG_LENGTH]}"
    image = None if spec.rebuild else engine.image(tag)
    if image is None:
        if spec.offline:
            raise ImageMissing(
                f"the system packages {', '.join(names)} are not installed yet, and --offline lets "
                "nothing be fetched."
            )
        report.step("base image", f"installing {', '.join(names)}")
        labels = {"reprorun": reprorun.__version__, KIND_LABEL: "system", DIGEST_LABEL: digest}
        with engine.named(base.id) as name:
            context = write_files(None, [], system_dockerfile(name, names, labels))
            image = _build(context, tag, engine, report)
    installed = installed_packages(image, engine)
    found = describe_base(tag, image, engine)
    return msgspec.structs.replace(
        found,
        ref=base.ref,
        repo_digest=base.repo_digest,
        dockerfile=base.dockerfile,
        digest=system_digest(base.digest, installed),
        below=base.digest,
        apt=names,
        installed=installed,
    )


def _build(context: Iterable[bytes], tag: str, engine: Engine, report: Reporter) -> Image:
    """Build with network. The container of each step is noted: an engine that dies leaves it."""
    with holding(engine=engine.info().address) as held:
        held.tell(since=utc_now())

        def progress(line: str) -> None:
            step = _STEP.fullmatch(line)
            if step:
                held.tell(step=step[1])
            report.progress(line)

        try:
            return engine.build(context, tag, progress, network=True)
        except BuildFailed:  # says the engine, which has cleaned up
            held.end()
            raise


def system_digest(below: str, installed: tuple[str, ...]) -> str:
    """By its packages, not by its layers, which are never twice the same."""
    return f"sha256:{files.digest_of('system 1', below, *installed)}"


def installed_packages(image: Image, engine: Engine) -> tuple[str, ...]:
    """The system packages of an image, NAME=VERSION, sorted.

    Raises:
        BuildFailed: it can't list them.
    """
    path = os.path.join(
        files.cache_directory("bases"), f"{image.id.removeprefix('sha256:')}.packages"
    )
    listed = read_note(path)
    if listed is None:
        code, listed, said = ask_image(image, _LIST, (), engine)
        if code != 0:
            raise BuildFailed(f"the system packages of the base image can't be listed: {said}")
        write_note(path, listed)
    return tuple(sorted(listed.decode().split()))
