"""Environments on the real engine, with packages from an index of the tests' own."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest

from reprorun import store
from reprorun.environment.layers import BIG, environment_layers
from reprorun.model import Lock, Record

from ..index import Index, Served, make_sdist, make_wheel
from ..kit import BASE
from .bench import OLD_BASE, REPRORUN, Bench, Done, client, images_of, one_message
from .complete import assert_complete, assert_valid

HELLO = "print('hello')\n"
USE = "import tool; print(tool.VERSION)\n"


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as made:
        yield made


@pytest.fixture
def lab(bench: Bench, index: Index, tmp_path: Path) -> Iterator[Bench]:
    """A bench that knows no index but the test's, with caches of its own."""
    bench.env = {name: v for name, v in bench.env.items() if not name.startswith("UV_")}
    bench.env.update(UV_DEFAULT_INDEX=index.url, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "UV_CACHE_DIR", "HOME"):
        bench.env[name] = str(tmp_path / name.lower())
        Path(bench.env[name]).mkdir()
    yield bench
    _remove_what_no_record_names(bench)


def _remove_what_no_record_names(bench: Bench) -> None:
    """Environments of builds, builds themselves, and base images that were built."""
    ours, own_layers = set(), noted(bench)
    with client() as engine:
        for kind in ("build", "environment"):
            for image in images_of(engine, label=f"reprorun.kind={kind}"):
                if own_layers & set(layers(image)):
                    ours.add(image.id)
        known = {engine.images.get(name).id for name in (BASE, OLD_BASE)}
        for record in records_of(bench):
            base = record.base_image
            if base and (base.dockerfile or base.apt) and base.id not in known:
                ours.add(base.id)
        for identity in ours:
            with suppress(docker.errors.APIError):  # a run's is made from it: both go at the end
                engine.images.remove(identity, force=True)


def records_of(bench: Bench) -> list[Record]:
    return [store.read_record(str(path.parent)) for path in bench.records.rglob("run.json")]


def noted(bench: Bench) -> set[str]:
    """The digests of the layers that were made here, less that of the environment of no packages,
    which every test has."""
    place = Path(bench.env["XDG_CACHE_HOME"]) / "reprorun/layers"
    bases = [record.base_image for record in records_of(bench) if record.base_image]
    plain = {layer.note for base in bases for layer in environment_layers(Lock(), base)}
    notes = [path for path in place.glob("*") if not path.suffix and path.name not in plain]
    return {path.read_text() for path in notes}


def unique(name: str = "tool", version: str = "1.0", **fields: Any) -> tuple[str, bytes]:
    """A wheel that no other test has, so that its layer is nobody else's."""
    text = f"VERSION = {version!r}  # {uuid.uuid4()}\n".encode()
    files = {f"{name}.py": text, **fields.pop("files", {})}
    return make_wheel(name, version, files=files, **fields)


def project(lab: Bench, script: str = USE, *lines: str, **files: str) -> None:
    """A repository with a script and what it needs."""
    lab.write({"train.py": script, "requirements.txt": "\n".join(lines or ("tool",)), **files})
    lab.commit()


def environment_of(record: Record) -> Any:
    """The environment's image, as the engine has it."""
    digest = record.environment_digest.removeprefix("sha256:")
    with client() as engine:
        return engine.images.get(f"reprorun/environment:{digest[:24]}")


def layers(image: Any) -> list[str]:
    found: list[str] = image.attrs["RootFS"]["Layers"]
    return found


def forget(record: Record) -> None:
    """Remove the images of a run."""
    environment = environment_of(record)
    with client() as engine:
        for name in (record.image, *environment.tags):
            engine.images.remove(name, force=True)


def cached_wheel(lab: Bench, served: Served) -> Path:
    place = Path(lab.env["XDG_CACHE_HOME"]) / "reprorun/wheels"
    return place / served.sha256[:2] / served.sha256 / served.filename


def refused(done: Done) -> str:
    assert (done.code, done.out) == (125, ""), done.err
    assert "Traceback" not in done.err
    _, marker, message = done.err.rpartition("reprorun: error: ")
    assert marker
    return message


# ---------------------------------------------------------------- what is in it

