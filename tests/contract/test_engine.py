"""What every engine does alike: the same tests pass on the fake and on real ones."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import tarfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun.engine import Engine
from reprorun.engine.fake import FakeEngine
from reprorun.engine.images import read_saved, write_loadable
from reprorun.errors import (
    BuildFailed,
    ContainerMissing,
    EngineError,
    FilesUnseen,
    ImageMissing,
    LockFailed,
)
from reprorun.model import ContainerSpec, GpuRequest, Image, ImageSpec, Limits, Mount

from ..engines import BUILDX, asked_for
from ..kit import BASE, LABELS, Kit
from .conftest import AddressOf

pytestmark = pytest.mark.timeout(120)


REAL = [pytest.param(name, marks=pytest.mark.engine) for name in asked_for()]


@pytest.fixture(params=["fake", *REAL])
def kit(
    request: pytest.FixtureRequest,
    address_of: AddressOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Kit]:
    """An engine with the base image, that cleans up what the test made."""
    address = address_of(request.param)
    if request.param in BUILDX:
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker/cli-plugins").symlink_to(BUILDX[request.param])
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with Kit.of(request.param, address) as kit:
        yield kit


def spec(kit: Kit, script: str, **changes: object) -> ContainerSpec:
    made = ContainerSpec(
        image=kit.base,
        command=("sh", "-c", script),
        name=f"reprorun-test-{uuid.uuid4().hex[:12]}",
        workdir="/tmp",
        labels=LABELS,
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
    assert info.name == kit.name.partition("-")[0]
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


def test_a_users_dockerfile_is_built(kit: Kit) -> None:
    text = f'FROM {kit.base}\nADD a.tar /tmp/\nLABEL one="1" two="2 3"\n'
    lines: list[str] = []
    image = kit.engine.build(
        context(text, **{"a.tar": a_tar("x.txt", b"x")}), kit.tag("built"), lines.append
    )
    parent = base_of(kit)
    assert image.layers[: len(parent.layers)] == parent.layers
    assert len(image.layers) == len(parent.layers) + 1
    assert image.labels["one"] == "1"
    assert image.labels["two"] == "2 3"
    assert kit.engine.image(kit.tag("built")) == image
    assert any("FROM" in line for line in lines)


def test_a_build_that_fails_makes_no_image(kit: Kit) -> None:
    text = "FROM reprorun-test/no-such-image:1\nADD a.tar /tmp/\n"
    with pytest.raises(BuildFailed):
        kit.engine.build(context(text, **{"a.tar": a_tar("x", b"x")}), kit.tag("bad"), print)
    assert kit.engine.image(kit.tag("bad")) is None


# ---------------------------------------------------------------- making images


class ALayer:
    """A layer in memory that counts how often it is read."""

    def __init__(self, name: str, data: bytes, *, known: bool = False) -> None:
        self.title = name
        self._tar = a_tar(name, data)
        self.size = len(self._tar)
        self.digest = f"sha256:{hashlib.sha256(self._tar).hexdigest()}"
        self.diff_id = self.digest if known else None
        self.is_kept = False
        self.read = 0

    def pieces(self) -> Iterator[bytes]:
        self.read += 1
        yield self._tar[:600]
        yield self._tar[600:]

    def made(self, diff_id: str) -> None:
        self.diff_id = diff_id


def base_of(kit: Kit) -> Image:
    found = kit.engine.image(kit.base)
    assert found is not None
    return found


def made(kit: Kit, name: str, *layers: ALayer, held: int = 0, **fields: Any) -> Image:
    given = {"parent": base_of(kit).id, "dockerfile": lambda: dockerfile(kit, *layers), **fields}
    return kit.engine.make(ImageSpec(tag=kit.tag(name), **given), layers, held, print)


def dockerfile(kit: Kit, *layers: ALayer) -> str:
    adds = "".join(f"ADD layer-{n:02d}.tar /\n" for n in range(1, len(layers) + 1))
    return f"FROM {kit.base}\n{adds}"


def test_an_image_of_layers_and_settings(kit: Kit) -> None:
    one, two = ALayer("x.txt", b"1"), ALayer("y.txt", b"2" * 5000)
    image = made(kit, "made", one, two, env={"SOME": "a b=c", "LANG": "C"}, labels={"one": "2 3"})
    assert image.layers == (*base_of(kit).layers, one.digest, two.digest)
    assert (one.diff_id, two.diff_id) == (one.digest, two.digest)
    assert image.labels["one"] == "2 3"
    assert {"SOME=a b=c", "LANG=C"} <= set(image.env)
    theirs = {entry for entry in base_of(kit).env if not entry.startswith("LANG=")}
    assert theirs <= set(image.env)
    assert image.machine == base_of(kit).machine
    assert kit.engine.image(kit.tag("made")) == image
    assert (one.read, two.read) == (1, 1)


def test_layers_that_are_held_are_not_read(kit: Kit) -> None:
    one, two = ALayer("x.txt", b"1"), ALayer("y.txt", b"2")
    first = made(kit, "first", one)
    held, other = ALayer("x.txt", b"1", known=True), ALayer("y.txt", b"2")
    both = made(kit, "both", held, other, held=1)
    assert both.layers == (*first.layers, two.digest)
    assert (held.read, other.read) == (0, 1)


def test_settings_alone(kit: Kit) -> None:
    one = ALayer("x.txt", b"1")
    first = made(kit, "first", one)
    again = made(kit, "again", ALayer("x.txt", b"1", known=True), held=1, labels={"new": "1"})
    assert again.layers == first.layers
    assert again.labels["new"] == "1"
    assert again.id != first.id


def test_the_same_makes_the_same_image(kit: Kit) -> None:
    first = made(kit, "first", ALayer("x.txt", b"1"), env={"A": "1"}, labels={"b": "2"})
    again = made(kit, "again", ALayer("x.txt", b"1"), env={"A": "1"}, labels={"b": "2"})
    other = made(kit, "other", ALayer("x.txt", b"2"), env={"A": "1"}, labels={"b": "2"})
    assert (first.id, first.layers) == (again.id, again.layers)
    assert first.layers != other.layers


def test_an_image_on_one_that_was_made(kit: Kit) -> None:
    below = made(kit, "below", ALayer("x.txt", b"1"), env={"A": "1"}, labels={"low": "1"})
    above = made(kit, "above", ALayer("y.txt", b"2"), parent=below.id, labels={"high": "1"})
    assert above.layers[:-1] == below.layers
    assert "A=1" in above.env
    assert {"low": "1", "high": "1"}.items() <= above.labels.items()


def test_large_layers_one_after_the_other(kit: Kit) -> None:
    layers = [ALayer(f"{n}.bin", os.urandom(9 << 20)) for n in range(7)]
    mark = uuid.uuid4().hex
    image = made(kit, "large", *layers, labels={"mark": mark})
    assert image.layers == (*base_of(kit).layers, *(layer.digest for layer in layers))
    # steps on the way leave nothing
    assert [one.tags for one in kit.engine.labelled_images(f"mark={mark}")] == [(kit.tag("large"),)]


def test_what_was_made_runs(kit: Kit) -> None:
    image = made(kit, "runs", ALayer("x.txt", b"1"), workdir="/tmp")
    assert run(kit.engine, spec(kit, "echo hello", image=image.id)) == (0, b"hello\n", b"")


def test_a_parent_that_is_not_there(kit: Kit) -> None:
    with pytest.raises(BuildFailed):
        made(kit, "bad", ALayer("x.txt", b"1"), parent="reprorun-test/no-such-image:1")
    assert kit.engine.image(kit.tag("bad")) is None


class Torn(ALayer):
    """A layer whose content turns out to be damaged on the way."""

    def pieces(self) -> Iterator[bytes]:
        yield from itertools.islice(super().pieces(), 1)
        raise LockFailed("six.whl is damaged")


@pytest.mark.parametrize("whole", [0, 3])
def test_a_layer_that_breaks_on_the_way_makes_no_image(kit: Kit, whole: int) -> None:
    layers = [ALayer(f"{n}.bin", os.urandom(13 << 20)) for n in range(whole)]
    mark = uuid.uuid4().hex
    with pytest.raises(LockFailed, match=r"six\.whl is damaged"):
        made(kit, "torn", *layers, Torn("x.txt", b"1" * 5000), labels={"mark": mark})
    assert kit.engine.image(kit.tag("torn")) is None
    left = kit.engine.labelled_images(f"mark={mark}")
    for image in left:
        kit.engine.remove_image(image.id)
    assert left == ()
    assert made(kit, "torn", ALayer("x.txt", b"1")).layers


def test_a_layer_that_was_kept_is_the_engines_to_verify(kit: Kit) -> None:
    """Where it is built, its digest is taken all the same, and told."""
    layers = [ALayer(f"{n}.bin", os.urandom(13 << 20), known=True) for n in range(7)]
    for layer in layers:
        layer.is_kept = True
    good = made(kit, "kept", *layers[:1])
    assert good.layers == (*base_of(kit).layers, layers[0].digest)
    mark = uuid.uuid4().hex
    layers[1].diff_id = "sha256:" + "0" * 64
    if kit.engine.info().takes_layers:
        with pytest.raises(BuildFailed):
            made(kit, "damaged", *layers, labels={"mark": mark})
        assert kit.engine.image(kit.tag("damaged")) is None
    else:
        assert layers[1].digest in made(kit, "damaged", *layers).layers
        assert layers[1].diff_id == layers[1].digest
    assert kit.engine.labelled_images(f"mark={mark}") == ()


class Short(ALayer):
    """A layer that has less than it says."""

    def pieces(self) -> Iterator[bytes]:
        yield from itertools.islice(super().pieces(), 1)


def test_a_layer_that_is_shorter_than_it_says_makes_no_image(kit: Kit) -> None:
    with pytest.raises(BuildFailed):
        made(kit, "short", Short("x.txt", b"1" * 5000))
    assert kit.engine.image(kit.tag("short")) is None


# ---------------------------------------------------------------- listing and removing


def test_images_are_found_by_label(kit: Kit) -> None:
    mark = uuid.uuid4().hex
    one = made(kit, "one", ALayer("x.txt", b"1"), labels={"mark": mark, "kind": "a"})
    two = made(kit, "two", ALayer("x.txt", b"2"), labels={"mark": mark, "kind": "b"})
    found = kit.engine.labelled_images(f"mark={mark}")
    assert {image.id for image in found} == {one.id, two.id}
    assert {tag for image in found for tag in image.tags} == {kit.tag("one"), kit.tag("two")}
    assert {one.id, two.id} <= {image.id for image in kit.engine.labelled_images("mark")}
    assert kit.engine.labelled_images("mark=other") == ()


def test_an_image_goes_with_its_last_name(kit: Kit) -> None:
    one = made(kit, "one", ALayer("x.txt", b"1"))
    two = made(kit, "two", ALayer("x.txt", b"1"))
    assert one.id == two.id
    kit.engine.remove_image(kit.tag("one"))
    assert kit.engine.image(kit.tag("one")) is None
    assert kit.engine.image(two.id) is not None
    kit.engine.remove_image(kit.tag("two"))
    assert kit.engine.image(two.id) is None
    kit.engine.remove_image(kit.tag("two"))  # again: nothing happens
    kit.engine.remove_image(two.id)
    assert kit.engine.image(kit.base) is not None


def test_an_image_that_a_container_uses_is_not_removed(kit: Kit) -> None:
    image = made(kit, "used", ALayer("x.txt", b"1"))
    container = kit.engine.create(spec(kit, "exit 0", image=image.id))
    with pytest.raises(EngineError):
        kit.engine.remove_image(image.id)
    assert kit.engine.image(image.id) is not None
    kit.engine.remove(container)
    kit.engine.remove_image(image.id)
    assert kit.engine.image(image.id) is None


def test_containers_are_found_by_label(kit: Kit) -> None:
    mark = uuid.uuid4().hex
    labels = {**LABELS, "mark": mark}
    ended = spec(kit, "exit 0", labels=labels)
    runs = spec(kit, "sleep 60", labels=labels)
    for wanted in (ended, runs):
        kit.engine.start(kit.engine.create(wanted))
    found = {one.name: one for one in kit.engine.labelled_containers(f"mark={mark}")}
    assert set(found) == {ended.name, runs.name}
    kit.engine.wait(found[ended.name].id)
    found = {one.name: one for one in kit.engine.labelled_containers(f"mark={mark}")}
    assert (found[ended.name].running, found[runs.name].running) == (False, True)
    assert found[runs.name].labels["mark"] == mark
    for one in found.values():
        kit.engine.remove(one.id)
    assert kit.engine.labelled_containers(f"mark={mark}") == ()


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


def test_what_the_engine_does_not_see_is_not_mounted(kit: Kit, tmp_path: Path) -> None:
    if "mount-check" in kit.engine.info().lacks:
        return  # it would make the directory
    if isinstance(kit.engine, FakeEngine):
        kit.engine.remote = True
    mounts = (Mount(source=str(tmp_path), target="/a"), Mount(source="/no/such/place", target="/b"))
    with pytest.raises(FilesUnseen, match="does not see /no/such/place"):
        kit.engine.create(spec(kit, "exit 0", mounts=mounts))


def test_files_are_put_into_a_container(kit: Kit) -> None:
    """It reads them as they were given, and they come out below the directory."""
    container = kit.engine.create(spec(kit, "echo more >/deep/er/made.txt", user="0:0"))
    whole = [("deep/er/x.txt", os.urandom(3 << 20)), ("deep/er/y.txt", b"y")]
    kit.engine.copy_in(container, several(whole, uid=0))
    kit.engine.start(container)
    assert kit.engine.wait(container).exit_code == 0
    data = b"".join(kit.engine.copy_out(container, "/deep/er/."))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {os.path.normpath(m.name): tar.extractfile(m) for m in tar if m.isreg()}
        content = {name: file.read() for name, file in found.items() if file}
    expected = {name.removeprefix("deep/er/"): data for name, data in whole}
    assert content == {**expected, "made.txt": b"more\n"}


def test_what_is_put_there_keeps_its_owner(kit: Kit) -> None:
    """A user without capabilities can't write what is another's, not even as root."""
    if kit.name == "fake":
        return  # it knows no users
    for user, owner in (("0:0", 65534), ("1234:1234", 0)):
        script = "echo bad >>/given/x.txt || echo no; rm -f /given/x.txt || echo never"
        container = kit.engine.create(spec(kit, script, user=user))
        kit.engine.copy_in(container, several([("given/x.txt", b"x")], uid=owner))
        with closing(kit.engine.attach(container)) as pieces:
            kit.engine.start(container)
            printed = b"".join(data for stream, data in pieces if stream == "stdout")
        kit.engine.wait(container)
        assert printed == b"no\nnever\n"
        assert b"bad" not in b"".join(kit.engine.copy_out(container, "/given/x.txt"))


def several(content: list[tuple[str, bytes]], uid: int) -> Iterator[bytes]:
    """Files that nobody may write, and their directory, as a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in [(os.path.dirname(content[0][0]), b""), *content]:
            member = tarfile.TarInfo(name)
            member.type = tarfile.REGTYPE if data else tarfile.DIRTYPE
            member.size, member.mode, member.uid = len(data), 0o444 if data else 0o755, uid
            tar.addfile(member, io.BytesIO(data))
    whole = buffer.getvalue()
    for start in range(0, len(whole), 1 << 20):
        yield whole[start : start + (1 << 20)]


