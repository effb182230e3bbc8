"""GPUs on real engines, with stand-ins for what only a machine with GPUs has.

The engines are real, and so is what they are asked for and do. Stand-ins are the hook of NVIDIA's
container toolkit, its runtime, its CDI specification, and nvidia-smi in the base image, which tells
of two cards and of those only that the container was given. One test is for a real GPU.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from reprorun import store
from reprorun.model import Gpu, GpuRequest, Record

from ..engines import asked_for, started
from ..kit import BASE
from .bench import Bench, Done, one_message
from .gpu_stand_ins import Place, base_with_nvidia_smi, nvidia_hook, nvidia_runtime

TRAIN = "import os\nprint(os.environ.get('NVIDIA_VISIBLE_DEVICES'))\n"
SLOW = "import time\nprint('started', flush=True)\ntime.sleep(60)\n"
CARDS = tuple(Gpu(name=f"Stand-in {n}", memory=16 << 30) for n in (0, 1))


@pytest.fixture(scope="module")
def by_hook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with nvidia_hook(tmp_path_factory.mktemp("hook")) as made:
        yield made


@pytest.fixture(scope="module")
def by_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with nvidia_runtime(tmp_path_factory.mktemp("runtime")) as made:
        yield made


@pytest.fixture
def project(bench: Bench) -> Bench:
    bench.write({"train.py": TRAIN, "slow.py": SLOW})
    bench.commit()
    return bench


def run(bench: Bench, place: Place, *flags: str) -> Done:
    return bench.exec("train.py", flags=flags, env=place.env)


def inspected(bench: Bench, place: Place, *flags: str) -> dict[str, Any]:
    """The container of a run, as the engine describes it while it runs."""
    bench.env.update(place.env)
    process, log_dir = bench.start("slow.py", *flags)
    with closing(docker.DockerClient(base_url=place.address)) as engine:
        try:
            end = time.monotonic() + 60
            while "started" not in _text(log_dir / store.CONSOLE_FILE):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end
                time.sleep(0.1)
            label = f"reprorun.run={store.read_record(str(log_dir)).id}"
            (container,) = engine.containers.list(filters={"label": label})
            attributes: dict[str, Any] = container.attrs
            return attributes
        finally:
            process.terminate()
            process.communicate(timeout=60)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def seen(record: Record) -> tuple[Gpu, ...]:
    assert record.gpus_seen is not None
    return record.gpus_seen.gpus


# ---------------------------------------------------------------- by device request (stand-in hook)


@pytest.mark.parametrize(
    ("asked", "visible", "cards", "request_"),
    [
        ("all", "all", CARDS, GpuRequest(count=-1)),
        ("2", "0,1", CARDS, GpuRequest(count=2)),
        ("device=1", "1", CARDS[1:], GpuRequest(devices=("1",))),
    ],
)
def test_a_device_request(
    project: Bench,
    by_hook: Place,
    asked: str,
    visible: str,
    cards: tuple[Gpu, ...],
    request_: GpuRequest,
) -> None:
    done = run(project, by_hook, "--gpus", asked)
    assert (done.code, done.out) == (0, f"{visible}\n"), done.err
    record = done.record
    assert (record.runtime, record.gpus) == ("gpu", request_)
    assert seen(record) == cards
    assert record.gpus_seen is not None
    assert (record.gpus_seen.by, record.gpus_seen.driver) == ("nvidia-smi", "550.1")
    assert record.gpus_seen.cuda == "12.4"
    assert "prestart" in by_hook.told.read_text()


def test_what_the_engine_is_asked_for(project: Bench, by_hook: Place) -> None:
    (request_,) = inspected(project, by_hook, "--gpus", "device=0,1")["HostConfig"][
        "DeviceRequests"
    ]
    assert request_["DeviceIDs"] == ["0", "1"]
    assert request_["Capabilities"] == [["gpu"]]


def test_none_unless_asked_for_where_the_engine_does_not_say(
    project: Bench, by_hook: Place
) -> None:
    done = run(project, by_hook)
    assert (done.code, done.out) == (0, "None\n"), done.err
    assert (done.record.runtime, done.record.gpus_seen) == ("cpu", None)


def test_half_the_number_is_no_run(project: Bench, by_hook: Place) -> None:
    done = run(project, by_hook, "--gpus", "4")
    assert (done.code, done.out) == (125, "")
    why = "4 GPUs were asked for, but the container sees 2 (Stand-in 0, Stand-in 1)"
    assert why in done.err
    record = done.record
    assert (record.status, record.exit_code, record.reason) == ("failed", 125, why)
    assert seen(record) == CARDS


# ---------------------------------------------------------------- by the runtime (stand-in)


def test_the_runtime_of_its_own_accord(project: Bench, by_runtime: Place) -> None:
    done = run(project, by_runtime)
    assert (done.code, done.out) == (0, "all\n"), done.err
    assert done.record.gpus == GpuRequest(runtime="nvidia", count=-1)
    assert seen(done.record) == CARDS
    assert "create" in by_runtime.told.read_text()


def test_the_runtime_with_one_of_them(project: Bench, by_runtime: Place) -> None:
    done = run(project, by_runtime, "--gpus", "device=1")
    assert (done.code, done.out) == (0, "1\n"), done.err
    assert seen(done.record) == CARDS[1:]
    found = inspected(project, by_runtime, "--gpus", "1")
    assert found["HostConfig"]["Runtime"] == "nvidia"
    assert "NVIDIA_VISIBLE_DEVICES=0" in found["Config"]["Env"]


def test_the_cpu_where_there_are_gpus(project: Bench, by_runtime: Place) -> None:
    project.write({"train.py": "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])\n"})
    done = run(project, by_runtime, "--force-cpu")
    assert (done.code, done.out) == (0, "-1\n"), done.err
    assert (done.record.runtime, done.record.gpus, done.record.gpus_seen) == ("cpu", None, None)


def test_a_record_of_a_gpu_where_there_is_none(project: Bench, by_runtime: Place) -> None:
    """On the tests' own engine, which has none."""
    for flags in ((), ("--gpus", "2")):
        first = run(project, by_runtime, *flags)
        assert first.code == 0, first.err
        words = ["rerun", "--base-image", BASE, str(first.log_dir)]
        again = project.reprorun(*words, cwd="..")
        assert again.code in (2, 125)
        assert "--force-cpu" in again.err
        if not flags:
            assert "Stand-in 0, Stand-in 1" in one_message(again.err)
        forced = project.reprorun(*words, "--force-cpu", cwd="..")
        assert (forced.code, forced.out) == (0, "None\n"), forced.err