LOOK = """
import json, os, subprocess, sys, shutil
import tool, from_pth
print(json.dumps({
    "prefix": sys.prefix,
    "version": tool.VERSION,
    "pth": from_pth.__file__,
    "console": subprocess.check_output(["tell", "x"], text=True).split(),
    "script": subprocess.check_output(["old-script"], text=True).split(),
    "where": shutil.which("tell"),
    "pip": [d.metadata["Name"] for d in __import__("importlib.metadata").metadata.distributions()
            if d.files and all(f.locate().exists() for f in d.files)],
    "writable": os.access(tool.__file__, os.W_OK),
}))
"""


def test_everything_that_a_wheel_brings_works(lab: Bench, index: Index) -> None:
    module = b"import sys\ndef main(): print(sys.executable, *sys.argv[1:])\n"
    index.add(
        *unique(
            files={"cli.py": module, "tool.pth": b"hidden\n", "hidden/from_pth.py": b""},
            entry_points="[console_scripts]\ntell = cli:main\n",
            scripts={"old-script": b"#!python\nimport sys\nprint(sys.executable)\n"},
        )
    )
    project(lab, LOOK)
    done = lab.exec("train.py")
    said = done.said()
    site = "/opt/reprorun/lib/python3.11/site-packages"
    assert said["prefix"] == "/opt/reprorun"
    assert said["pth"] == f"{site}/hidden/from_pth.py"
    assert said["console"] == ["/opt/reprorun/bin/python", "x"]
    assert said["script"] == ["/opt/reprorun/bin/python"]
    assert said["where"] == "/opt/reprorun/bin/tell"
    assert "tool" in said["pip"]
    assert not said["writable"] or os.getuid() == 0
    record = assert_complete(done, lab, "train.py")
    assert [f"{p.name}=={p.version}" for p in record.packages] == ["tool==1.0"]
    assert record.requirements == "requirements.txt"
    lock = (done.log_dir / "requirements.lock").read_text()
    assert record.packages[0].wheel.sha256 in lock


HOSTILE = {
    "data/bin/python": b"#!/bin/sh\necho evil\n",
    "scripts/python3": b"#!/bin/sh\necho evil\n",
    "data/pyvenv.cfg": b"home = /nowhere\n",
    "data/supervise.py": b"print('evil')\n",
    "purelib/reprorun/launch.py": b"evil",
}


def test_what_the_environment_needs_wins_over_what_a_wheel_brings(lab: Bench, index: Index) -> None:
    index.add(*unique(data=HOSTILE))
    project(lab)
    done = lab.exec("train.py")
    assert (done.code, done.out) == (0, "1.0\n"), done.err


# ---------------------------------------------------------------- damaged and hostile


@pytest.mark.parametrize("fault", ["wrong", "short", "cut"])
def test_a_wheel_that_comes_damaged_once_is_fetched_again(
    fault: str, lab: Bench, index: Index
) -> None:
    tool = index.add(*unique())
    setattr(tool.faults, fault, 1)
    project(lab)
    done = lab.exec("train.py")
    assert (done.code, done.out) == (0, "1.0\n"), done.err
    assert len([r for r in tool.requests if r.method == "GET"]) >= 2


@pytest.mark.parametrize("fault", ["wrong", "short"])
def test_a_wheel_that_is_another_than_the_index_says(fault: str, lab: Bench, index: Index) -> None:
    tool = index.add(*unique())
    setattr(tool.faults, fault, 99)
    project(lab)
    message = refused(lab.exec("train.py"))
    assert tool.filename in message
    assert len(tool.requests) < 10


def test_a_wheel_that_escapes_is_refused_before_anything_is_built(lab: Bench, index: Index) -> None:
    tool = index.add(*unique(files={"../../../../../etc/evil": b"x"}))
    project(lab)
    done = lab.exec("train.py")
    message = refused(done)
    assert tool.filename in message
    assert "leads out of the environment" in message
    record = done.record
    assert (record.status, record.image) in (("failed", record.image), ("failed", ""))
    with client() as engine:
        digest = record.environment_digest.removeprefix("sha256:")
        assert not engine.images.list(f"reprorun/environment:{digest[:24]}")
    assert_valid(done.log_dir)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def is_made_again(lab: Bench, image: str) -> None:
    """What was damaged is noticed, and the same image comes of it all the same."""
    done = lab.exec("train.py")
    assert (done.code, done.out) == (0, "1.0\n"), done.err
    assert "is not what it was" in done.err
    assert environment_of(done.record).id == image


