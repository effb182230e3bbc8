"""The machine of a run on another one's engine: what the engine and the guest say, never ours."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun import held, store
from reprorun.engine.fake import FakeProcess
from reprorun.errors import EngineUnavailable, UsageError
from reprorun.gpus import offers_gpus
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes, EngineInfo, Hardware, Image, Record, RunSpec
from reprorun.probe.hardware import find_hardware, hardware_of
from reprorun.sweeps.values import Ask
from reprorun.workflow import machine
from reprorun.workflow.doctor import examine
from reprorun.workflow.opened import opened
from reprorun.workflow.recover import Scope, recover
from reprorun.workflow.report import Silent
from reprorun.workflow.rerun import rerun
from reprorun.workflow.resources import machine_of
from reprorun.workflow.situation import find_situation

from .test_remote import Bench, Far
from .values import ANSWER

CHIP, FLAGS = "Far Chip 9000", "fpu sse4_2 avx2 fma rdtscp"
CPUINFO = f"processor\t: 0\nmodel name\t: {CHIP}\nflags\t\t: {FLAGS}\n"
TOLD = Hardware(
    node="far-1", system="Linux 9.9.9", machine="aarch64", cpu_count=64, memory=1 << 40
)  # as the engine does
SEEN = replace(TOLD, cpu_model=CHIP, cpu_features=("sse4_2", "fma", "avx2"))


class FarMachine(Far):
    """An engine that says of its machine what this one certainly is not."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.programs["/bin/sh"] = self._asked

    def info(self) -> EngineInfo:
        return replace(
            super().info(), address="ssh://far-1/docker.sock", node=TOLD.node, system=TOLD.system,
            machine=TOLD.machine, cpus=TOLD.cpu_count, memory=TOLD.memory,
        )  # fmt: skip

    def _asked(self, process: FakeProcess) -> int:
        if process.spec.command:  # for its Python
            process.say(json.dumps({**ANSWER, "machine": "aarch64"}))
        else:
            self.looks += 1
            process.say(CPUINFO)
        return 0