# ---------------------------------------------------------------- none


def test_none_on_an_engine_without_before_anything_is_built(project: Bench) -> None:
    done = project.exec("train.py", flags=["--gpus", "1"])
    assert (done.code, done.out) == (125, "")
    message = one_message(done.err)
    assert "1 by device request" in message
    assert "runtimes: " in message
    assert "runc" in message
    assert "CDI devices: none" in message
    assert "--force-cpu" in message
    record = done.record
    assert (record.status, record.image) == ("failed", "")  # not even planned


# ---------------------------------------------------------------- by CDI (stand-in specification)


@pytest.mark.skipif(
    "docker-28" not in asked_for(), reason="REPRORUN_TEST_ENGINES does not ask for docker-28"
)
def test_cdi(project: Bench) -> None:
    with started("docker-28") as address:
        specs = Path(address.removeprefix("unix://")).parent / "cdi"
        devices = [
            {"name": name, "containerEdits": {"env": [f"NVIDIA_VISIBLE_DEVICES={name}"]}}
            for name in ("0", "1", "all")
        ]
        spec = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}
        (specs / "stand-in.json").write_text(json.dumps(spec))
        place = Place(address, base_with_nvidia_smi(address), specs)
        for flags, visible, cards in (
            ((), "all", CARDS),
            (("--gpus", "1"), "0", CARDS[:1]),
            (("--gpus", "device=1"), "1", CARDS[1:]),
        ):
            done = run(project, place, *flags)
            assert (done.code, done.out) == (0, f"{visible}\n"), done.err
            names = (f"nvidia.com/gpu={visible}",)
            assert done.record.gpus == GpuRequest(driver="cdi", devices=names)
            assert seen(done.record) == cards
        missing = run(project, place, "--gpus", "device=7")
        assert missing.code == 125
        assert "nvidia.com/gpu=0, nvidia.com/gpu=1" in one_message(missing.err)


# ---------------------------------------------------------------- the real thing


def _real_gpus() -> list[str]:
    """The names of this machine's GPUs, as its nvidia-smi has them."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def test_real_gpus(project: Bench) -> None:
    names = _real_gpus()
    if not names:
        pytest.skip("NOT RUN: this machine has no GPU on which nvidia-smi works")
    done = project.exec("train.py", flags=["--gpus", "all"])
    assert done.code == 0, done.err
    assert [gpu.name for gpu in seen(done.record)] == names
