"""What an environment costs: `reprorun exec` against Dockerfiles that call pip, or uv.

    python benchmarks/environment.py [PAIRS] [--quick]

It measures how long it takes until an experiment runs that needs numpy, scipy and matplotlib: from
the command to the first line that the experiment prints, (a) in a new environment, (b) after one
small package was added to it, (c) after the script was changed, against an unchanged one; and the
peak memory of reprorun in (a). The experiment then imports all three and prints their versions,
which must be the same everywhere. The sides take turns, so that a machine's ups and downs hit all.
Exit code 1 when a target is missed.

It needs a running engine, a network to warm the caches, and a base image with Python
(REPRORUN_BASE_IMAGE, or the default one). It runs the `reprorun` and the `uv` of the Python that
runs it. All that it makes carries a label and is removed at the end.

How it is fair: each side has its own download cache warm, and nobody uses the network once the
measuring begins: how long an index takes to answer is no part of it. pip finds its wheels in a
directory, which is quicker for it than its own cache, as that asks the index all the same. The
classic builder has no cache mounts, so the caches of pip and uv lie in the images that their
Dockerfiles begin with. Warm means what each tool keeps of packages: wheels for pip, unpacked wheels
for uv, wheels and the layers made of them for reprorun; "from wheels" is reprorun without those
layers. It forgets its locks before each round. The base is a new one, so that no image on the
engine has a layer of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from measuring import MEGABYTE, Effort, Figure, Row, Target, alone

BASE = os.environ.get(
    "REPRORUN_BASE_IMAGE", f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"
)
TOOLS = Path(sys.executable).parent
LABEL = "reprorun.benchmark"
ID = uuid.uuid4().hex[:12]
REQUIREMENTS = "numpy\nscipy\nmatplotlib\n"
ADDED = "tabulate\n"
RUNNING = "running"
SCRIPT = f"""\
print("{RUNNING}", flush=True)
import matplotlib, numpy, scipy
print(numpy.__version__, scipy.__version__, matplotlib.__version__)
"""
BUNDLE = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
IN_BASE = "/etc/bundle.pem"  # where the base has it


NEW = "new environment (numpy, scipy, matplotlib) until it runs"
MORE = "one small package more until it runs"
CHANGED = "changed script until it runs"
RATIOS = (  # case, ours, theirs, what theirs is, target
    (NEW, "reprorun", "pip", "`RUN pip install`", Target(at_least=5)),
    (NEW, "reprorun", "uv", "`RUN uv pip install`", Target(at_least=1.2)),
    (MORE, "reprorun", "pip", "`RUN pip install`", Target(at_least=10)),
    (MORE, "reprorun", "uv", "`RUN uv pip install`", Target(at_least=3)),
    (CHANGED, "changed", "unchanged", "nothing changed", Target(at_most=1.5)),
    (NEW, "from wheels", "uv", "`RUN uv pip install`, no layer kept", Target(at_most=2)),
)
MEMORY = Target(at_most=150)  # MB
ENGINES = "most of it is the engine taking the layers in, one after the other: decisions/0005"

Times = dict[tuple[str, str], list[float]]  # (case, side) -> seconds, one a pair


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures. What was made is removed in any case."""
    scratch = Path(tempfile.mkdtemp(prefix="reprorun-benchmark-"))
    try:
        bench = Bench(scratch)
        bench.prepare()
        for number in range(effort.pairs):
            say(f"round {number + 1} of {effort.pairs}")
            bench.measure()
        for case, ours, theirs, against, target in RATIOS:
            sides = (tuple(bench.times[case, side]) for side in (ours, theirs))
            mine, others = sides
            yield Row(
                what=case, against=against, ours=mine, theirs=others, target=target,
                note=ENGINES if case == NEW else "",
            )  # fmt: skip
        yield Row(what=f"memory: {NEW}", unit="MB", ours=(bench.peak / MEGABYTE,), target=MEMORY)
    finally:
        clean_up(scratch)


# ---------------------------------------------------------------- the measuring