def test_no_network_and_a_copy_of_the_host_names(kit: Kit) -> None:
    if kit.name == "fake":
        return  # it has no networks
    write = "echo x 2>/dev/null >>/etc/hosts || echo no"
    look = f"grep -c localhost /etc/hosts; ls /sys/class/net; {write}"
    wanted = spec(kit, look, network="none", own_hosts=True, user="1234:1234")
    container = kit.engine.create(wanted)
    kit.engine.copy_in(container, several([("etc/hosts", b"127.0.0.1 localhost\n")], uid=0))
    with closing(kit.engine.attach(container)) as pieces:
        kit.engine.start(container)
        printed = b"".join(data for stream, data in pieces if stream == "stdout")
    kit.engine.wait(container)
    names, *interfaces, written = printed.decode().split()
    assert (int(names) > 0, interfaces, written) == (True, ["lo"], "no")


def test_files_that_break_on_the_way(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "exit 0"))

    def broken() -> Iterator[bytes]:
        yield next(several([("given/x.txt", os.urandom(3 << 20))], uid=0))
        raise LockFailed("the input is damaged")

    with pytest.raises(LockFailed, match="the input is damaged"):
        kit.engine.copy_in(container, broken())
    assert not kit.engine.state(container).running  # it answers


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
    with pytest.raises(EngineError, match=r"(?i)no such image"):
        kit.engine.create(spec(kit, "exit 0", image="reprorun-test/no-such-image:1"))


