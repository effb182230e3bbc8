"""A trivial run with reprorun, against the programs that people would use in its place: DataLad's
container extension, MLflow projects, Caliban, repo2docker.

    python benchmarks/peers.py [PAIRS] [--quick]

needs a running engine, a base image, uv, and a package index. Each program is installed into an
environment of its own below the cache; one that can't be installed or run here is named with the
reason. All of them run the same script in the same base image, with nothing changed. Exit code 1
when a target is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from measuring import REPRORUN, Effort, Figure, Row, Target, alone, compared, run, trivial_project

from reprorun import files

BASE = os.environ.get(
    "REPRORUN_BASE_IMAGE", f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"
)
WHAT = "`exec` of a trivial script, nothing changed"
IDENTITY = {
    f"GIT_{who}_{what}": text
    for who in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "Benchmark"), ("EMAIL", "benchmark@example.invalid"))
}
TIMES_FASTER = {"datalad": 3.0, "caliban": 4.0, "mlflow": 8.0, "repo2docker": 1.0}
_CALIBAN = '{"base_image": {"cpu": "%s"}, "default_mode": "cpu"}\n'
_MLPROJECT = """\
name: trivial
docker_env:
  image: %s
entry_points:
  main:
    command: "python3 trivial.py"
"""


class Peer(NamedTuple):
    """A program that runs experiments in containers, too."""

    name: str
    shown: str
    packages: tuple[str, ...]  # pinned
    prepare: Callable[[str, dict[str, str]], None]
    command: tuple[str, ...]
    trace: str = ""  # what stands in the history of images that it makes


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    for peer in PEERS:
        with tempfile.TemporaryDirectory() as place:
            yield against(peer, place, effort)


def against(peer: Peer, place: str, effort: Effort) -> Row:
    """The row of one of them; with the reason where it can't be had."""
    target = Target(at_least=TIMES_FASTER[peer.name])
    project, before = os.path.join(place, "project"), images()
    trivial_project(project)
    theirs = os.path.join(place, peer.name)
    try:
        env = installed(peer)
        env["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        peer.prepare(theirs, env)
        return compared(
            WHAT,
            peer.shown,
            lambda: run(REPRORUN, "exec", "trivial.py", cwd=project).seconds,
            lambda: run(*peer.command, cwd=theirs, env=env).seconds,
            Effort(pairs=min(effort.pairs, 5)),
            target,
        )
    except (SystemExit, subprocess.CalledProcessError) as error:
        return Row(what=WHAT, against=peer.shown, target=target, missing=reason(error))
    finally:
        remove_images(images() - before, peer.trace)


def installed(peer: Peer) -> dict[str, str]:
    """Install a program, unless it is; the variables under which it runs."""
    place = os.path.join(files.cache_directory("benchmarks"), "-".join((peer.name, *peer.packages)))
    done = os.path.join(place, "installed")
    if not os.path.exists(done):
        uv = os.path.join(os.path.dirname(sys.executable), "uv")
        run(uv, "venv", "--clear", "--python", sys.executable, place)
        run(uv, "pip", "install", "--python", f"{place}/bin/python", *peer.packages)
        with open(done, "x"):
            pass
    return {**os.environ, **IDENTITY, "PATH": f"{place}/bin:{os.environ['PATH']}"}


def reason(error: BaseException) -> str:
    """Why it can't be had, in one line: the last that was said which speaks of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "exists" in line]
    return (telling or lines)[-1][:200]


# ---------------------------------------------------------------- how each is set up


def prepare_datalad(project: str, env: dict[str, str]) -> None:
    """A dataset with a container; what runs is `docker run` of the base image."""
    run("datalad", "create", "-c", "text2git", project, env=env)
    write_script(project)
    image = ".datalad/environments/box/image"
    os.makedirs(os.path.dirname(os.path.join(project, image)))
    with open(os.path.join(project, image), "w"):
        pass
    call = f'docker run --rm --volume "$PWD":/work --workdir /work {BASE} {{cmd}}'
    run("datalad", "containers-add", "box", "--image", image, "--call-fmt", call,
        cwd=project, env=env)  # fmt: skip
    run("datalad", "save", "-m", "trivial", cwd=project, env=env)


def prepare_mlflow(project: str, env: dict[str, str]) -> None:
    """An MLflow project with a Docker environment."""
    os.makedirs(project)
    with open(os.path.join(project, "MLproject"), "w") as file:
        file.write(_MLPROJECT % BASE)
    write_script(project)


def prepare_caliban(project: str, env: dict[str, str]) -> None:
    """A project that Caliban runs on this base image, not on its own."""
    if os.getuid() == 0:
        raise SystemExit("an image of its makes a user of the caller's name, which root can't have")
    os.makedirs(project)
    with open(os.path.join(project, ".calibanconfig.json"), "w") as file:
        file.write(_CALIBAN % BASE)
    write_script(project)


def prepare_repo2docker(project: str, env: dict[str, str]) -> None:
    """A repository; the base image is repo2docker's own, from its registry."""
    os.makedirs(project)
    write_script(project)
    wanted = "docker.io/library/buildpack-deps:jammy"
    if subprocess.run(["docker", "pull", "-q", wanted], capture_output=True).returncode:
        raise SystemExit(f"its base image {wanted} can't be pulled here")


def write_script(project: str) -> None:
    """The script that everybody runs."""
    with open(os.path.join(project, "trivial.py"), "w") as file:
        file.write("print('hello')\n")


PEERS = (
    Peer("datalad", "`datalad containers-run`",
         ("datalad==1.7.1", "datalad-container==1.2.6", "git-annex==10.20261026"),
         prepare_datalad, ("datalad", "containers-run", "-n", "box", "python3 trivial.py")),
    Peer("caliban", "`caliban run`", ("caliban==0.4.2", "setuptools<81"),
         prepare_caliban, ("caliban", "run", "--nogpu", "trivial.py"), "useradd"),
    Peer("mlflow", "`mlflow run`", ("mlflow==3.17.2", "docker==7.2.0"),
         prepare_mlflow, ("mlflow", "run", ".", "--build-image"), "mlflow"),
    Peer("repo2docker", "`repo2docker`", ("jupyter-repo2docker==2026.4.0",),
         prepare_repo2docker, ("repo2docker", ".", "python3", "trivial.py"), "repo2docker"),
)  # fmt: skip


# ---------------------------------------------------------------- leaving nothing


def images() -> set[str]:
    """The images of the engine, those without a name too."""
    return set(docker("images", "--quiet", "--no-trunc").split())


def remove_images(made: set[str], trace: str) -> None:
    """Remove the images that a program has made: its name stands in their history."""
    for image in made if trace else ():
        if trace in docker("history", "--no-trunc", image):
            docker("rmi", "--force", image)


def docker(*words: str) -> str:
    """What a command of docker's prints."""
    return subprocess.run(["docker", *words], capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
