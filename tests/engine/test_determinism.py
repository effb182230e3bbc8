"""The same environment wherever, whenever and however it is made: layers and ids bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import docker
import pytest

from reprorun.engine.context import write_files
from reprorun.engine.docker_values import info_of
from reprorun.engine.places import Place
from reprorun.errors import UsageError

from ..index import Index, make_wheel
from ..kit import BASE, Kit
from .bench import REPRORUN, Bench, Done, client, engine_address
from .daemon import hand_over, own_daemon

FILES = {
    "run.py": (
        "import json, subprocess, sys, big, small\n"
        "tool = subprocess.run(['tool'], capture_output=True, text=True).stdout.strip()\n"
        "link = __import__('os').readlink('link')\n"
        "print(json.dumps([big.VERSION, small.VERSION, tool, link, __file__]))\n"
    ),
    "requirements.txt": "big==1.0\nsmall==2.0\n",
    "a directory/data.txt": "data\n",
    "tool.sh": "#!/bin/sh\n",
}
SAID = ["1.0", "2.0", "tool runs", "run.py", "/workspace/run.py"]
NOTHING = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"  # an empty tar
SOURCE_DATE_EPOCH_SINCE = (23, 0)  # of Docker Engine: BuildKit 0.11

# Takes an engine for one that has to build, as one with containerd's image store is.
BUILDS = """
import sys
from msgspec.structs import replace
from reprorun import cli
from reprorun.engine import buildx, docker_talk
from reprorun.engine.client import Client

info_of = docker_talk.info_of
docker_talk.info_of = lambda *found: replace(info_of(*found), takes_layers=False)
if sys.argv[1] == "classic":
    buildx.find_buildx = lambda *asked: None
    events = Client.events
    Client.events = lambda self, path, parameters, **more: events(
        self, path, {**parameters, "nocache": True}, **more
    )
else:
    command, find = buildx._command, buildx.find_buildx
    buildx._command = lambda *a: [*command(*a)[:-1], "--no-cache", "-"]

    def found(*asked):
        made = find(*asked)
        assert made, "docker buildx was not found"
        return made

    buildx.find_buildx = found