class Bench:
    """The sides, and their times."""

    def __init__(self, scratch: Path) -> None:
        self.times: Times = {}
        self.peak = 0  # bytes
        self._scratch = scratch
        self._plain, self._more = scratch / "plain", scratch / "more"
        self._base, self._pip_base, self._uv_base = (
            f"reprorun-benchmark:{ID}{kind}" for kind in ("", "-pip", "-uv")
        )
        self._printed = ""

    def prepare(self) -> None:
        """Make the projects and the bases, and warm all caches."""
        say("warming the caches")
        for project, requirements in (
            (self._plain, REQUIREMENTS),
            (self._more, REQUIREMENTS + ADDED),
        ):
            make_project(project, requirements)
        bundle = f"--volume={BUNDLE}:/bundle.pem:ro"
        prepared = f"echo {ID} > /etc/reprorun-benchmark && cp /bundle.pem {IN_BASE}"
        docker("run", "--name", ID, bundle, BASE, "sh", "-c", prepared)
        commit(self._base)
        install = ("uv", "pip", "install", *IN_SYSTEM)
        self._warm(self._base, (*install, "--compile-bytecode", "pip"), self._pip_base)
        wheels = ("python3", "-m", "pip", "download", "-d", "/cache/wheels")
        self._warm(self._pip_base, (*wheels, "-r", REQUIRED), self._pip_base)
        # into a directory that is removed: what stays is uv and its cache
        there = ("--target", "/tmp/there", "-r", REQUIRED)
        filled = f"cp /uv /usr/local/bin/uv && {' '.join((*install, *there))} && rm -r /tmp/there"
        self._warm(self._base, ("sh", "-c", filled), self._uv_base)
        self._ours(self._more, "exec")
        self.peak = 0

    def measure(self) -> None:
        """One round of everything."""
        self._forget()
        sides = {"reprorun": self._ours, "pip": self._pip, "uv": self._uv}
        for case, project in ((NEW, self._plain), (MORE, self._more)):
            for name, side in sides.items():
                self._time(case, name, side, project)
        self._time(CHANGED, "unchanged", self._ours, self._plain)
        self._forget("layers")
        self._time(NEW, "from wheels", self._ours, self._plain)
        with open(self._plain / "versions.py", "a") as file:
            file.write("# changed\n")
        self._time(CHANGED, "changed", self._ours, self._plain)

    def _time(self, case: str, side: str, run: Callable[[Path], Ran], project: Path) -> None:
        os.sync()  # what the one before has left to be written is not this one's to wait for
        began = time.perf_counter()
        ran = run(project)
        self.times.setdefault((case, side), []).append(ran.running_at - began)
        self._printed = self._printed or ran.printed
        if ran.printed != self._printed:
            sys.exit(f"{case}, {side}: {ran.printed!r} in place of {self._printed!r}")

    # -------------------------------------------------- reprorun

    def _ours(self, project: Path, *words: str) -> Ran:
        command = [str(TOOLS / "reprorun"), *(words or ("exec", "--offline")), "versions.py"]
        variables = {
            **os.environ,
            "REPRORUN_BASE_IMAGE": self._base,
            "XDG_CACHE_HOME": str(self._scratch / "cache"),
            "UV_CACHE_DIR": str(self._scratch / "uv-of-reprorun"),
        }
        ran = run_until_first_line(command, cwd=project, env=variables)
        self.peak = max(self.peak, ran.peak)
        return ran

    def _forget(self, *also: str) -> None:
        """Remove all images, and the locks; and also other parts of our cache."""
        for project in (self._plain, self._more):
            theirs = [self._tag(side, project) for side in ("pip", "uv")]
            for image in (*images_of(project), *theirs):
                docker("rmi", "--force", image, check=False)
            shutil.rmtree(project / "data", ignore_errors=True)
        for part in ("locks", *also):
            shutil.rmtree(self._scratch / "cache/reprorun" / part, ignore_errors=True)

    # -------------------------------------------------- the others

    def _pip(self, project: Path) -> Ran:
        install = "python3 -m pip install --break-system-packages --root-user-action=ignore"
        options = "--no-index --find-links=/cache/wheels"
        return self._built("pip", self._pip_base, f"{install} {options}", project)

    def _uv(self, project: Path) -> Ran:
        install = f"uv pip install --offline {' '.join(IN_SYSTEM)}"
        return self._built("uv", self._uv_base, install, project)

    def _built(self, side: str, base: str, install: str, project: Path) -> Ran:
        tag, context = self._tag(side, project), self._scratch / f"{side}-{project.name}"
        context.mkdir(exist_ok=True)
        shutil.copy(project / "requirements.txt", context)
        steps = (
            f"FROM {base}",
            *(f"ENV {name}={value}" for name, value in index_variables().items()),
            "COPY requirements.txt .",
            f"RUN {install} -r requirements.txt",
            f"LABEL {LABEL}={ID}",
        )
        (context / "Dockerfile").write_text("\n".join(steps) + "\n")
        docker("build", "--network=none", "--force-rm", "--tag", tag, str(context))
        script = ("python3", "/project/versions.py")
        return run_until_first_line(
            ["docker", "run", "--rm", "--network=none", *mounted(project), tag, *script]
        )

    def _tag(self, side: str, project: Path) -> str:
        return f"reprorun-benchmark:{ID}-{side}-{project.name}"

    def _warm(self, image: str, command: Sequence[str], tag: str) -> None:
        """Run a command that fills a cache, with network; what is there then becomes an image."""
        options = [f"--volume={TOOLS / 'uv'}:/uv:ro", *mounted(self._more), "--network=host"]
        options += [f"--env={name}={value}" for name, value in index_variables().items()]
        options += ["--env=PATH=/usr/local/bin:/usr/bin:/bin:/", f"--label={LABEL}={ID}"]
        docker("run", "--name", ID, *options, image, *command)
        commit(tag)