def test_a_flipped_byte_in_a_cached_wheel_is_found_when_its_layer_is_made(
    lab: Bench, index: Index
) -> None:
    tool = index.add(*unique())
    project(lab)
    first = lab.exec("train.py")
    assert first.code == 0, first.err
    image = environment_of(first.record).id
    forget(first.record)
    shutil.rmtree(Path(lab.env["XDG_CACHE_HOME"], "reprorun/layers"))
    path = cached_wheel(lab, tool)
    flip_a_byte(path)
    is_made_again(lab, image)
    assert path.read_bytes() == tool.data


def test_a_flipped_byte_in_a_kept_layer_is_found_and_it_is_made_anew(
    lab: Bench, index: Index
) -> None:
    index.add(*unique())
    project(lab)
    first = lab.exec("train.py")
    assert first.code == 0, first.err
    image = environment_of(first.record).id
    forget(first.record)
    (path,) = Path(lab.env["XDG_CACHE_HOME"], "reprorun/layers").glob("*.tar")
    whole = path.read_bytes()
    flip_a_byte(path)
    is_made_again(lab, image)
    assert path.read_bytes() == whole


# ---------------------------------------------------------------- the same again, only what is new


def test_two_builds_from_nothing_are_the_same_image(
    lab: Bench, index: Index, tmp_path: Path
) -> None:
    index.add(*unique(files={"big.bin": os.urandom(BIG)}))
    index.add(*unique("small"))
    project(lab, USE, "tool", "small")
    first = lab.exec("train.py")
    assert first.code == 0, first.err
    before = environment_of(first.record)
    with client() as engine:
        run = engine.images.get(first.record.image).id
    forget(first.record)
    env = {"XDG_CACHE_HOME": str(tmp_path / "another/cache")}
    words = ["sh", "-c", 'umask 077; exec "$@"', "sh", REPRORUN]
    second = lab.exec("train.py", env=env, program=words)
    assert second.code == 0, second.err
    after = environment_of(second.record)
    assert first.record.environment_digest == second.record.environment_digest
    assert layers(before) == layers(after)
    assert before.id == after.id
    with client() as engine:
        assert engine.images.get(second.record.image).id == run


def test_a_package_that_is_added_sends_only_its_layer(lab: Bench, index: Index) -> None:
    big = index.add(*unique(files={"big.bin": os.urandom(BIG)}))
    index.add(*unique("small"))
    project(lab)
    first = lab.exec("train.py")
    assert first.code == 0, first.err
    below = layers(environment_of(first.record))
    cached_wheel(lab, big).unlink()  # what is on the engine is neither fetched nor read
    asked = len(big.requests)
    lab.write({"requirements.txt": "tool\nsmall\n"})
    lab.commit()
    second = lab.exec("train.py")
    assert (second.code, second.out) == (0, "1.0\n"), second.err
    above = layers(environment_of(second.record))
    assert above[:-1] == below[:-1]  # the base and the big one; then all that is small
    assert above[-1] != below[-1]
    assert len([r for r in big.requests if r.path.endswith(".whl")][asked:]) == 0


def test_a_changed_script_leaves_the_environment_alone(lab: Bench, index: Index) -> None:
    index.add(*unique())
    project(lab)
    first = lab.exec("train.py")
    image = environment_of(first.record)
    lab.write({"train.py": USE + "print('more')\n"})
    lab.commit()
    index.stop()
    second = lab.exec("train.py")
    assert (second.code, second.out) == (0, "1.0\nmore\n"), second.err
    assert environment_of(second.record).id == image.id
    assert first.record.image != second.record.image
    assert "reprorun: environment" not in second.err
    with client() as engine:
        made = engine.images.get(second.record.image)
        assert layers(made)[:-1] == layers(image)


def test_equal_inputs_are_nothing_to_build(lab: Bench, index: Index) -> None:
    index.add(*unique())
    project(lab)
    first = lab.exec("train.py")
    index.stop()
    second = lab.exec("train.py", flags=["--offline"])
    assert (second.code, second.out) == (0, "1.0\n"), second.err
    assert second.record.image == first.record.image


def test_rebuild_asks_the_index_again(lab: Bench, index: Index) -> None:
    index.add(*unique())
    project(lab)
    assert lab.exec("train.py").out == "1.0\n"
    index.add(*unique(version="2.0"))
    assert lab.exec("train.py").out == "1.0\n"
    assert lab.exec("train.py", flags=["--rebuild"]).out == "2.0\n"


