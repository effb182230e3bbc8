"""What every engine does alike: the same tests pass on the fake and on the real Docker Engine."""

from __future__ import annotations

import io
import os
import tarfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from reprorun.engine import Engine
from reprorun.errors import BuildFailed, EngineError, ImageMissing
from reprorun.model import ContainerSpec, GpuRequest, Limits, Mount

from ..kit import BASE, Kit

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.engine)])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    """An engine with the base image, that cleans up what the test made."""
    with Kit.of(request.param) as kit:
        yield kit


def spec(kit: Kit, script: str, **changes: object) -> ContainerSpec:
    made = ContainerSpec(
        image=kit.base,
        command=("sh", "-c", script),
        name=f"reprorun-test-{uuid.uuid4().hex[:12]}",
        workdir="/tmp",
        labels={"reprorun": "test"},
    )
    return msgspec.structs.replace(made, **changes)


def run(engine: Engine, wanted: ContainerSpec) -> tuple[int | None, bytes, bytes]:
    container = engine.create(wanted)
    with closing(engine.attach(container)) as pieces:
        engine.start(container)
        printed = list(pieces)
    state = engine.wait(container)
    assert not state.running
    out = b"".join(data for stream, data in printed if stream == "stdout")
    err = b"".join(data for stream, data in printed if stream == "stderr")
    return state.exit_code, out, err


def context(dockerfile: str, **added: bytes) -> list[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in {"Dockerfile": dockerfile.encode(), **added}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return [buffer.getvalue()]


def a_tar(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o666
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


# ---------------------------------------------------------------- images


def test_info_names_the_engine(kit: Kit) -> None:
    info = kit.engine.info()
    assert info.name == kit.name
    assert info.version
    assert info.machine


def test_an_image_that_is_there_and_one_that_is_not(kit: Kit) -> None:
    image = kit.engine.image(kit.base)
    assert image is not None
    assert image.layers
    assert kit.engine.image(image.id) == image
    assert kit.engine.image("reprorun-test/no-such-image:1") is None


def test_an_image_that_can_not_be_pulled_is_named(kit: Kit) -> None:
    with pytest.raises(ImageMissing, match="reprorun-test/no-such-image:1"):
        kit.engine.pull("reprorun-test/no-such-image:1", print)


def test_building_adds_layers_and_labels(kit: Kit) -> None:
    text = f'FROM {kit.base}\nADD a.tar /tmp/\nLABEL one="1" two="2 3"\n'
    lines: list[str] = []
    image = kit.engine.build(
        context(text, **{"a.tar": a_tar("x.txt", b"x")}), kit.tag("built"), lines.append
    )
    parent = kit.engine.image(kit.base)
    assert parent is not None
    assert image.layers[: len(parent.layers)] == parent.layers
    assert len(image.layers) == len(parent.layers) + 1
    assert image.labels["one"] == "1"
    assert image.labels["two"] == "2 3"
    assert kit.engine.image(kit.tag("built")) == image
    assert any("FROM" in line for line in lines)


def test_the_same_content_gives_the_same_layers(kit: Kit) -> None:
    text = f"FROM {kit.base}\nADD a.tar /tmp/\n"
    tar = a_tar("x.txt", b"x")
    first = kit.engine.build(context(text, **{"a.tar": tar}), kit.tag("first"), print)
    again = kit.engine.build(context(text, **{"a.tar": tar}), kit.tag("again"), print)
    other = kit.engine.build(
        context(text, **{"a.tar": a_tar("x.txt", b"y")}), kit.tag("other"), print
    )
    assert first.layers == again.layers
    assert first.layers != other.layers


def test_a_build_that_fails_makes_no_image(kit: Kit) -> None:
    text = "FROM reprorun-test/no-such-image:1\nADD a.tar /tmp/\n"
    with pytest.raises(BuildFailed):
        kit.engine.build(context(text, **{"a.tar": a_tar("x", b"x")}), kit.tag("bad"), print)
    assert kit.engine.image(kit.tag("bad")) is None


# ---------------------------------------------------------------- running


def test_output_and_exit_code(kit: Kit) -> None:
    script = "echo to stdout; echo to stderr >&2; exit 3"
    assert run(kit.engine, spec(kit, script)) == (3, b"to stdout\n", b"to stderr\n")


def test_a_process_that_kills_itself(kit: Kit) -> None:
    code, out, _ = run(kit.engine, spec(kit, "echo before; kill -KILL $$; echo after"))
    assert (code, out) == (137, b"before\n")


def test_output_comes_while_it_runs(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "echo first; sleep 30"))
    pieces = kit.engine.attach(container)
    kit.engine.start(container)
    began = time.monotonic()
    assert next(pieces) == ("stdout", b"first\n")
    assert time.monotonic() - began < 15
    assert kit.engine.state(container).running
    kit.engine.kill(container)
    assert list(pieces) == []


def test_stop_interrupts(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "", command=("sleep", "60")))
    kit.engine.start(container)
    began = time.monotonic()
    kit.engine.stop(container, 30)
    assert time.monotonic() - began < 15
    assert kit.engine.wait(container).exit_code == 130


