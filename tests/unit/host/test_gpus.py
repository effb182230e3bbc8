"""GPUs: which way an engine is asked, what is refused before anything is built, what is seen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun.engine.devices import find_gpu_nodes
from reprorun.engine.docker_values import gpus_for, info_of, refuse_gpus
from reprorun.engine.places import Place
from reprorun.errors import EngineError, RecordError
from reprorun.experiment.gpus import find_gpus, shortfall
from reprorun.gpus import choose_gpus, gpu_groups, gpu_numbers, gpu_variables, in_words, offers_gpus
from reprorun.model import (
    Changes,
    DeviceNode,
    EngineInfo,
    Gpu,
    GpuRequest,
    Gpus,
    GpusSeen,
    GuestReport,
    Hardware,
    Limits,
    Record,
    SchemaMark,
)
from reprorun.workflow.attend import Ending
from reprorun.workflow.changes import same_gpus
from reprorun.workflow.outcome import gpu_warning, judge

BARE = EngineInfo(name="docker", version="28.5", api_version="1.51", runtimes=("runc",))
NVIDIA = msgspec.structs.replace(BARE, runtimes=("nvidia", "runc"))
NAMES = ("0", "1", "10", "2", "GPU-1234", "all")
CDI = msgspec.structs.replace(NVIDIA, cdi=tuple(f"nvidia.com/gpu={name}" for name in NAMES))
AMD_CDI = msgspec.structs.replace(BARE, cdi=("amd.com/gpu=0", "amd.com/gpu=1", "x.org/net=all"))
ROCM = msgspec.structs.replace(
    BARE,
    gpu_nodes=(
        DeviceNode(path="/dev/kfd", group=110),
        DeviceNode(path="/dev/dri/renderD128", group=109),
        DeviceNode(path="/dev/dri/renderD129", group=109),
    ),
)
OLD = msgspec.structs.replace(BARE, version="20.10", lacks=("cdi",))
AUTO, ALL, NONE, TWO = Gpus(), Gpus(kind="all"), Gpus(kind="none"), Gpus(kind="count", count=2)


def device(*names: str) -> Gpus:
    return Gpus(kind="device", devices=names)


def cdi(*names: str, kind: str = "nvidia.com/gpu") -> GpuRequest:
    return GpuRequest(driver="cdi", devices=tuple(f"{kind}={name}" for name in names))


def device_node(path: str) -> dict[str, str]:
    return {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}


def nodes(*numbers: int) -> GpuRequest:
    return GpuRequest(nodes=("/dev/kfd", *(f"/dev/dri/renderD{n}" for n in numbers)))


@pytest.mark.parametrize(
    ("asked", "engine", "wanted"),
    [
        (NONE, CDI, None),
        (AUTO, BARE, None),
        (AUTO, CDI, cdi("all")),
        (ALL, CDI, cdi("all")),
        (TWO, CDI, cdi("0", "1")),
        (Gpus(kind="count", count=4), CDI, cdi("0", "1", "2", "10")),
        (device("2", "GPU-1234"), CDI, cdi("2", "GPU-1234")),
        (device("nvidia.com/gpu=10"), CDI, cdi("10")),
        (ALL, AMD_CDI, cdi("0", "1", kind="amd.com/gpu")),
        (device("x.org/net=all"), AMD_CDI, cdi("all", kind="x.org/net")),
        (device("nvidia.com/gpu=0"), BARE, cdi("0")),  # it does not say which it has
        (AUTO, NVIDIA, GpuRequest(runtime="nvidia", count=-1)),
        (TWO, NVIDIA, GpuRequest(runtime="nvidia", count=2)),
        (device("1"), NVIDIA, GpuRequest(runtime="nvidia", devices=("1",))),
        (AUTO, ROCM, nodes(128, 129)),
        (Gpus(kind="count", count=1), ROCM, nodes(128)),
        (device("1"), ROCM, nodes(129)),
        (ALL, BARE, GpuRequest(count=-1)),  # which has to be tried
        (device("0"), OLD, GpuRequest(devices=("0",))),
    ],
)
def test_the_way(asked: Gpus, engine: EngineInfo, wanted: GpuRequest | None) -> None:
    assert choose_gpus(asked, engine) == wanted


def test_gpus_that_a_run_was_assigned() -> None:
    assert choose_gpus(TWO, CDI, ("1", "2")) == cdi("1", "2")
    assert choose_gpus(TWO, NVIDIA, ("1", "2")) == GpuRequest(runtime="nvidia", devices=("1", "2"))
    assert choose_gpus(TWO, ROCM, ("1",)) == nodes(129)


@pytest.mark.parametrize(
    ("asked", "engine", "said"),
    [
        (Gpus(kind="count", count=5), CDI, "5 GPUs"),
        (device("7"), CDI, "nvidia.com/gpu=7"),
        (device("amd.com/gpu=0"), CDI, "amd.com/gpu=0"),
        (device("nvidia.com/gpu=0"), OLD, "names of CDI"),
        (Gpus(kind="count", count=3), ROCM, "3 GPUs"),
        (device("5"), ROCM, "GPU 5"),
        (device("GPU-1234"), ROCM, "GPU GPU-1234"),
    ],
)
def test_what_an_engine_is_known_not_to_have(asked: Gpus, engine: EngineInfo, said: str) -> None:
    with pytest.raises(EngineError) as caught:
        choose_gpus(asked, engine)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert said in lines[0]
    assert all(name in lines[0] for name in (*engine.runtimes, *engine.cdi))
    assert "--force-cpu" in lines[1]


def test_the_numbers_of_an_engines_gpus() -> None:
    found = [gpu_numbers(each) for each in (BARE, NVIDIA, CDI, AMD_CDI, ROCM)]
    assert found == [(), (), ("0", "1", "2", "10"), ("0", "1"), ("0", "1")]


def test_what_is_offered_without_being_asked_for() -> None:
    assert [offers_gpus(each) for each in (BARE, NVIDIA, CDI, ROCM)] == [False, True, True, True]


@pytest.mark.parametrize(
    ("asked", "engine", "expected"),
    [
        (NONE, CDI, None),
        (AUTO, BARE, None),
        (AUTO, CDI, "0"),
        (ALL, CDI, "1"),
        (ALL, AMD_CDI, "2"),
        (TWO, CDI, "2"),
        (TWO, NVIDIA, "2"),
        (ALL, NVIDIA, "1"),
        (device("0", "2", "1"), NVIDIA, "3"),
        (TWO, BARE, "2"),
        (TWO, ROCM, "2"),
    ],
)
def test_how_many_the_container_has_to_see(
    asked: Gpus, engine: EngineInfo, expected: str | None
) -> None:
    assert gpu_variables(asked, choose_gpus(asked, engine)).get("REPRORUN_GPUS") == expected


def test_the_groups_that_may_open_device_nodes() -> None:
    assert gpu_groups(choose_gpus(ALL, ROCM), ROCM) == ("109", "110")
    assert gpu_groups(choose_gpus(NONE, ROCM), ROCM) == ()
    both = msgspec.structs.replace(ROCM, cdi=AMD_CDI.cdi)
    assert gpu_groups(choose_gpus(ALL, both), both) == ("109", "110")
    assert gpu_groups(choose_gpus(ALL, NVIDIA), ROCM) == ()


@pytest.mark.parametrize(
    ("request_", "wanted", "words"),
    [
        (None, {}, ""),
        (
            GpuRequest(count=2),
            {"DeviceRequests": [{"Capabilities": [["gpu"]], "Count": 2}]},
            "2 by device request",
        ),
        (
            GpuRequest(devices=("0", "2")),
            {"DeviceRequests": [{"Capabilities": [["gpu"]], "DeviceIDs": ("0", "2")}]},
            "number 0, 2 by device request",
        ),
        (
            cdi("0"),
            {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ("nvidia.com/gpu=0",)}]},
            "nvidia.com/gpu=0 by CDI",
        ),
        (
            GpuRequest(runtime="nvidia", count=-1),
            {"Runtime": "nvidia"},
            "all by the nvidia runtime",
        ),
        (
            nodes(128),
            {"Devices": [device_node("/dev/kfd"), device_node("/dev/dri/renderD128")]},
            "/dev/kfd, /dev/dri/renderD128 by device nodes",
        ),
    ],
)
def test_what_the_engine_is_told(
    request_: GpuRequest | None, wanted: dict[str, Any], words: str
) -> None:
    assert gpus_for(request_) == wanted
    assert request_ is None or in_words(request_) == words


def test_a_request_that_podman_would_pass_over() -> None:
    podman = msgspec.structs.replace(BARE, name="podman", lacks=("gpu-requests",))
    with pytest.raises(EngineError, match="podman takes no requests"):
        refuse_gpus(GpuRequest(count=1), podman)
    refuse_gpus(cdi("0"), podman)
    refuse_gpus(None, podman)


def test_the_cdi_devices_of_an_engine() -> None:
    told = {
        "ServerVersion": "28.5.2",
        "DiscoveredDevices": [
            {"Source": "cdi", "ID": "nvidia.com/gpu=1"},
            {"Source": "cdi", "ID": "nvidia.com/gpu=0"},
            {"Source": "other", "ID": "x"},
        ],
    }
    place = Place(address="unix:///x", by="the tests")
    assert info_of(told, "1.51", place).cdi == ("nvidia.com/gpu=0", "nvidia.com/gpu=1")
    assert info_of({}, "1.41", place).cdi == ()


def test_amds_device_nodes(tmp_path: Path) -> None:
    assert find_gpu_nodes(str(tmp_path)) == ()
    (tmp_path / "dev/dri").mkdir(parents=True)
    for name in ("dri/card0", "dri/renderD128", "dri/renderD1000"):
        (tmp_path / "dev" / name).touch()
    assert find_gpu_nodes(str(tmp_path)) == ()  # a display alone
    (tmp_path / "dev/kfd").touch()
    found = find_gpu_nodes(str(tmp_path))
    assert [node.path for node in found] == [
        "/dev/kfd",
        "/dev/dri/renderD128",
        "/dev/dri/renderD1000",
    ]
    assert {node.group for node in found} == {os.stat(tmp_path / "dev/kfd").st_gid}


# ---------------------------------------------------------------- re-runs


def record(**fields: Any) -> Record:
    mark = SchemaMark(version="1")
    return Record(reprorun=mark, id="a", status="finished", created="", argv=("x",), **fields)


ON_GPU = {"runtime": "gpu", "gpus": GpuRequest(count=-1), "host": Hardware(gpus=("Tesla V100",))}


@pytest.mark.parametrize(
    ("asked", "engine"), [(AUTO, BARE), (device("7"), CDI), (Gpus(kind="count", count=9), CDI)]
)
def test_a_gpu_record_where_there_are_none_or_not_those(asked: Gpus, engine: EngineInfo) -> None:
    original = record(asked_gpus=asked, **ON_GPU)
    with pytest.raises(RecordError) as caught:
        same_gpus(original, Changes(), engine)
    message = str(caught.value)
    assert "made on Tesla V100;" in message
    assert "--force-cpu" in message
    assert len(message.splitlines()) == 2
    assert same_gpus(original, Changes(gpus=NONE), engine) == NONE


def test_a_gpu_record_names_what_its_container_saw() -> None:
    seen = GpusSeen(by="nvidia-smi", gpus=(Gpu(name="A100"),))
    with pytest.raises(RecordError, match="made on A100;"):
        same_gpus(record(asked_gpus=AUTO, gpus_seen=seen, **ON_GPU), Changes(), BARE)


def test_a_record_keeps_its_runtime() -> None:
    assert same_gpus(record(asked_gpus=AUTO), Changes(), NVIDIA) == NONE
    assert same_gpus(record(asked_gpus=AUTO), Changes(), BARE) == AUTO
    assert same_gpus(record(asked_gpus=TWO, **ON_GPU), Changes(), NVIDIA) == TWO
    assert same_gpus(record(asked_gpus=TWO, **ON_GPU), Changes(), BARE) == TWO  # it will be tried


# ---------------------------------------------------------------- what the container sees

SMI = """<?xml version="1.0" ?>
<nvidia_smi_log>
    <driver_version>550.54.15</driver_version>
    <cuda_version>12.4</cuda_version>
    <attached_gpus>2</attached_gpus>
    <gpu id="00000000:01:00.0">
        <product_name>NVIDIA A100</product_name>
        <fb_memory_usage>
            <total>40960 MiB</total>
            <used>3 MiB</used>
        </fb_memory_usage>
        <bar1_memory_usage>
            <total>65536 MiB</total>
        </bar1_memory_usage>
    </gpu>
    <gpu id="00000000:02:00.0">
        <product_name>NVIDIA T4</product_name>
    </gpu>