def test_a_container_that_is_gone(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "exit 0"))
    kit.engine.remove(container)
    kit.engine.remove(container)  # again: nothing happens
    with pytest.raises(ContainerMissing, match=container):
        kit.engine.state(container)


def test_removing_ends_what_runs(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "sleep 60", limits=Limits(pids=64)))
    kit.engine.start(container)
    kit.engine.remove(container)
    with pytest.raises(EngineError):
        kit.engine.state(container)


def test_the_base_is_what_the_kit_says(kit: Kit) -> None:
    assert kit.base == ("base:1" if kit.name == "fake" else BASE)


# ---------------------------------------------------------------- images as files


class Whole:
    """A layer with known content."""

    def __init__(self, name: str, data: bytes) -> None:
        self._tar = a_tar(name, data)
        self.size = len(self._tar)
        self.diff_id = f"sha256:{hashlib.sha256(self._tar).hexdigest()}"

    def pieces(self) -> Iterator[bytes]:
        yield self._tar[:600]
        yield self._tar[600:]


def settings(*layers: Whole, env: tuple[str, ...] = ("A=b c",)) -> bytes:
    told = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": env, "Labels": {"one": "2 3"}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return msgspec.json.encode(told)


def loaded(kit: Kit, name: str, *layers: Whole) -> Image:
    tag = kit.tag(name)
    return kit.engine.load_image(write_loadable([tag], settings(*layers), layers), tag)


