"""Platforms on the real engine: what can't be run is refused before anything is built.

The image for another platform is a stand-in: it holds nothing but a program for that processor.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import uuid
from collections.abc import Iterator

import pytest

from ..kit import BASE
from .bench import Bench, client, one_message, sha256

# the header of a program for arm64, and nothing behind it
_PROGRAM = struct.pack(
    "<16sHHIQQQIHHHHHH",
    *(b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), 2, 183, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0),
) + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120, 120, 4096)


@pytest.fixture
def arm() -> Iterator[str]:
    """An image for arm64 whose shell is a program for arm64."""
    tag = f"reprorun-test/arm:{uuid.uuid4().hex[:12]}"
    layer = packed({"bin/sh": _PROGRAM})
    layers = {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}"]}
    config = {"architecture": "arm64", "os": "linux", "config": {}, "rootfs": layers}
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    image = {
        "layer.tar": layer,
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with client() as engine:
        engine.images.load(packed(image))
        try:
            assert engine.images.get(tag).attrs["Architecture"] == "arm64"
            yield tag
        finally:
            engine.images.remove(tag, force=True)


def packed(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return data.getvalue()


@pytest.fixture
def project(bench: Bench) -> Bench:
    bench.write({"train.py": "import platform; print(platform.machine())\n"})
    bench.commit()
    return bench


def test_no_emulator(project: Bench, arm: str) -> None:
    done = project.exec("train.py", flags=["--platform", "linux/arm64", "--base-image", arm])
    assert done.code == 2, done.err
    message = one_message(done.err)
    assert f"{arm} is for aarch64 processors, but the engine runs on x86_64" in message
    assert "binfmt --install arm64" in message
    assert not (done.log_dir / "run.json").exists()


def test_a_base_image_of_another_platform(project: Bench) -> None:
    flags = ["--platform", "arm64", "--offline"]
    done = project.exec("train.py", flags=flags)
    assert done.code == 125
    message = one_message(done.err)
    assert f"{BASE} is there for linux/amd64, but linux/arm64 is asked for" in message
    assert not (done.log_dir / "run.json").exists()


def test_a_dockerfile_of_the_projects_own(project: Bench) -> None:
    project.write({"Dockerfile": f"FROM {BASE}\nCOPY built.txt /\n", "built.txt": "built\n"})
    project.write({"tell.py": "print(open('/built.txt').read(), end='')\n"})
    project.commit()
    far = project.exec("tell.py", flags=["--platform", "linux/arm64", "--file", "Dockerfile"])
    assert far.code == 2
    assert "built for the engine's own platform, linux/amd64" in one_message(far.err)
    assert "building" not in far.err
    assert not (far.log_dir / "run.json").exists()
    near = project.exec("tell.py", flags=["--platform", "linux/amd64", "--file", "Dockerfile"])
    assert (near.code, near.out) == (0, "built\n"), near.err
    assert near.record.platform == "linux/amd64"


def test_the_platform_is_recorded_and_kept(project: Bench) -> None:
    done = project.exec("train.py", flags=["--platform", "linux/amd64"])
    assert (done.code, done.out) == (0, "x86_64\n"), done.err
    assert done.record.platform == "linux/amd64"
    again = project.reprorun("rerun", str(done.log_dir), "--name", "again", cwd="..")
    assert again.code == 0, again.err
    other = project.reprorun("rerun", str(done.log_dir), "--platform", "linux/arm64", cwd="..")
    assert other.code == 2
    assert "is for linux/amd64, but linux/arm64 is asked for" in one_message(other.err)