</nvidia_smi_log>
"""


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvidia-smi, on a PATH that has nothing else but the shell's programs."""
    path = tmp_path / "bin/nvidia-smi"
    put(path, f"#!/bin/sh\n[ \"$*\" = '-q -x' ] || exit 2\ncat <<'END'\n{SMI}END\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def test_what_nvidia_smi_says(smi: Path, tmp_path: Path) -> None:
    found = find_gpus(str(tmp_path))
    assert found == {
        "by": "nvidia-smi",
        "gpus": [
            {"name": "NVIDIA A100", "memory": 40960 << 20},
            {"name": "NVIDIA T4", "memory": 0},
        ],
        "driver": "550.54.15",
        "cuda": "12.4",
    }
    assert msgspec.convert(found, GpusSeen).cuda == "12.4"
    assert shortfall(found, 2) is None
    why = shortfall(found, 4)
    assert why == "4 GPUs were asked for, but the container sees 2 (NVIDIA A100, NVIDIA T4)"


def test_nvidia_smi_that_hangs_is_not_waited_for(smi: Path, tmp_path: Path) -> None:
    smi.write_text("#!/bin/sh\nsleep 100\n")
    found = find_gpus(str(tmp_path), patience=0.3)
    assert (found["gpus"], found["why"]) == ([], "nvidia-smi did not answer within 0.3 s")
    why = shortfall(found, 1)
    assert why == (
        "1 GPU was asked for, but the container sees none (nvidia-smi did not answer within 0.3 s)"
    )


@pytest.mark.parametrize("script", ["exit 9", "echo garbage", "head -c 9000000 /dev/zero"])
def test_nvidia_smi_that_fails_or_talks_nonsense(smi: Path, tmp_path: Path, script: str) -> None:
    smi.write_text(f"#!/bin/sh\n{script}\n")
    found = find_gpus(str(tmp_path))
    assert (found["by"], found["gpus"]) == ("", [])
    assert shortfall(found, 0) is None
    assert "sees none" in (shortfall(found, 1) or "")
    assert ("exit code 9" in found["why"]) == (script == "exit 9")


@pytest.fixture
def without_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))