@pytest.fixture
def bench(repository: Any, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("reprorun.workflow.recover.SETTLED", 0.0)
    monkeypatch.setattr(machine, "_measured", {})
    made = Bench(repository({"train.py": "print('hello')\n"}))
    made.engine = FarMachine()
    return made


def reports(process: FakeProcess, **facts: Any) -> int:
    given = {"exit_code": 0, "cpu_model": CHIP, "cpu_flags": FLAGS, **facts}
    process.write("/log/.reprorun-guest.json", json.dumps(given).encode())
    return 0


def again(bench: Bench, elsewhere: Path) -> Record:
    elsewhere.mkdir()
    bench.engine.programs["python"] = reports
    return rerun(
        str(bench.log_dir), Changes(), str(elsewhere), ArchiveLimits(),
        lambda: bench.engine, Silent(),
    ).record  # fmt: skip


# ---------------------------------------------------------------- a run


def test_the_machine_of_a_run(bench: Bench) -> None:
    during: list[Hardware] = []

    def program(process: FakeProcess) -> int:
        while not bench.record.host.node:  # it is written while the container starts
            process.sleep(0.01)
        during.append(bench.record.host)
        return reports(process)

    assert bench.run(program).exit_code == 0
    assert during == [TOLD]
    assert bench.record.host == SEEN
    assert bench.record.engine is not None
    assert bench.record.engine.remote


def test_this_machine_is_measured_as_ever() -> None:
    near = EngineInfo(name="docker", version="1", api_version="1", node="x", cpus=99, memory=99)
    assert hardware_of(near) == find_hardware()
    assert find_hardware().node == os.uname().nodename
    assert find_hardware().cpu_count == len(os.sched_getaffinity(0))


def test_a_guest_that_says_nothing_leaves_it_unknown(bench: Bench) -> None:
    bench.run()
    assert bench.record.host == TOLD


def test_what_a_guest_says_is_not_trusted_far(bench: Bench) -> None:
    bench.run(lambda process: reports(process, cpu_model="\x1b[2J" + "x" * 9999, cpu_flags="evil"))
    host = bench.record.host
    assert host.cpu_model == "[2J" + "x" * 196
    assert host.cpu_features == ()


def test_a_guest_on_this_machine_does_not_say_what_it_is(bench: Bench) -> None:
    bench.engine.remote = False
    bench.run(reports)
    assert bench.record.host == find_hardware()
    assert bench.record.engine is not None
    assert not bench.record.engine.remote


def test_a_container_is_no_machine(bench: Bench) -> None:
    """In one of the engine's, all is measured here but the name."""
    here = replace(bench.engine.info(), remote=False)
    assert hardware_of(here).node == platform.node()
    assert hardware_of(replace(here, shared=())) == replace(hardware_of(here), node="far-1")
    assert hardware_of(replace(here, shared=(), node="")).node == platform.node()


# ---------------------------------------------------------------- re-runs


def test_a_rerun_there_has_the_same_machine(bench: Bench, tmp_path: Path) -> None:
    bench.run(reports)
    record = again(bench, tmp_path / "again")
    assert record.host == SEEN
    assert [each.what for each in record.differences if each.what.startswith("host")] == []


def test_a_rerun_there_of_a_run_here_says_what_differs(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reprorun.probe.hardware._gpus", lambda: ("Card",))
    bench.engine.remote = False
    bench.run(reports)
    bench.engine.remote = True
    differences = {each.what: each.now for each in again(bench, tmp_path / "again").differences}
    assert differences["host: name"] == "far-1"
    assert differences["host: processor"] == CHIP
    assert differences["host: instructions"] == "sse4_2 fma avx2"
    assert differences["host: processors"] == "64"
    assert "host: gpus" not in differences  # nobody has looked


def test_it_is_looked_at_once(bench: Bench) -> None:
    bench.run()
    base = bench.record.base_image
    assert machine.find_machine(bench.engine, base) == SEEN
    assert machine.find_machine(bench.engine, base) == SEEN
    assert bench.engine.looks == 1  # type: ignore[attr-defined]
    assert bench.engine.containers == {}


def test_an_engine_without_any_image_of_ours(bench: Bench) -> None:
    bench.engine.images.clear()
    assert machine.find_machine(bench.engine, None) == TOLD


def test_any_image_of_ours_will_do(bench: Bench) -> None:
    bench.engine.images = {"x:1": Image(id="sha256:x", labels={"reprorun": "1"})}
    assert machine.find_machine(bench.engine, None) == SEEN


def test_what_is_varied_goes_by_that_machine(bench: Bench) -> None:
    bench.run()
    with opened(str(bench.log_dir), Silent()) as place:
        found = find_situation(place, Changes(), ArchiveLimits(), lambda: bench.engine)
    assert (found.cpus, found.features) == (64, SEEN.cpu_features)
    assert found.offers_gpus == offers_gpus(bench.engine.info())


# ---------------------------------------------------------------- sweeps


def test_the_gpus_of_this_machine_are_not_given_away_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reprorun.probe.hardware._gpus", lambda: ("Card", "Card"))
    info = bench.engine.info()
    assert machine_of(info, Ask()).gpus == ()
    assert machine_of(info, Ask(devices=("0", "3"))).gpus == ("0", "3")
    with pytest.raises(UsageError, match="does not say which its machine has"):
        machine_of(info, Ask(gpus=1))
    assert machine_of(replace(info, remote=False), Ask(gpus=1)).gpus == ("0", "1")
    assert machine_of(replace(info, cdi=("nvidia.com/gpu=0",)), Ask(gpus=1)).gpus == ("0",)


def test_doctor_takes_our_cards_for_nobody_elses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reprorun.probe.hardware._gpus", lambda: ("Card",))
    spec = RunSpec(script="", cwd=str(bench.root))
    found = {}
    for bench.engine.remote in (False, True):
        checks = examine(spec, lambda: bench.engine)
        found[bench.engine.remote] = next(each for each in checks if each.name == "gpu")
    assert "the machine has Card" in found[False].found
    assert "Card" not in found[True].found


# ---------------------------------------------------------------- a run that was left behind


def left_behind(bench: Bench) -> None:
    bench.engine.breaks["wait"] = EngineUnavailable("cut")
    with pytest.raises(EngineUnavailable):
        bench.run(reports)
    bench.engine.breaks.clear()


def test_recover_knows_the_machine_too(bench: Bench) -> None:
    left_behind(bench)
    assert [each.what for each in bench.recover()] == ["finished"]
    assert bench.record.host == SEEN


def test_recover_takes_a_far_record_that_nobody_has_noted(bench: Bench) -> None:
    """Its machine is the engine's; it was begun on this one all the same."""
    left_behind(bench)
    record = replace(
        bench.record, status="running", ended=None, reason=None, host=Hardware()
    )  # it was killed before that was written
    store.write_record(str(bench.log_dir), record)
    held.take_over()[0].end()  # as if it had not come to the disk
    found = list(recover(Scope(), lambda: bench.engine, Silent()))
    assert [each.what for each in found] == ["finished"]
    assert bench.record.host == SEEN