def test_offline_says_what_is_missing(lab: Bench, index: Index) -> None:
    index.add(*unique())
    project(lab)
    message = refused(lab.exec("train.py", flags=["--offline"]))
    assert "tool" in message
    assert "--offline" in message
    assert index.requests == []


def test_a_login_of_the_index_is_nowhere(lab: Bench) -> None:
    with Index(user="user", password="s3cret") as guarded:
        guarded.add(*unique())
        lab.env["UV_DEFAULT_INDEX"] = guarded.url_with_login
        project(lab)
        done = lab.exec("train.py", flags=["-v"])
        assert (done.code, done.out) == (0, "1.0\n"), done.err
    assert "s3cret" not in done.err
    for path in done.log_dir.rglob("*"):
        assert not path.is_file() or b"s3cret" not in path.read_bytes(), path
    with client() as engine:
        assert "s3cret" not in str(engine.images.get(done.record.image).attrs)


# ---------------------------------------------------------------- base images


@pytest.fixture
def base() -> Iterator[Callable[[str], str]]:
    """Makes base images with the classic builder; they are gone at the end."""
    tags = []

    def make(text: str, **files: bytes) -> str:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in {"Dockerfile": text.encode(), **files}.items():
                info = tarfile.TarInfo(name.replace("__", "."))
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        out.seek(0)
        tags.append(f"reprorun-test/base:{uuid.uuid4().hex[:12]}")
        with client() as engine:
            engine.images.build(fileobj=out, custom_context=True, tag=tags[-1], rm=True)
        return tags[-1]

    yield make
    with client() as engine:
        for tag in tags:
            engine.images.remove(tag, force=True)


ODD = f"""\
FROM {BASE}
ENV KEPT="of the base" LANG=de_DE.UTF-8
VOLUME /data
USER nobody
EXPOSE 80
HEALTHCHECK --interval=1s CMD exit 1
STOPSIGNAL SIGKILL
SHELL ["/bin/nothing"]
LABEL theirs=1
WORKDIR /nowhere
ENTRYPOINT ["/bin/false"]
CMD ["x"]
ONBUILD RUN exit 1
"""


def test_of_a_base_image_only_what_belongs_to_an_experiment(
    lab: Bench, index: Index, base: Callable[[str], str]
) -> None:
    index.add(*unique())
    look = "import os, tool; print(os.environ['KEPT'], os.environ['LANG'], os.getcwd())\n"
    project(lab, look)
    done = lab.exec("train.py", flags=["--base-image", base(ODD)])
    assert (done.code, done.out) == (0, "of the base C.UTF-8 /workspace\n"), done.err
    config = environment_of(done.record).attrs["Config"]
    for name in ("Volumes", "OnBuild", "User", "ExposedPorts", "Healthcheck", "StopSignal"):
        assert not config.get(name), name
    assert config["Labels"]["theirs"] == "1"
    assert not config.get("Shell")


@pytest.mark.parametrize(
    ("files", "flags", "message"),
    [
        ({}, ["--python", "3.9"], "--python 3.9 was asked for, but the base image"),
        (
            {"pyproject.toml": "[project]\nname='x'\nversion='1'\nrequires-python='>=3.12'\n"},
            [],
            "pyproject.toml wants Python >=3.12, but the base image",
        ),
    ],
)
def test_a_base_image_of_another_python(
    files: dict[str, str], flags: list[str], message: str, lab: Bench
) -> None:
    lab.write({"train.py": HELLO, **files})
    lab.commit()
    done = lab.exec("train.py", flags=flags)
    assert (done.code, done.out) == (2, "")
    assert message in one_message(done.err)


def test_a_python_that_a_file_names_against_the_image_that_is_named(lab: Bench) -> None:
    lab.write({"train.py": HELLO, ".python-version": "3.12\n"})
    lab.commit()
    done = lab.exec("train.py")
    assert (done.code, done.out) == (0, "hello\n"), done.err
    assert ".python-version names Python 3.12; the base image" in done.err
    del lab.env["REPRORUN_BASE_IMAGE"]
    done = lab.exec("train.py", flags=["--offline"])
    assert done.code == 125
    assert "python:3.12-slim" in one_message(done.err)