class Ran(NamedTuple):
    """A command that has ended."""

    running_at: float  # when its experiment printed its first line, by time.perf_counter()
    printed: str
    peak: int  # bytes of memory


def run_until_first_line(
    command: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None
) -> Ran:
    """Run a command to its end, and see when the experiment's first line comes."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdout
        first = process.stdout.readline().decode()
        running_at = time.perf_counter()
        printed = process.stdout.read().decode()
        # of this one process, and of those that it started and waited for
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or first.strip() != RUNNING:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{first}{errors.read().decode()}")
    return Ran(running_at, printed, usage.ru_maxrss * 1024)


REQUIRED = "/project/requirements.txt"
IN_SYSTEM = ("--system", "--break-system-packages", "--link-mode=copy", "--no-progress")


def make_project(place: Path, requirements: str) -> None:
    """A project in git, as users have them."""
    place.mkdir()
    (place / "requirements.txt").write_text(requirements)
    (place / "versions.py").write_text(SCRIPT)
    (place / ".gitignore").write_text("data/\n")
    git = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "versions")):
        subprocess.run([*git, *command], cwd=place, check=True)


def images_of(project: Path) -> list[str]:
    """The images that our runs of a project have made, the run's before the environment's."""
    records = [json.loads(path.read_text()) for path in project.rglob("run.json")]
    runs = {record["image"] for record in records}
    digests = {record["environment_digest"].removeprefix("sha256:") for record in records}
    return [*runs, *(f"reprorun/environment:{digest[:24]}" for digest in digests)]


def mounted(project: Path) -> list[str]:
    """The project in a container."""
    return [f"--volume={project}:/project:ro"]


def index_variables() -> dict[str, str]:
    """What pip and uv need in a container to reach the index that the host reaches."""
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "HTTPS_PROXY", "https_proxy")
    passed = {name: os.environ[name] for name in names if name in os.environ}
    return {**passed, "UV_CACHE_DIR": "/cache/uv", "SSL_CERT_FILE": IN_BASE, "PIP_CERT": IN_BASE}


def commit(tag: str) -> None:
    """Make an image of the container, and remove that."""
    docker("commit", "--change", f"LABEL {LABEL}={ID}", ID, tag)
    docker("rm", ID)


def docker(*arguments: str, check: bool = True) -> str:
    """What a command of docker's prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        sys.exit(f"docker {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def clean_up(scratch: Path) -> None:
    """Leave nothing: no image, no container, no file (some are root's)."""
    docker("rm", "--force", ID, check=False)
    for project in ("plain", "more"):
        for image in images_of(scratch / project):
            docker("rmi", "--force", image, check=False)
    owned = ("run", "--rm", f"--volume={scratch}:/scratch", BASE)
    docker(*owned, "find", "/scratch", "-mindepth", "1", "-delete", check=False)
    found = docker("images", "--quiet", "--filter", f"label={LABEL}={ID}", check=False).split()
    for image in dict.fromkeys(found):
        docker("rmi", "--force", image, check=False)
    shutil.rmtree(scratch, ignore_errors=True)


def say(text: str) -> None:
    """A line for who waits."""
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