def test_stop_kills_what_ignores_the_interrupt(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "trap '' INT; echo ready; sleep 60"))
    with closing(kit.engine.attach(container)) as pieces:
        kit.engine.start(container)
        assert next(pieces) == ("stdout", b"ready\n")
    kit.engine.stop(container, 1)
    assert kit.engine.wait(container).exit_code == 137


def test_wait_returns_when_another_thread_kills(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "sleep 60"))
    kit.engine.start(container)
    threading.Timer(0.3, kit.engine.kill, [container]).start()
    assert kit.engine.wait(container).exit_code == 137


def test_killing_what_has_exited_does_nothing(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "exit 0"))
    kit.engine.start(container)
    kit.engine.wait(container)
    kit.engine.kill(container)
    assert kit.engine.state(container).exit_code == 0


# ---------------------------------------------------------------- files


def test_a_mounted_directory_takes_what_is_written(kit: Kit, tmp_path: os.PathLike[str]) -> None:
    mount = Mount(source=str(tmp_path), target="/log", read_only=False)
    user = f"{os.getuid()}:{os.getgid()}"
    run(kit.engine, spec(kit, "echo hello >/log/x.txt", mounts=(mount,), user=user))
    path = os.path.join(tmp_path, "x.txt")
    with open(path) as file:
        assert file.read() == "hello\n"
    assert os.stat(path).st_uid == os.getuid()


def test_changes_and_copies(kit: Kit, tmp_path: os.PathLike[str]) -> None:
    text = f"FROM {kit.base}\nADD a.tar /work/\n"
    files = a_tar("old.txt", b"old") + b""
    image = kit.engine.build(context(text, **{"a.tar": files}), kit.tag("changes"), print)
    mount = Mount(source=str(tmp_path), target="/log", read_only=False)
    script = "echo new >/work/new.txt; rm /work/old.txt; echo elsewhere >/log/x"
    container = kit.engine.create(spec(kit, script, image=image.id, mounts=(mount,)))
    kit.engine.start(container)
    kit.engine.wait(container)
    kinds = {change.path: change.kind for change in kit.engine.changes(container)}
    assert kinds["/work/new.txt"] == "added"
    assert kinds["/work/old.txt"] == "deleted"
    assert "/log/x" not in kinds
    data = b"".join(kit.engine.copy_out(container, "/work/new.txt"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        content = tar.extractfile("new.txt")
        assert content is not None
        assert content.read() == b"new\n"


# ---------------------------------------------------------------- refusals


def test_gpus_that_are_not_there_are_refused(kit: Kit) -> None:
    wanted = spec(kit, "exit 0", gpus=GpuRequest(count=1))
    with pytest.raises(EngineError, match="no GPU runtime"):
        run(kit.engine, wanted)


def test_an_image_that_is_gone_is_refused(kit: Kit) -> None:
    with pytest.raises(EngineError, match="No such image"):
        kit.engine.create(spec(kit, "exit 0", image="reprorun-test/no-such-image:1"))


def test_a_container_that_is_gone(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "exit 0"))
    kit.engine.remove(container)
    kit.engine.remove(container)  # again: nothing happens
    with pytest.raises(EngineError, match="No such container"):
        kit.engine.state(container)


def test_removing_ends_what_runs(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "sleep 60", limits=Limits(pids=64)))
    kit.engine.start(container)
    kit.engine.remove(container)
    with pytest.raises(EngineError):
        kit.engine.state(container)


def test_the_base_is_what_the_kit_says(kit: Kit) -> None:
    assert kit.base == (BASE if kit.name == "docker" else "base:1")