def test_wheels_for_the_python_of_the_base_image(lab: Bench, index: Index) -> None:
    for minor in (8, 9, 10, 11, 12):
        index.add(*unique(version="1.0", tag=f"cp3{minor}-none-any"))
    project(lab)
    for image, wanted in ((BASE, "cp311"), (OLD_BASE, "cp39")):
        done = lab.exec("train.py", flags=["--base-image", image])
        assert done.code == 0, done.err
        assert wanted in done.record.packages[0].wheel.name


# ---------------------------------------------------------------- lock


def test_a_lock_gives_the_same_environment(lab: Bench, index: Index) -> None:
    index.add(*unique())
    project(lab)
    by_name = lab.exec("train.py")
    locked = lab.reprorun("lock", "train.py")
    assert (locked.code, locked.out) == (0, ""), locked.err
    text = (lab.root / "requirements.lock").read_text()
    assert text.count("--hash=sha256:") == 1
    index.add(*unique(version="2.0"))
    by_lock = lab.exec("train.py", flags=["--lock", "requirements.lock"])
    assert (by_lock.code, by_lock.out) == (0, "1.0\n"), by_lock.err
    assert by_lock.record.environment_digest == by_name.record.environment_digest
    assert by_lock.record.requirements == "requirements.lock"
    printed = lab.reprorun("lock", "--rebuild", "-o", "-", "train.py")
    assert "tool==2.0" in printed.out


def test_a_lock_still_holds_when_another_wheel_of_that_version_comes(
    lab: Bench, index: Index
) -> None:
    first = index.add(*unique())
    project(lab)
    assert lab.reprorun("lock", "train.py").code == 0
    index.add(*unique(tag="cp311-cp311-manylinux_2_17_x86_64"))
    done = lab.exec("train.py", flags=["--lock", "requirements.lock", "--rebuild"])
    assert (done.code, done.out) == (0, "1.0\n"), done.err
    assert done.record.packages[0].wheel.sha256 == first.sha256


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("sha256:", "sha256:0", 2),
        ("==1.0", "==2.0", 125),
        ("==1.0", ">=1.0", 2),
        ("--hash", "--nothing", 2),
        ("tool==1.0", "other==1.0", 125),
    ],
)
def test_a_lock_that_was_edited_by_hand(
    old: str, new: str, code: int, lab: Bench, index: Index
) -> None:
    index.add(*unique())
    index.add(*unique(version="2.0"))
    index.add(*unique("other"))
    project(lab, USE, "tool==1.0")
    assert lab.reprorun("lock", "train.py").code == 0
    path = lab.root / "requirements.lock"
    path.write_text(path.read_text().replace(old, new))
    done = lab.exec("train.py", flags=["--lock", "requirements.lock"])
    assert (done.code, done.out) == (code, ""), done.err
    assert "Traceback" not in done.err


# ---------------------------------------------------------------- gc


def test_what_gc_would_remove(lab: Bench, index: Index) -> None:
    tool = index.add(*unique())
    old = index.add(*unique("old"))
    project(lab)
    done = lab.exec("train.py")
    assert done.code == 0, done.err
    path = cached_wheel(lab, old)
    path.parent.mkdir(parents=True)
    path.write_bytes(old.data)

    def dry(*words: str) -> tuple[list[str], list[str]]:
        said = lab.reprorun("gc", "--dry-run", "--json", *words)
        assert said.code == 0, said.err
        listed = json.loads(said.out)
        return [e["name"] for e in listed if e["kind"] == "wheel"], [e["name"] for e in listed]

    wheels, everything = dry()
    assert wheels == [old.filename]
    assert done.record.image not in everything
    assert not set(environment_of(done.record).tags) & set(everything)
    image = done.record.image
    (done.log_dir / "run.json").rename(done.log_dir.parent / "kept.json")
    wheels, everything = dry()
    assert sorted(wheels) == sorted([old.filename, tool.filename])
    assert image in everything
    (done.log_dir.parent / "kept.json").rename(done.log_dir / "run.json")
    assert dry()[0] == [old.filename]
    assert path.exists()
    text = lab.reprorun("gc", "--dry-run")
    assert "would be removed" in text.out


# ---------------------------------------------------------------- --file and apt.txt