def saved(kit: Kit, image: str) -> tuple[bytes, list[str]]:
    def digest(pieces: Iterator[bytes]) -> str:
        return f"sha256:{hashlib.sha256(b''.join(pieces)).hexdigest()}"

    config, layers = read_saved(kit.engine.save(image), digest)
    return config, list(layers)


def test_an_image_is_loaded(kit: Kit) -> None:
    one, two = Whole("x.txt", os.urandom(3 << 20)), Whole("y.txt", b"2")
    image = loaded(kit, "whole", one, two)
    assert image.layers == (one.diff_id, two.diff_id)
    assert image.env == ("A=b c",)
    assert image.labels == {"one": "2 3"}
    assert kit.engine.image(kit.tag("whole")) == image
    assert kit.engine.image(image.id) is not None


def test_what_was_loaded_is_saved_and_loaded_again(kit: Kit) -> None:
    layers = (Whole("x.txt", os.urandom(9 << 20)), Whole("y.txt", b"2"))
    image = loaded(kit, "whole", *layers)
    config, digests = saved(kit, image.id)
    assert digests == [layer.diff_id for layer in layers]
    assert msgspec.json.decode(config)["config"]["Env"] == ["A=b c"]
    kit.engine.remove_image(kit.tag("whole"))
    assert kit.engine.image(image.id) is None
    again = kit.engine.load_image(
        write_loadable([kit.tag("again")], config, layers), kit.tag("again")
    )
    assert (again.id, again.layers, again.env) == (image.id, image.layers, image.env)


