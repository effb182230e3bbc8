"""The guest side on old interpreters, in containers that have no other.

Python 3.8 is taken from this machine (`python3.8` on the PATH, or pyenv's) and put into an image.
Where there is none, Debian bullseye's Python 3.9 is the oldest that is proved, and the tests for
3.8 are not collected.
"""

from __future__ import annotations

import glob
import io
import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator

import pytest

from ..kit import BASE
from .bench import CHECKOUT, OLD_BASE, Bench, client
from .complete import assert_complete

_TESTS_OF_ITS_OWN = ("test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "__pycache__")
_TAG = f"reprorun-test/python:3.8-{uuid.uuid4().hex[:12]}"


def find_python38() -> str | None:
    """The prefix of a Python 3.8 of this machine."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    on_path = shutil.which("python3.8")
    candidates = sorted(glob.glob(f"{pyenv}/versions/3.8*/bin/python3.8"))
    for candidate in [*([on_path] if on_path else []), *candidates]:
        code = "import sys; print(sys.base_prefix, *sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        prefix, _, version = done.stdout.strip().partition(" ")
        if done.returncode == 0 and version == "3 8":
            return prefix
    return None


PYTHON38 = find_python38()
VERSIONS = ["3.9", *(["3.8"] if PYTHON38 else [])]


@pytest.fixture(scope="module")
def images(session: object) -> Iterator[dict[str, str]]:
    """A base image for each version."""
    found = {"3.9": OLD_BASE}
    if PYTHON38 is None:
        yield found
        return
    with client() as engine:
        engine.images.build(fileobj=context(PYTHON38), custom_context=True, tag=_TAG, rm=True)
        yield {**found, "3.8": _TAG}
        engine.images.remove(_TAG, force=True)


def context(prefix: str) -> io.BytesIO:
    """A build of the base image with the Python of this machine at the same place, and no other."""
    dockerfile = (
        f"FROM {BASE}\nADD python.tar /\nLABEL reprorun=test\n"
        "RUN rm -rf /usr/bin/python3* /usr/lib/python3*\n"
    )
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, content in (("Dockerfile", dockerfile.encode()), ("python.tar", pack(prefix))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    whole.seek(0)
    return whole


def pack(prefix: str) -> bytes:
    """A Python's files, its parents for everybody to enter, and a link where programs are."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for part in reversed([prefix, *parents(prefix)]):
            directory = tarfile.TarInfo(part.strip("/"))
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
        for part in ("bin/python3.8", "lib"):
            tar.add(f"{prefix}/{part}", f"{prefix}/{part}".strip("/"), filter=without_tests)
        for name in ("python", "python3"):
            link = tarfile.TarInfo(f"usr/local/bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, f"{prefix}/bin/python3.8"
            tar.addfile(link)
    return packed.getvalue()


def parents(path: str) -> list[str]:
    above = os.path.dirname(path)
    return [] if above == "/" else [above, *parents(above)]


def without_tests(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    unneeded = member.name.endswith(".a") or "/site-packages/" in member.name
    named = os.path.basename(member.name) in _TESTS_OF_ITS_OWN
    return None if unneeded or named else member.replace(uid=0, gid=0, deep=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_guest_works(bench: Bench, images: dict[str, str], version: str) -> None:
    shutil.copy(CHECKOUT / "tests/guest_selftest.py", bench.root)
    bench.commit()
    done = bench.exec("guest_selftest.py", flags=["--base-image", images[version]])
    assert (done.code, done.out) == (0, f"guest self-test passed on Python {version}\n"), done.err
    base = done.record.base_image
    assert base is not None
    assert base.python_minor == version


@pytest.mark.parametrize("version", VERSIONS)
def test_experiments_run(bench: Bench, images: dict[str, str], version: str) -> None:
    bench.take("wrapped")
    bench.commit()
    flags = ["--base-image", images[version], "--python", version, "-P", "label=old"]
    done = bench.exec("train.py", "0.5", flags=flags)
    record = assert_complete(done, bench, "train.py")
    (name,) = record.sub_records
    called = json.loads((done.log_dir / name / "called.json").read_bytes())
    assert called == {"lr": 0.5, "layers": [8, 8], "label": "old", "mode": "last"}


@pytest.mark.parametrize("version", VERSIONS)
def test_launching_from_inside(bench: Bench, images: dict[str, str], version: str) -> None:
    bench.take("launcher")
    bench.commit()
    done = bench.exec("launch.py", "closure", flags=["--base-image", images[version]])
    record = assert_complete(done, bench, "launch.py")
    assert done.out.splitlines()[-1] == "the product is 42"
    assert len(record.sub_records) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_packages_are_those_of_that_python(
    bench: Bench, images: dict[str, str], version: str
) -> None:
    code = "import sys, click\nprint(click.__version__, *sys.version_info[:2])\n"
    bench.write({"train.py": code, "requirements.txt": "click<9\n"})
    bench.commit()
    done = bench.exec("train.py", flags=["--base-image", images[version]])
    assert done.code == 0, done.err
    assert done.out.split()[1:] == version.split(".")
    assert f"click=={done.out.split()[0]}" in (done.log_dir / "requirements.lock").read_text()