def test_a_dockerfile_of_the_projects_own(lab: Bench, index: Index) -> None:
    index.add(*unique())
    text = f"FROM {BASE}\nCOPY data.txt secret.txt* /data/\nRUN echo made >/made\nENV OWN=yes\n"
    look = (
        "import os, tool\n"
        "print(open('/data/data.txt').read(), os.listdir('/data'), os.environ['OWN'])\n"
    )
    project(
        lab, look, **{
            "docker/Dockerfile": text, "docker/data.txt": "1", "docker/secret.txt": "s",
            "docker/.dockerignore": "secret*\n",
        },
    )  # fmt: skip
    done = lab.exec("train.py", flags=["--file", "docker/Dockerfile"])
    assert (done.code, done.out) == (0, "1 ['data.txt'] yes\n"), done.err
    record = done.record
    assert record.base_image is not None
    assert record.base_image.dockerfile == "docker/Dockerfile"
    again = lab.exec("train.py", flags=["--file", "docker/Dockerfile", "--offline"])
    assert again.record.image == record.image


def test_a_dockerfile_that_fails(lab: Bench) -> None:
    text = f"FROM {BASE}\nRUN echo the reason is here && exit 3\n"
    lab.write({"train.py": HELLO, "Dockerfile": text})
    lab.commit()
    message = refused(lab.exec("train.py", flags=["--file", "Dockerfile"]))
    assert "the reason is here" in message


APT = """\
FROM {base}
ADD repo.tar /repo/
RUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* \
    && echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list
"""


def test_system_packages_of_apt_txt(lab: Bench, base: Callable[..., str], tmp_path: Path) -> None:
    repo = tar_of(debian_repository(tmp_path / "repo"))
    image = base(APT.format(base=BASE), repo__tar=repo)
    look = "import subprocess; print(subprocess.check_output(['say-hello'], text=True), end='')\n"
    lab.write({"train.py": look, "apt.txt": "# greets\nsay-hello\n"})
    lab.commit()
    flags = ["--base-image", image]
    done = lab.exec("train.py", flags=flags)
    assert (done.code, done.out) == (0, "hello from a package\n"), done.err
    found = done.record.base_image
    assert found is not None
    assert found.apt == ("say-hello",)
    assert "say-hello=1.2-3" in found.installed
    assert len(found.installed) > 20
    assert found.ref == image
    again = lab.exec("train.py", flags=[*flags, "--offline"])
    assert again.record.image == done.record.image
    lab.write({"apt.txt": "no-such-package-at-all\n"})
    lab.commit()
    assert "no-such-package-at-all" in refused(lab.exec("train.py", flags=flags))


def debian_repository(place: Path) -> Path:
    """An apt repository with one package."""
    root = place.parent / "say-hello"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: say-hello\nVersion: 1.2-3\nArchitecture: all\nMaintainer: Test <t@e.invalid>\n"
        "Description: says hello\n"
    )
    (root / "usr/bin/say-hello").write_text("#!/bin/sh\necho hello from a package\n")
    (root / "usr/bin/say-hello").chmod(0o755)
    place.mkdir()
    deb = place / "say-hello_1.2-3_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(root), str(deb)],
        check=True, capture_output=True,
    )  # fmt: skip
    data = deb.read_bytes()
    control = (root / "DEBIAN/control").read_text()
    (place / "Packages").write_text(
        f"{control}Filename: ./{deb.name}\nSize: {len(data)}\n"
        f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
    )
    return place


def tar_of(directory: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, path.name)
    return out.getvalue()


# ---------------------------------------------------------------- packages that offer only source

OWN = '[build-system]\nrequires = [{requires}]\nbuild-backend = "own"\nbackend-path = ["."]\n'
READY = """
import os, shutil, sys
{more}
def build_wheel(directory, config_settings=None, metadata_directory=None):
    print("building with", sys.version_info[:2])
    {inside}
    shutil.copy("ready/" + os.listdir("ready")[0], directory)
    return os.listdir("ready")[0]
"""


def source(
    wheel: tuple[str, bytes],
    *,
    name: str = "tool",
    requires: str = "",
    more: str = "",
    inside: str = "pass",
) -> tuple[str, bytes]:
    """A source distribution whose own backend hands out a ready wheel."""
    backend = READY.format(more=more, inside=inside).encode()
    files = {"own.py": backend, f"ready/{wheel[0]}": wheel[1]}
    return make_sdist(name, "1.0", pyproject=OWN.format(requires=requires), files=files)