def test_a_layer_twice(kit: Kit) -> None:
    one, two = Whole("x.txt", b"1"), Whole("y.txt", b"2")
    image = loaded(kit, "twice", one, two, one)
    assert image.layers == (one.diff_id, two.diff_id, one.diff_id)
    assert saved(kit, kit.tag("twice"))[1] == list(image.layers)


def test_an_image_that_was_made_is_saved(kit: Kit) -> None:
    below = loaded(kit, "below", Whole("x.txt", b"1"))
    image = made(kit, "made", ALayer("y.txt", b"2"), parent=below.id, env={"SOME": "1"})
    config, digests = saved(kit, image.id)
    assert digests == list(image.layers)
    assert set(msgspec.json.decode(config)["config"]["Env"]) == set(image.env)


def test_saving_what_is_not_there(kit: Kit) -> None:
    with pytest.raises(EngineError):
        list(kit.engine.save("reprorun-test/no-such-image:1"))


class Broken(Whole):
    """A layer that turns out to be damaged on the way."""

    def pieces(self) -> Iterator[bytes]:
        yield from itertools.islice(super().pieces(), 1)
        raise LockFailed("the pack is damaged")


def test_a_loaded_layer_that_breaks_on_the_way_makes_no_image(kit: Kit) -> None:
    with pytest.raises(LockFailed, match="the pack is damaged"):
        loaded(kit, "broken", Whole("x.txt", b"1"), Broken("y.txt", b"2"))
    assert kit.engine.image(kit.tag("broken")) is None
    assert loaded(kit, "broken", Whole("x.txt", b"1")).layers


