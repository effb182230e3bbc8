"""What a task does on a node, apart from the run: image, inputs, messages."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from reprorun.cluster import inputs
from reprorun.cluster.checking import bring_images, result_of, text_of
from reprorun.cluster.images import WantedImage, ensure_image, pushed, verified
from reprorun.cluster.inputs import verify_inputs
from reprorun.cluster.messages import Came, Problem, decode, encode, error_of, problem_of
from reprorun.cluster.running import with_gpus
from reprorun.compare.values import Comparison
from reprorun.engine.fake import FakeEngine
from reprorun.engine.images import write_loadable
from reprorun.errors import EngineError, ImageMissing, UsageError
from reprorun.gpus import choose_gpus
from reprorun.model import (
    DIGEST_LABEL,
    EngineInfo,
    GpuRequest,
    Gpus,
    Image,
    InputFile,
    RunSpec,
)
from reprorun.probe.inputs import describe_input
from reprorun.workflow.base import image_digest
from reprorun.workflow.check import PLACE, RecordCheck, Repeat

# ---------------------------------------------------------------- the image


class Layer:
    """A layer of one file."""

    def __init__(self) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("code"))
        self._data = out.getvalue()
        self.size = len(self._data)
        self.diff_id = f"sha256:{hashlib.sha256(self._data).hexdigest()}"

    def pieces(self) -> Iterator[bytes]:
        yield self._data


LAYER = Layer()
LABEL = "sha256:d"
WANTED = WantedImage(
    tag="run:1",
    digest=LABEL,
    content=image_digest(Image(id="", layers=(LAYER.diff_id,))),
    machine="x86_64",
)


def saved(label: str = LABEL) -> list[bytes]:
    """The image as the submitting machine gives it."""
    settings = {
        "architecture": "amd64",
        "config": {"Labels": {DIGEST_LABEL: label}},
        "rootfs": {"type": "layers", "diff_ids": [LAYER.diff_id]},
    }
    pieces = list(write_loadable([WANTED.tag], json.dumps(settings).encode(), [LAYER]))
    return [*pieces, hashlib.sha256(b"".join(pieces)).digest()]


def test_an_image_is_brought_where_it_is_missing() -> None:
    engine = FakeEngine()
    ensure_image(WANTED, engine, lambda: iter(saved()))
    assert WANTED.is_on(engine)


def test_one_that_is_there_is_not_fetched() -> None:
    engine = FakeEngine()
    ensure_image(WANTED, engine, lambda: iter(saved()))
    ensure_image(WANTED, engine, lambda: pytest.fail("it was fetched again"))


def test_another_of_the_same_name_is_replaced() -> None:
    engine = FakeEngine()
    engine.load_image(iter(saved("sha256:older")[:-1]), WANTED.tag)
    assert not WANTED.is_on(engine)
    ensure_image(WANTED, engine, lambda: iter(saved()))
    assert WANTED.is_on(engine)


def test_tasks_that_begin_together_bring_it_once() -> None:
    engine = FakeEngine()
    fetched = []

    def fetch() -> Iterator[bytes]:
        fetched.append(1)
        time.sleep(0.2)
        yield from saved()

    threads = [
        threading.Thread(target=ensure_image, args=(WANTED, engine, fetch)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [1]


def test_for_a_check_one_that_can_not_be_brought_is_no_error_yet() -> None:
    def gone(tag: str) -> Iterator[bytes]:
        raise ImageMissing(f"there is no image {tag}")

    engine = FakeEngine()
    lacking = bring_images([WANTED], engine, gone)
    assert lacking == f"\n{WANTED.tag} could not be brought there: there is no image {WANTED.tag}"
    assert bring_images([WANTED], engine, lambda tag: iter(saved())) == ""
    assert WANTED.is_on(engine)
    with pytest.raises(ImageMissing, match="no image mine:1"):
        bring_images([replace(WANTED, tag="mine:1", named=True)], engine, gone)


@pytest.mark.parametrize("damage", ["cut short", "changed", "nothing"])
def test_what_changes_on_the_way_makes_no_image(damage: str) -> None:
    pieces = saved()
    damaged = {
        "cut short": pieces[:-2],
        "changed": [pieces[0][:-1] + b"\1", *pieces[1:]],
        "nothing": [],
    }[damage]
    engine = FakeEngine()
    with pytest.raises(EngineError):
        ensure_image(WANTED, engine, lambda: iter(damaged))
    assert not engine.images


@pytest.mark.parametrize("pieces", [[], [b"a"], [b"a", b"b"], [b"", hashlib.sha256(b"a").digest()]])
def test_what_is_not_what_was_sent(pieces: list[bytes]) -> None:
    with pytest.raises(EngineError, match="changed or broken off"):
        list(verified(pieces))


def test_pieces_are_handed_on_as_they_come() -> None:
    given = []

    def source() -> Iterator[bytes]:
        for number in range(3):
            given.append(number)
            yield bytes([number])

    taken = verified(source())
    assert next(taken) == b"\0"
    assert given == [0, 1]
    with suppress(EngineError):
        list(taken)


def test_an_engine_that_makes_another_is_an_error() -> None:
    with pytest.raises(EngineError, match="another image"):
        ensure_image(WANTED, FakeEngine(), lambda: iter(saved("sha256:other")))


def test_a_node_with_another_processor() -> None:
    wanted = replace(WANTED, machine="arm64")
    with pytest.raises(EngineError, match="x86_64, the image is for arm64"):
        ensure_image(wanted, FakeEngine(), lambda: iter(()))


def test_a_processor_that_engines_may_emulate() -> None:
    engine = FakeEngine()
    ensure_image(replace(WANTED, machine=""), engine, lambda: iter(saved()))
    assert WANTED.is_on(engine)


def test_what_another_engine_has_under_a_name_of_the_users_stays() -> None:
    engine = FakeEngine()
    engine.load_image(iter(saved("sha256:theirs")[:-1]), WANTED.tag)
    with pytest.raises(EngineError, match="another run:1 than the submitting machine"):
        ensure_image(replace(WANTED, named=True), engine, lambda: iter(saved()))
    assert engine.images[WANTED.tag].labels == {DIGEST_LABEL: "sha256:theirs"}


def test_an_image_of_the_same_layers_with_other_variables_is_another() -> None:
    engine = FakeEngine()
    ensure_image(WANTED, engine, lambda: iter(saved()))
    image = engine.images[WANTED.tag]
    assert WantedImage.of(WANTED.tag, image) == replace(WANTED, machine="amd64")
    assert not WANTED.is_same(replace(image, env=("A=1",)))


REPOSITORY = "registry.example.invalid:5000/lab/runs"


def test_an_image_by_way_of_a_registry() -> None:
    here = FakeEngine()
    ensure_image(WANTED, here, lambda: iter(saved()))
    wanted = pushed(WANTED, here, REPOSITORY)
    assert (wanted.pulled or "").startswith(f"{REPOSITORY}@sha256:")
    there = FakeEngine(pullable=here.pullable)
    ensure_image(wanted, there, lambda: pytest.fail("it was fetched from the submitting machine"))
    assert wanted.is_on(there)


def test_a_registry_that_has_it_no_longer() -> None:
    wanted = replace(WANTED, pulled=f"{REPOSITORY}@sha256:1")
    with pytest.raises(EngineError, match=r"^the image registry\.example.* is not on the engine"):
        ensure_image(wanted, FakeEngine(), lambda: iter(()))


def test_a_registry_that_has_another() -> None:
    here = FakeEngine()
    here.load_image(iter(saved("sha256:other")[:-1]), WANTED.tag)
    there = FakeEngine(pullable={f"{REPOSITORY}@sha256:1": here.images[WANTED.tag]})
    wanted = replace(WANTED, pulled=f"{REPOSITORY}@sha256:1")
    with pytest.raises(EngineError, match="another image"):
        ensure_image(wanted, there, lambda: iter(()))
    assert there.image(WANTED.tag) is None


@pytest.mark.parametrize(
    "name", ["", "a:tag/", "registry.example.invalid/Lab", "a/b:1", "-x", "a b"]
)
def test_what_can_be_no_repository(name: str) -> None:
    with pytest.raises(UsageError, match="name a repository"):
        pushed(WANTED, FakeEngine(), name)


# ---------------------------------------------------------------- inputs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1,2")
    (tmp_path / "data" / "b.csv").write_text("3,4")
    return tmp_path / "data"


def described(path: Path) -> InputFile:
    return describe_input(str(path), str(path))


def test_inputs_that_are_there(data: Path) -> None:
    verify_inputs([described(data), described(data / "a.csv")], "n1")


@pytest.mark.parametrize("part", ["", "b.csv"])
def test_an_input_that_is_another(data: Path, part: str) -> None:
    entry = described(data / part)
    verify_inputs([entry], "n1")
    (data / "b.csv").write_text("3,5")
    with pytest.raises(UsageError, match=r"is another there .* Copy it to n1"):
        verify_inputs([entry], "n1")


def test_an_input_that_is_missing(data: Path) -> None:
    entry = described(data / "a.csv")
    (data / "a.csv").unlink()
    with pytest.raises(UsageError, match=r"a\.csv can't be read there: No such file"):
        verify_inputs([entry], "n1")


def test_what_nobody_changed_is_hashed_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = described(data)
    verify_inputs([entry], "n1")
    monkeypatch.setattr(inputs, "describe_input", lambda *_: pytest.fail("hashed again"))
    verify_inputs([entry], "n1")


# ---------------------------------------------------------------- GPUs

CPU_ENGINE = EngineInfo(name="fake", version="1", api_version="1")
GPU_ENGINE = EngineInfo(name="fake", version="1", api_version="1", runtimes=("nvidia",))


def by_runtime(*devices: str) -> GpuRequest:
    return GpuRequest(runtime="nvidia", devices=devices)


@pytest.mark.parametrize(
    ("asked", "given", "engine", "request_"),
    [
        (Gpus(), (), CPU_ENGINE, None),
        (Gpus(), (), GPU_ENGINE, None),  # not all that are there, beside those whom they belong to
        (Gpus(), ("2",), GPU_ENGINE, by_runtime("2")),
        (Gpus(kind="count", count=2), ("0", "3"), GPU_ENGINE, by_runtime("0", "3")),
        (Gpus(kind="all"), ("0", "1"), GPU_ENGINE, by_runtime("0", "1")),
        (Gpus(kind="none"), (), GPU_ENGINE, None),
    ],
)
def test_a_run_has_the_gpus_that_ray_gives_it(
    asked: Gpus, given: tuple[str, ...], engine: EngineInfo, request_: GpuRequest | None
) -> None:
    spec = with_gpus(RunSpec(script="x", cwd="/", gpus=asked), given, engine)
    assert choose_gpus(spec.gpus, engine, spec.gpu_devices) == request_


# ---------------------------------------------------------------- messages


def test_errors_travel_with_their_kind() -> None:
    problem = problem_of(ImageMissing("no image"), "n1")
    came = decode(encode(Came(problem=problem)), Came)
    assert came.problem is not None
    error = error_of(came.problem)
    assert type(error) is ImageMissing
    assert str(error) == "on node n1: no image"


def test_an_error_that_nobody_knows_is_the_engines() -> None:
    assert type(error_of(Problem(kind="SystemExit", text="x"))) is EngineError


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 10**6, b'{"exit_code": "x"}', b"\xff"])
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(EngineError, match="can't be understood"):
        decode(data, Came)


def test_a_result_names_places_of_the_submitting_machine() -> None:
    odd = os.fsdecode(b"caf\xe9")
    check = RecordCheck(
        record="/node/w1/record/run",
        verdict="different",
        repeats=(
            Repeat(
                comparison=Comparison(verdict="different"),
                seconds=1.0,
                log_dir=f"/node/w1/{PLACE}/run",
            ),
            Repeat(
                comparison=Comparison(verdict="different"),
                seconds=1.0,
                log_dir=f"/node/w1/{PLACE}/run_1",
            ),
        ),
        error="/node/w1/record/run is odd, and so is /node/w1",
    )
    text = text_of(check, {"/node/w1/record/run": f"runs/{odd}", "/node/w1": "/home/me"})
    places = {
        f"/home/me/{PLACE}/run": f"/home/me/{PLACE}/run_7",
        f"/home/me/{PLACE}/run_1": f"/home/me/{PLACE}/run_8",
    }
    result = result_of(text, places)
    assert result.record == f"runs/{odd}"
    assert [each.log_dir for each in result.repeats] == list(places.values())
    assert result.error == f"runs/{odd} is odd, and so is /home/me"


def test_what_is_no_result_is_an_error() -> None:
    with pytest.raises(EngineError, match="can't be understood"):
        result_of('{"record": 1}', {})