def test_what_the_driver_says(without_smi: None, tmp_path: Path) -> None:
    place = tmp_path / "proc/driver/nvidia"
    put(place / "gpus/0000:01:00.0/information", "Model: \t\t Tesla V100\nDevice Minor: \t 0\n")
    put(place / "gpus/0000:02:00.0/information", "Model: \t\t Another's\nDevice Minor: \t 1\n")
    version = (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Wed Feb\nGCC version: 12\n"
    )
    put(place / "version", version)
    assert find_gpus(str(tmp_path))["gpus"] == []  # the machine has them, the container has not
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        put(tmp_path / "dev" / name, "")
    assert find_gpus(str(tmp_path)) == {
        "by": "/proc/driver/nvidia",
        "gpus": [{"name": "Tesla V100", "memory": 0}],
        "driver": "535.161.08",
        "cuda": "",
    }


def test_what_rocm_says(without_smi: None, tmp_path: Path) -> None:
    topology = tmp_path / "sys/class/kfd/kfd/topology/nodes"
    put(topology / "0/properties", "cpu_cores_count 16\nsimd_count 0\n")
    for number, minor in (("1", 128), ("2", 129)):
        put(topology / number / "properties", f"simd_count 440\ndrm_render_minor {minor}\n")
        put(topology / number / "name", "aldebaran\n")
        put(
            topology / number / "mem_banks/0/properties", "heap_type 1\nsize_in_bytes 68702699520\n"
        )
    put(tmp_path / "sys/module/amdgpu/version", "6.3.6\n")
    put(tmp_path / "dev/dri/renderD129", "")
    assert find_gpus(str(tmp_path))["gpus"] == []
    put(tmp_path / "dev/kfd", "")
    assert find_gpus(str(tmp_path)) == {
        "by": "ROCm's sysfs",
        "gpus": [{"name": "aldebaran", "memory": 68702699520}],
        "driver": "6.3.6",
        "cuda": "",
    }


# ---------------------------------------------------------------- how such a run ends


def ended(code: int) -> Ending:
    from reprorun.model import ContainerState

    return Ending(state=ContainerState(running=False, exit_code=code), cause="exited")


def test_a_run_that_the_guest_refused_has_failed_for_that_reason() -> None:
    report = GuestReport(exit_code=125, refused="2 GPUs were asked for\x1b[31m", gpus=GpusSeen())
    outcome = judge(ended(125), report, Limits())
    assert (outcome.status, outcome.exit_code) == ("failed", 125)
    assert outcome.reason == "2 GPUs were asked for?[31m"
    assert gpu_warning(outcome) is None


def test_a_run_whose_gpu_runtime_gave_it_none_says_so() -> None:
    outcome = judge(ended(0), GuestReport(gpus=GpusSeen(why="it is stuck")), Limits())
    assert outcome.status == "finished"
    assert "saw no GPU (it is stuck)" in (gpu_warning(outcome) or "")
    seen = GpusSeen(by="nvidia-smi", gpus=(Gpu(name="T4"),))
    assert gpu_warning(judge(ended(0), GuestReport(gpus=seen), Limits())) is None
    assert gpu_warning(judge(ended(0), GuestReport(), Limits())) is None