def test_images_are_found_by_the_name_without_the_tag(kit: Kit) -> None:
    one, two = loaded(kit, "some", Whole("x.txt", b"1")), loaded(kit, "other", Whole("x.txt", b"2"))
    repository = kit.tag("some").rpartition(":")[0]
    found = {image.id: image for image in kit.engine.tagged_images(repository)}
    assert kit.tag("some") in found[one.id].tags
    assert two.id not in found
    assert kit.engine.tagged_images(f"{repository}/none") == ()
    assert kit.engine.tagged_images(repository[:-1]) == ()


# ---------------------------------------------------------------- containers that read


def interactive(kit: Kit, script: str, **changes: object) -> str:
    return kit.engine.create(spec(kit, script, interactive=True, **changes))


def test_a_container_reads_what_is_sent(kit: Kit) -> None:
    container = interactive(kit, "cat; echo the end >&2; exit 3")
    with closing(kit.engine.converse(container)) as conversation:
        kit.engine.start(container)
        conversation.send(b"first\n")
        assert next(conversation) == ("stdout", b"first\n")
        conversation.send(b"x" * 100_000)
        conversation.send_end()
        printed = list(conversation)
    assert b"".join(data for stream, data in printed if stream == "stdout") == b"x" * 100_000
    assert b"".join(data for stream, data in printed if stream == "stderr") == b"the end\n"
    assert kit.engine.wait(container).exit_code == 3


def test_input_ends_where_the_conversation_does(kit: Kit) -> None:
    container = interactive(kit, "cat; exit 3")
    with closing(kit.engine.converse(container)):
        kit.engine.start(container)
    assert kit.engine.wait(container).exit_code == 3


def test_a_container_that_is_not_interactive_reads_nothing(kit: Kit) -> None:
    assert run(kit.engine, spec(kit, "cat; exit 3")) == (3, b"", b"")


def test_a_terminal_of_a_size(kit: Kit) -> None:
    container = interactive(kit, "sleep 1; stty size; echo one >&2", tty=True)
    with closing(kit.engine.converse(container)) as conversation:
        kit.engine.start(container)
        kit.engine.resize(container, 33, 99)
        printed = list(conversation)
    assert {stream for stream, _ in printed} == {"stdout"}
    assert b"".join(data for _, data in printed) == b"33 99\r\none\r\n"


def test_a_terminal_after_the_exit(kit: Kit) -> None:
    container = interactive(kit, "exit 0", tty=True)
    kit.engine.start(container)
    kit.engine.wait(container)
    kit.engine.resize(container, 33, 99)
    assert kit.engine.state(container).exit_code == 0


def test_killing_what_reads(kit: Kit) -> None:
    container = interactive(kit, "cat; echo too late")
    with closing(kit.engine.converse(container)) as conversation:
        kit.engine.start(container)
        kit.engine.kill(container)
        assert list(conversation) == []
    assert kit.engine.wait(container).exit_code == 137