sys.exit(cli.run(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    """An index with a wheel that gets a layer of its own and a small one with a program."""
    noise = b"".join(b"%032x" % (n * 0x9E3779B97F4A7C15 % 2**128) for n in range(200_000))
    with Index() as made:
        files = {"big.py": b"VERSION = '1.0'\n", "big_data/noise.bin": noise}
        made.add(*make_wheel("big", "1.0", files=files))
        files = {"small.py": b"VERSION = '2.0'\n\ndef main():\n    print('tool runs')\n"}
        points = "[console_scripts]\ntool = small:main\n"
        made.add(*make_wheel("small", "2.0", files=files, entry_points=points))
        yield made


def prepare(bench: Bench, index: Index, umask: int, **env: str) -> Bench:
    """The project, written under an umask, and variables of somebody's own."""
    uv_cache = bench.root.parent / "uv-cache"
    uv_cache.mkdir()
    os.chown(uv_cache, bench.user.uid, bench.user.gid)
    bench.env.update(UV_DEFAULT_INDEX=index.url, UV_CACHE_DIR=str(uv_cache), **env)
    before = os.umask(umask)
    try:
        bench.write(FILES)
        (bench.root / "tool.sh").chmod(0o777 & ~umask)
        (bench.root / "link").symlink_to("run.py")
        bench.commit()
    finally:
        os.umask(before)
    return bench


class Made(NamedTuple):
    """What an engine says of the two images of a run."""

    environment: dict[str, Any]
    run: dict[str, Any]

    @property
    def layers(self) -> tuple[list[str], list[str]]:
        """All that hold something: for WORKDIR BuildKit makes an empty one."""
        environment, run = (
            [layer for layer in image["RootFS"]["Layers"] if layer != NOTHING] for image in self
        )
        return environment, run

    @property
    def ids(self) -> tuple[str, str]:
        return self.environment["Id"], self.run["Id"]

    @property
    def settings(self) -> list[dict[str, Any]]:
        """What containers get from them, in a form that all builders share."""
        names = ("Env", "WorkingDir", "Entrypoint", "Labels", "User")
        return [{name: image["Config"].get(name) for name in names} for image in self]


MADE: list[Made] = []  # of the test, on the tests' engine


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """What was made anew has lost its name, and images for the steps of a build never had one."""
    MADE.clear()
    yield
    runs, environments = ({made.ids[n] for made in MADE} for n in (1, 0))
    with client() as engine:
        for image in (*runs, *environments):
            with suppress(docker.errors.ImageNotFound):
                engine.images.remove(image, force=True)


def look(done: Done, address: str) -> Made:
    """The images of a run that went well."""
    assert done.said() == SAID, done.err
    engine = docker.APIClient(base_url=address)
    try:
        tag = f"reprorun/environment:{done.record.environment_digest.removeprefix('sha256:')[:24]}"
        MADE.append(Made(engine.inspect_image(tag), engine.inspect_image(done.record.image)))
        return MADE[-1]
    finally:
        engine.close()


def under(umask: str) -> tuple[str, ...]:
    """The command under an umask."""
    return ("sh", "-c", f'umask {umask}; exec "$0" "$@"', REPRORUN)


# ---------------------------------------------------------------- layer by layer


def test_two_engines_two_users_two_times_make_the_same_images(
    bench: Bench, user_bench: Bench, index: Index, tmp_path: Path
) -> None:
    theirs = prepare(user_bench, index, 0o077, TZ="Asia/Kathmandu")
    first = theirs.exec("run.py", flags=["--rebuild"], program=under("077"))
    one = look(first, engine_address())
    homes = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ours = prepare(bench, index, 0o002, TZ="America/St_Johns", **homes)
    with own_daemon() as address:
        hand_over(BASE, address)
        time.sleep(1.1)  # times in images are of whole seconds
        ours.env["DOCKER_HOST"] = address
        second = ours.exec("run.py", program=under("002"))
        other = look(second, address)
        roots, take_layers = zip(*map(ask, (address, engine_address())), strict=True)
    assert roots[0] != roots[1]
    if all(take_layers):  # else one was built, and builders differ
        assert other.layers == one.layers
        assert other.ids == one.ids
    assert other.settings == one.settings
    for name in ("environment_digest", "image", "githash", "packages"):
        assert getattr(first.record, name) == getattr(second.record, name), name
    assert first.record.archive == second.record.archive
    for name in ("Dockerfile", "requirements.lock", "launch_archive.tar.xz"):
        assert (first.log_dir / name).read_bytes() == (second.log_dir / name).read_bytes(), name


def ask(address: str) -> tuple[str, bool]:
    """Where an engine keeps its images, and whether it can be handed layers."""
    engine = docker.APIClient(base_url=address)
    try:
        info = info_of(engine.info(), engine.api_version, Place(address=address, by="the test"))
        return info.root_dir, info.takes_layers
    finally:
        engine.close()


def test_made_again_on_one_engine_it_is_the_same(bench: Bench, index: Index) -> None:
    prepare(bench, index, 0o022)
    one = look(bench.exec("run.py", flags=["--rebuild"]), engine_address())
    time.sleep(1.1)
    assert look(bench.exec("run.py", flags=["--rebuild"]), engine_address()).ids == one.ids


# ---------------------------------------------------------------- by building


@pytest.fixture
def buildx(tmp_path: Path) -> dict[str, str]:
    """Variables with which docker's client has buildx."""
    plugins = os.environ.get("REPRORUN_TEST_BUILDX")
    if not plugins:
        if os.environ.get("REPRORUN_TEST_ENGINE") == "required":
            pytest.fail("REPRORUN_TEST_BUILDX is not set: scripts/lib/buildx.sh fetches buildx")
        pytest.skip("REPRORUN_TEST_BUILDX names no directory with docker-buildx")
    config = tmp_path / "docker-config"
    (config / "cli-plugins").mkdir(parents=True)
    (config / "cli-plugins" / "docker-buildx").symlink_to(Path(plugins) / "docker-buildx")
    return {"DOCKER_CONFIG": str(config)}


def build(bench: Bench, how: str, env: dict[str, str] | None = None) -> Made:
    """Run the project in images that were built, without a cache."""
    program = (sys.executable, "-c", BUILDS, how)
    done = bench.exec("run.py", flags=["--rebuild"], program=program, env=env)
    return look(done, engine_address())


def test_the_classic_builder_makes_the_same_layers_twice(bench: Bench, index: Index) -> None:
    prepare(bench, index, 0o022)
    one = build(bench, "classic")
    time.sleep(1.1)
    again = build(bench, "classic")
    assert again.layers == one.layers
    assert again.settings == one.settings


def test_buildx_makes_the_layers_of_the_classic_builder(
    bench: Bench, index: Index, buildx: dict[str, str]
) -> None:
    prepare(bench, index, 0o022)
    classic, modern = build(bench, "classic"), build(bench, "buildx", buildx)
    assert modern.layers == classic.layers
    assert modern.settings == classic.settings
    assert list(Path(buildx["DOCKER_CONFIG"]).iterdir()) == [
        Path(buildx["DOCKER_CONFIG"]) / "cli-plugins"
    ]


def test_buildx_makes_the_same_images_twice(
    bench: Bench, index: Index, buildx: dict[str, str]
) -> None:
    prepare(bench, index, 0o022)
    one = build(bench, "buildx", buildx)
    time.sleep(1.1)
    again = build(bench, "buildx", buildx)
    assert again.layers == one.layers
    assert again.settings == one.settings
    with client() as engine:
        version = tuple(int(part) for part in engine.version()["Version"].split(".")[:2])
    if version >= SOURCE_DATE_EPOCH_SINCE:
        assert again.ids == one.ids


def test_images_that_were_built_are_as_those_that_were_loaded(bench: Bench, index: Index) -> None:
    prepare(bench, index, 0o022)
    loaded = look(bench.exec("run.py", flags=["--rebuild"]), engine_address())
    built = build(bench, "classic")
    assert built.settings == loaded.settings
    assert [len(layers) for layers in built.layers] == [len(layers) for layers in loaded.layers]


# ---------------------------------------------------------------- buildx at work


def own_image(bench: Bench, steps: str) -> Bench:
    """A project with a Dockerfile of its own."""
    bench.write({"hello.py": "print('hello')\n", "Dockerfile": f"FROM {BASE}\n{steps}"})
    bench.commit()
    return bench


def remove(done: Done) -> None:
    """Take the images of a run with a Dockerfile of its own from the engine."""
    base = done.record.base_image
    assert base is not None
    with client() as engine:
        for name in (done.record.image, base.ref):
            engine.images.remove(name, force=True)


def leftovers() -> list[str]:
    """Names that builds have given and not taken back; those of others at work go by themselves."""
    for _ in range(60):
        with client() as engine:
            images = engine.api.images("localhost/reprorun/parent")
        found = [t for image in images for t in image["RepoTags"] if t.startswith("localhost/")]
        if not found:
            break
        time.sleep(0.5)
    return found


def test_buildx_builds_a_dockerfile_of_the_projects_own(
    bench: Bench, buildx: dict[str, str]
) -> None:
    own_image(bench, "RUN echo built >/built\n")
    bench.write({"hello.py": "print(open('/built').read(), end='')\n"})
    bench.commit()
    done = bench.exec("hello.py", flags=["-v", "--file", "Dockerfile"], env=buildx)
    assert (done.code, done.out) == (0, "built\n"), done.err
    assert "exporting to image" in done.err  # BuildKit's words
    remove(done)


def test_buildx_installs_system_packages_on_an_image_by_its_id(
    bench: Bench, buildx: dict[str, str]
) -> None:
    bench.write({"hello.py": "print('hello')\n", "apt.txt": "no-such-package-of-reprorun\n"})
    bench.commit()
    with client() as engine:
        base = engine.images.get(BASE).id
    done = bench.exec("hello.py", flags=["--base-image", base], env=buildx)
    assert done.code == 125
    assert "apt-get update" in done.err  # it came as far as this: the image was found by its id
    assert "library/sha256" not in done.err  # what BuildKit makes of an id
    assert leftovers() == []


def test_a_build_with_buildx_that_fails(bench: Bench, buildx: dict[str, str]) -> None:
    own_image(bench, "RUN echo last words >&2; exit 3\n")
    done = bench.exec("hello.py", flags=["--file", "Dockerfile"], env=buildx)
    assert (done.code, done.out) == (125, "")
    assert "Traceback" not in done.err
    message = done.err.rpartition("reprorun: error: ")[2]
    assert "could not be built" in message.splitlines()[0]
    assert "exit code: 3" in message.splitlines()[0]
    assert "last words" in message
    assert list(done.log_dir.iterdir()) == []


def test_a_context_that_breaks_on_the_way_makes_no_image(
    buildx: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pieces() -> Iterator[bytes]:
        *first, _ = write_files(None, [], f"FROM {BASE}\nLABEL a=b\n")
        yield from first  # all but the end
        raise UsageError("a file changed while it was read")

    monkeypatch.setenv("DOCKER_CONFIG", buildx["DOCKER_CONFIG"])
    before = threading.active_count()
    with Kit.of("docker") as kit:
        with pytest.raises(UsageError, match="changed while it was read"):
            kit.engine.build(pieces(), kit.tag("broken"), lambda line: None)
        assert kit.engine.image(kit.tag("broken")) is None
    assert threading.active_count() == before


def test_buildx_without_a_home_to_write_to(
    bench: Bench, buildx: dict[str, str], tmp_path: Path
) -> None:
    own_image(bench, "LABEL a=b\n")
    env = {**buildx, "HOME": "/nonexistent", "BUILDX_CONFIG": "/nonexistent"}
    done = bench.exec("hello.py", flags=["--file", "Dockerfile"], env=env)
    assert (done.code, done.out) == (0, "hello\n"), done.err
    remove(done)


@pytest.mark.parametrize("whom", ["all", "one"])
def test_an_interrupt_ends_a_build_with_buildx(
    bench: Bench, buildx: dict[str, str], whom: str
) -> None:
    """`all`: as from a terminal; `one`: as from `kill -INT`."""
    own_image(bench, f"RUN echo {whom}{time.time_ns()} begins; sleep 300\n")
    bench.env.update(buildx)
    process = subprocess.Popen(
        [REPRORUN, "exec", "-v", "--file", "Dockerfile", "hello.py"],
        cwd=bench.root,
        env=bench.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if b" begins" in line and b"echo" not in line:
            break
    began = time.monotonic()
    (os.killpg if whom == "all" else os.kill)(process.pid, signal.SIGINT)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130, (said, rest)
    assert time.monotonic() - began < 20
    assert b"Traceback" not in rest
    assert programs("sleep 300") == []
    assert programs(str(bench.root)) == []


def programs(words: str) -> list[str]:
    """Command lines of processes that hold these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if words in line:
            found.append(line)
    return found


def test_buildx_before_provenance_is_not_asked_for_it(
    bench: Bench, buildx: dict[str, str], tmp_path: Path
) -> None:
    """buildx 0.8 and 0.9, which came with Docker 20.10, don't know the flag."""
    own_image(bench, "LABEL old=buildx\n")
    real = shutil.which("docker")
    script = (
        "#!/bin/sh\n"
        f'echo "$@" >>{tmp_path}/asked\n'
        'for word in "$@"; do\n'
        '  [ "$word" = version ] && echo github.com/docker/buildx v0.8.2 6224def && exit\n'
        '  case $word in --provenance*) echo unknown flag: "$word"; exit 125 ;; esac\n'
        "done\n"
        f'exec {real} "$@"\n'
    )
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    env = {**buildx, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = bench.exec("hello.py", flags=["--file", "Dockerfile"], env=env)
    assert done.code == 0, done.err
    assert "buildx build" in (tmp_path / "asked").read_text()
    remove(done)