@pytest.fixture
def nothing_left() -> Iterator[Callable[[], None]]:
    """Checks that no container and no image of a build was left behind."""
    before = set(of_builds())

    def check() -> None:
        for _ in range(60):
            left = {name: item for name, item in of_builds().items() if name not in before}
            if not left:
                return
            time.sleep(0.5)  # those of others at work on the same engine
        for name, remove in left.items():
            with suppress(docker.errors.APIError):
                remove(name)
        pytest.fail(f"left behind: {list(left)}")

    yield check
    check()


def of_builds() -> dict[str, Callable[[str], None]]:
    """The containers and the images' names of builds, and how each is removed."""

    def remove_container(name: str) -> None:
        with client() as engine:
            engine.containers.get(name).remove(force=True)

    def remove_image(name: str) -> None:
        with client() as engine:
            engine.images.remove(name, force=True)

    with client() as engine:
        label = {"label": "reprorun=build"}
        containers = engine.containers.list(all=True, filters=label, ignore_removed=True)
        images = images_of(engine, label="reprorun.kind=build")
        return {
            **{container.name: remove_container for container in containers},
            **{tag: remove_image for image in images for tag in image.tags or [image.id]},
        }


def test_a_package_that_offers_only_source_is_built(
    lab: Bench, index: Index, nothing_left: Callable[[], None]
) -> None:
    index.add(*unique("six"))
    sdist = index.add(*source(unique(requires=["six"])))
    project(lab, "import tool, six; print(tool.VERSION, six.VERSION)\n")
    done = lab.exec("train.py")
    assert (done.code, done.out) == (0, "1.0 1.0\n"), done.err
    assert "building" in done.err
    six, tool = done.record.packages
    assert (six.source, six.name) == (None, "six")
    assert tool.source is not None
    assert (tool.source.kind, tool.source.sha256) == ("sdist", sdist.sha256)
    assert "built from source" in (done.log_dir / "requirements.lock").read_text()
    nothing_left()
    again = lab.exec("train.py", flags=["--offline"])
    assert again.record.environment_digest == done.record.environment_digest
    assert "building" not in again.err


def test_nothing_of_it_is_run_on_the_host(lab: Bench, index: Index, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    write = f"open({str(trace)!r}, 'w')"
    index.add(*source(unique(), more=f"try: {write}\nexcept OSError: pass\n"))
    project(lab)
    assert lab.exec("train.py").code == 0
    assert not trace.exists()


def test_what_a_build_needs_comes_from_the_index(
    lab: Bench, index: Index, nothing_left: Callable[[], None]
) -> None:
    index.add(*unique("maker"))
    index.add(*unique("extra"))
    more = "import maker\ndef get_requires_for_build_wheel(s=None): return ['extra', 'maker']\n"
    index.add(*source(unique(), requires='"maker"', more=more, inside="import extra"))
    project(lab)
    done = lab.exec("train.py")
    assert (done.code, done.out) == (0, "1.0\n"), done.err
    (tool,) = done.record.packages
    assert tool.source is not None
    assert tool.source.built_with == ("extra==1.0", "maker==1.0")
    nothing_left()


def test_a_build_whose_needs_have_to_be_built_too(
    lab: Bench, index: Index, nothing_left: Callable[[], None]
) -> None:
    index.add(*source(unique("maker"), name="maker"))
    index.add(*source(unique(), requires='"maker"', more="import maker"))
    project(lab)
    done = lab.exec("train.py")
    assert (done.code, done.out) == (0, "1.0\n"), done.err
    nothing_left()


def test_a_build_that_fails_shows_its_last_lines(
    lab: Bench, index: Index, nothing_left: Callable[[], None]
) -> None:
    inside = "print(*range(100), sep='\\n'); raise RuntimeError('no compiler here')"
    index.add(*source(unique(), inside=inside))
    project(lab)
    message = refused_build(lab.exec("train.py"))
    assert "tool 1.0 has no wheel for Python 3.11" in message
    assert "no compiler here" in message
    assert "apt.txt" in message
    assert "\n  50\n" not in message
    nothing_left()


def refused_build(done: Done) -> str:
    """The message of a build that failed; a traceback in it is the build's own."""
    assert (done.code, done.out) == (125, ""), done.err
    _, marker, message = done.err.rpartition("reprorun: error: ")
    assert marker
    assert len(message.splitlines()) < 30
    return message


@pytest.mark.parametrize(
    ("inside", "wanted"),
    [
        ("return None", "gave 0 wheels"),
        ("open(directory + '/a-1-py3-none-any.whl', 'w')", "gave 2 wheels"),
        ("sys.exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 9)", "exit code 137"),
    ],
)
def test_a_build_that_gives_something_else(
    inside: str, wanted: str, lab: Bench, index: Index, nothing_left: Callable[[], None]
) -> None:
    index.add(*source(unique(), inside=inside))
    project(lab)
    assert wanted in refused_build(lab.exec("train.py"))
    nothing_left()


@pytest.mark.parametrize("wheel", [unique("evil"), ("tool-1.0-py3-none-any.whl", b"no wheel")])
def test_a_build_that_gives_the_wheel_of_something_else(
    wheel: tuple[str, bytes], lab: Bench, index: Index, nothing_left: Callable[[], None]
) -> None:
    index.add(*source(wheel))
    project(lab)
    message = refused_build(lab.exec("train.py"))
    assert "evil" in message or "is no wheel" in message
    nothing_left()


def test_a_backend_that_is_not_there(lab: Bench, index: Index) -> None:
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "nowhere.to_be.found"\n'
    index.add(*make_sdist("tool", "1.0", pyproject=pyproject))
    project(lab)
    assert "nowhere" in refused_build(lab.exec("train.py"))


def test_a_flipped_byte_in_a_cached_source_is_found(lab: Bench, index: Index) -> None:
    name, packed = source(unique())
    sdist = index.add(name, gzip.compress(gzip.decompress(packed), compresslevel=0))
    project(lab)
    first = lab.exec("train.py")
    assert first.code == 0, first.err
    path = cached_wheel(lab, sdist)
    path.write_bytes(path.read_bytes().replace(b"building with", b"bui1ding with"))
    done = lab.exec("train.py", flags=["--rebuild", "-v"])
    assert "bui1ding with" not in done.err
    assert path.read_bytes() == sdist.data or done.code == 125


def test_a_build_that_gives_another_version(lab: Bench, index: Index) -> None:
    index.add(*source(unique(version="2.0")))
    project(lab, USE, "tool==1.0")
    assert "2.0" in refused_build(lab.exec("train.py"))


def test_two_runs_at_once_make_one_environment(
    lab: Bench, index: Index, nothing_left: Callable[[], None]
) -> None:
    index.add(*unique(files={"big.bin": os.urandom(BIG)}))
    index.add(*source(unique("maker"), name="maker"))
    project(lab, USE, "tool", "maker")
    started = [lab.start("train.py") for _ in range(2)]
    ended = [process.communicate(timeout=100) for process, _ in started]
    for (process, _), (out, err) in zip(started, ended, strict=True):
        assert (process.returncode, out) == (0, b"1.0\n"), err.decode()
    nothing_left()
    records = [store.read_record(str(log_dir)) for _, log_dir in started]
    assert len({record.environment_digest for record in records}) == 1
    assert len({record.image for record in records}) == 1


@pytest.fixture
def git_project(tmp_path: Path, lab: Bench) -> Path:
    """A package in a repository on this machine."""
    name, data = unique()
    root = tmp_path / "upstream"
    for path, content in {
        "sub/pyproject.toml": OWN.format(requires="").encode(),
        "sub/own.py": READY.format(more="", inside="pass").encode(),
        f"sub/ready/{name}": data,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    identity = ["-c", "user.name=T", "-c", "user.email=t@e.invalid"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "1"]):
        subprocess.run(["git", *identity, *words], cwd=root, check=True, env=lab.env)
    return root


def test_a_package_of_a_repository_is_built_and_pinned(
    lab: Bench, git_project: Path, nothing_left: Callable[[], None]
) -> None:
    project(lab, USE, f"tool @ git+{git_project.as_uri()}@main#subdirectory=sub")
    done = lab.exec("train.py")
    assert (done.code, done.out) == (0, "1.0\n"), done.err
    (tool,) = done.record.packages
    assert tool.source is not None
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=git_project, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert (tool.source.kind, tool.source.commit) == ("git", head)
    assert lab.reprorun("lock", "train.py").code == 0
    by_lock = lab.exec("train.py", flags=["--lock", "requirements.lock"])
    assert by_lock.code == 0, by_lock.err
    assert by_lock.record.environment_digest == done.record.environment_digest
    nothing_left()
