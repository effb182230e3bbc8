"""`execute` on the fake engine: every way a run can go, and what its record then says."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.engine.protocol import Stream
from reprorun.errors import (
    BuildFailed,
    EngineError,
    EngineUnavailable,
    ImageMissing,
    UsageError,
)
from reprorun.model import Limits, RunSpec
from reprorun.workflow import attend
from reprorun.workflow.exec import Finished, dry_run, execute

from ...kit import FAKE_BASE
from .values import ANSWER


class Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.printed = b""

    def step(self, name: str, text: str) -> None:
        self.steps.append(name)

    def progress(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)

    def output(self, stream: Stream, data: bytes) -> None:
        self.printed += data


class Bench:
    """A fake engine with a base image, and a program in the place of `python`."""

    def __init__(self, root: Path, program: Any = lambda process: 0) -> None:
        self.root = root
        programs = {"python": program, "/bin/sh": _answer}  # the latter is asked for the Python
        self.engine = FakeEngine(images={"base:1": FAKE_BASE}, programs=programs)
        self.told = Told()

    def run(self, script: str = "train.py", **fields: Any) -> Finished:
        spec = self.spec(script, **fields)
        return execute(spec, lambda: self.engine, self.told)

    def spec(self, script: str = "train.py", **fields: Any) -> RunSpec:
        return RunSpec(script=script, cwd=str(self.root), base_image="base:1", **fields)


def _answer(process: FakeProcess) -> int:
    process.say(json.dumps(ANSWER))
    return 0


@pytest.fixture
def bench(repository: Any) -> Bench:
    return Bench(repository({"train.py": "print('hello')\n", "lib/a.py": "A = 1\n"}))


def test_a_run_leaves_a_whole_record(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        process.say("hello\n")
        process.say("careful\n", "stderr")
        process.write("out/result.txt", b"42\n")
        return 0

    bench.engine.programs["python"] = program
    finished = bench.run(args=("--lr", "0.1"), env={"A": "1", "MY_TOKEN": "hunter2"})
    assert finished.exit_code == 0
    assert finished.log_dir == str(bench.root / "data/local/experiment/train")
    record = store.read_record(finished.log_dir)
    assert record == finished.record
    assert record.status == "finished"
    assert record.argv == ("train.py", "--lr", "0.1")
    assert record.command == ("python", "train.py", "--lr", "0.1")
    assert record.environment == {"A": "1", "MY_TOKEN": "<redacted>"}
    assert record.githash
    assert not record.dirty
    assert record.archive
    assert record.archive.files == 2
    assert [output.path for output in record.outputs] == ["outputs/out/result.txt"]
    for name in store.OURS - store.PAYLOADS:
        assert os.path.isfile(os.path.join(finished.log_dir, name)), name
    assert Path(finished.log_dir, "console.log").read_bytes() == b"hello\ncareful\n"
    assert Path(finished.log_dir, "outputs/out/result.txt").read_bytes() == b"42\n"
    assert bench.told.printed == b"hello\ncareful\n"
    assert "hunter2" not in Path(finished.log_dir, "run.json").read_text()
    assert bench.engine.containers == {}


def test_the_container_is_closed(bench: Bench) -> None:
    bench.run()
    spec = bench.engine.specs[-1]
    assert spec.network == "none"
    assert spec.user == f"{os.getuid()}:{os.getgid()}"
    assert spec.workdir == "/workspace"
    assert [mount.target for mount in spec.mounts if not mount.read_only] == ["/log"]
    assert spec.labels["reprorun.run"]


def test_an_experiment_that_fails(bench: Bench) -> None:
    bench.engine.programs["python"] = lambda process: 3
    finished = bench.run()
    assert finished.exit_code == 3
    assert finished.record.status == "failed"
    assert finished.record.reason == "ended with exit code 3"


def test_every_run_has_a_directory_of_its_own(bench: Bench) -> None:
    names = [os.path.basename(bench.run().log_dir) for _ in range(3)]
    assert names == ["train", "train_1", "train_2"]
    records = [store.read_record(p) for p in store.find_records(str(bench.root))]
    assert not any(record.dirty for record in records)
    assert {record.archive.sha256 for record in records if record.archive} == {
        records[0].archive.sha256  # type: ignore[union-attr]
    }


def test_equal_inputs_build_nothing_and_a_changed_script_only_the_code(bench: Bench) -> None:
    bench.run()
    assert [tag.split(":")[0] for tag in bench.engine.builds] == [
        "reprorun/environment",
        "reprorun/run",
    ]
    bench.run()
    assert len(bench.engine.builds) == 2
    (bench.root / "train.py").write_text("print('changed')\n")
    finished = bench.run()
    assert [tag.split(":")[0] for tag in bench.engine.builds[2:]] == ["reprorun/run"]
    assert finished.record.dirty
    bench.run(rebuild=True)
    assert len(bench.engine.builds) == 5


def test_an_image_with_our_tag_but_another_digest_is_not_taken(bench: Bench) -> None:
    bench.run()
    bench.engine.images[bench.engine.builds[1]] = FAKE_BASE
    bench.run()
    assert len(bench.engine.builds) == 3


def test_a_build_that_fails_never_runs_an_older_image(bench: Bench) -> None:
    bench.run()
    (bench.root / "train.py").write_text("print('changed')\n")
    bench.engine.refuse_build = "no space left"
    containers = len(bench.engine.specs)
    with pytest.raises(BuildFailed, match="no space left"):
        bench.run()
    assert len(bench.engine.specs) == containers
    record = store.read_record(str(bench.root / "data/local/experiment/train_1"))
    assert record.status == "failed"
    assert record.reason
    assert "no space left" in record.reason


def test_a_base_image_that_is_missing(bench: Bench) -> None:
    bench.engine.images.clear()
    with pytest.raises(ImageMissing, match="base:1"):
        bench.run()
    assert not (bench.root / "data").exists()
    with pytest.raises(ImageMissing, match="--offline"):
        bench.run(offline=True)


def test_a_base_image_that_can_be_pulled(bench: Bench) -> None:
    bench.engine.pullable["base:1"] = bench.engine.images.pop("base:1")
    assert bench.run().exit_code == 0


def test_a_base_image_of_another_python(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"--python 3\.12 was asked for.*has 3\.11\.2"):
        bench.run(python="3.12")


def test_a_time_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attend, "GRACE", 0.2)
    bench.engine.programs["python"] = lambda process: process.sleep(60) or 0
    began = time.monotonic()
    finished = bench.run(limits=Limits(timeout=0.2))
    assert time.monotonic() - began < 10
    assert finished.exit_code == 124
    assert finished.record.status == "failed"
    assert finished.record.reason == "exceeded its time limit of 0.2 s (--timeout)"


def test_ctrl_c_stops_the_run(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        process.write("before.txt", b"kept")
        process.sleep(60)
        return 0

    bench.engine.programs["python"] = program
    finished = bench.run()
    assert finished.exit_code == 130
    assert finished.record.status == "interrupted"
    assert [output.path for output in finished.record.outputs] == ["outputs/before.txt"]
    assert bench.engine.containers == {}


def test_ctrl_c_twice_kills_it(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        process.ignores_interrupts = True
        for delay in (0.1, 0.3):
            threading.Timer(delay, os.kill, [os.getpid(), signal.SIGINT]).start()
        process.sleep(60)
        return 0

    bench.engine.programs["python"] = program
    began = time.monotonic()
    finished = bench.run()
    assert time.monotonic() - began < attend.GRACE
    assert finished.exit_code == 130
    assert bench.told.notes[-1] == "killing it"


def test_one_wrapped_call_gives_the_records_variant(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        process.write("/log/train/metadata.json", b'{"launcher": "train.py"}')
        process.write("/log/train/variant.json", b'{"seed": 1}')
        return 0

    bench.engine.programs["python"] = program
    finished = bench.run(params={"seed": 1})
    assert finished.record.sub_records == ("train",)
    assert json.loads(Path(finished.log_dir, "variant.json").read_text()) == {"seed": 1}


def test_several_wrapped_calls_give_a_variant_each(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        for seed in (1, 2):
            process.write(f"/log/train_{seed}/metadata.json", b'{"launcher": "train.py"}')
            process.write(f"/log/train_{seed}/variant.json", b'{"seed": %d}' % seed)
        return 0

    bench.engine.programs["python"] = program
    finished = bench.run()
    assert finished.record.sub_records == ("train_1", "train_2")
    variant = json.loads(Path(finished.log_dir, "variant.json").read_text())
    assert variant == {"train_1": {"seed": 1}, "train_2": {"seed": 2}}


def test_parameters_that_nothing_takes_are_an_error(bench: Bench) -> None:
    finished = bench.run(params={"seed": 1})
    assert finished.error
    assert "-P seed had no effect" in finished.error
    assert finished.exit_code == 2
    record = store.read_record(finished.log_dir)
    assert (record.status, record.exit_code) == ("finished", 0)
    assert finished.error in record.notes
    bench.engine.programs["python"] = lambda process: 3
    failed = bench.run(params={"seed": 1})
    assert (failed.exit_code, failed.error) == (3, None)  # it may not have come to its call


def test_a_container_does_not_go_on_unattended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "requirements.lock")

    bench.engine.programs["python"] = lambda process: process.sleep(60) or 0
    monkeypatch.setattr("reprorun.workflow.run._write_texts", full)
    with pytest.raises(EngineError, match="is full"):
        bench.run()
    assert bench.engine.containers == {}
    record = store.read_record(str(bench.root / "data/local/experiment/train"))
    assert record.status == "failed"


def test_ignored_signals_stay_ignored(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        process.sleep(0.3)
        return 0

    bench.engine.programs["python"] = program
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        finished = bench.run()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert finished.record.status == "finished"


def test_outputs_that_can_not_be_brought_out_keep_the_container(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(container: str, path: str) -> Any:
        yield b"\0" * 100
        raise EngineUnavailable("the engine does not answer")

    bench.engine.programs["python"] = lambda process: process.write("x.txt", b"x") or 0
    monkeypatch.setattr(bench.engine, "copy_out", broken)
    with pytest.raises(EngineError, match="docker cp reprorun-"):
        bench.run()
    assert len(bench.engine.containers) == 1
    record = store.read_record(str(bench.root / "data/local/experiment/train"))
    assert (record.status, record.exit_code) == ("failed", 0)
    assert "could not be brought out" in (record.reason or "")


@pytest.mark.parametrize("all_of_them", [False, True])
def test_one_file_that_can_not_be_brought_out_is_named(
    all_of_them: bool, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where none can, the engine is about to end; then the container keeps them."""
    whole = bench.engine.copy_out

    def refuse(container: str, path: str) -> Any:
        if all_of_them or path.endswith("odd"):
            raise EngineError("the engine refused: invalid argument")
        return whole(container, path)

    def program(process: FakeProcess) -> int:
        process.write("odd", b"1")
        process.write("plain", b"2")
        return 0

    bench.engine.programs["python"] = program
    monkeypatch.setattr(bench.engine, "copy_out", refuse)
    if all_of_them:
        with pytest.raises(EngineError, match="The container is kept"):
            bench.run()
        assert len(bench.engine.containers) == 1
        return
    record = bench.run().record
    assert [output.path for output in record.outputs] == ["outputs/plain"]
    assert [left.path for left in record.not_kept] == ["odd"]
    assert bench.engine.containers == {}


def test_a_container_that_can_not_be_removed_changes_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(container: str) -> None:
        raise EngineError("the engine refused: busy")

    inner = bench.engine.remove
    bench.run()  # the base image is known from here on
    monkeypatch.setattr(bench.engine, "remove", refuse)
    finished = bench.run()
    assert finished.record.status == "finished"
    assert "the container could not be removed: the engine refused: busy" in bench.told.notes
    monkeypatch.setattr(bench.engine, "remove", inner)


def test_output_that_is_cut_off_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            raise EngineError("the stream broke")

        def close(self) -> None:
            pass

    bench.run()
    monkeypatch.setattr(bench.engine, "attach", lambda container: Broken())
    bench.engine.programs["python"] = lambda process: process.say("hello") or 0
    finished = bench.run()
    assert "console.log is incomplete: cut off" in finished.record.notes


def test_an_engine_that_goes_away_leaves_the_end_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(container: str) -> Any:
        raise EngineUnavailable("the engine does not answer")

    bench.run()
    monkeypatch.setattr(bench.engine, "wait", gone)
    bench.engine.programs["python"] = lambda process: process.sleep(0.2) or 0
    with pytest.raises(EngineUnavailable):
        bench.run()
    record = store.read_record(str(bench.root / "data/local/experiment/train_1"))
    assert (record.status, record.exit_code) == ("lost", None)
    assert len(bench.engine.containers) == 1


def test_what_the_guest_brought_out_is_not_asked_for_again(bench: Bench) -> None:
    report = {"seconds": 1.5, "peak_memory": 1024, "outputs_kept": True, "not_kept": []}

    def program(process: FakeProcess) -> int:
        process.write("/log/outputs/x.txt", b"by the guest")
        process.write("y.txt", b"only the engine knows")
        process.write("/log/.reprorun-guest.json", json.dumps(report).encode())
        return 0

    bench.engine.programs["python"] = program
    finished = bench.run()
    assert [output.path for output in finished.record.outputs] == ["outputs/x.txt"]
    assert finished.record.seconds == 1.5
    assert finished.record.peak_memory == 1024
    assert not Path(finished.log_dir, ".reprorun-guest.json").exists()


def test_a_guest_report_that_is_nonsense_is_dropped(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        process.write("/log/.reprorun-guest.json", b'{"seconds": "many"}')
        return 0

    bench.engine.programs["python"] = program
    finished = bench.run()
    assert finished.exit_code == 0
    assert finished.record.peak_memory is None


def test_the_archive_can_not_be_written_over_from_inside(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        with pytest.raises(OSError, match="read-only"):
            process.write("/log/launch_archive.tar.xz", b"something else")
        return 0

    bench.engine.programs["python"] = program
    assert bench.run().exit_code == 0


def test_an_archive_that_was_written_over_is_told(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        log_dir = next(m.source for m in process.spec.mounts if m.target == "/log")
        (Path(log_dir) / "launch_archive.tar.xz").unlink()
        (Path(log_dir) / "launch_archive.tar.xz").write_bytes(b"something else")
        return 0

    assert not any("changed" in note for note in bench.run().record.notes)
    bench.engine.programs["python"] = program
    notes = bench.run().record.notes
    assert any("launch_archive.tar.xz was changed" in note for note in notes)


def test_a_process_killed_for_want_of_memory_is_told(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        report = {"oom_killed": True, "outputs_kept": True}
        process.write("/log/.reprorun-guest.json", json.dumps(report).encode())
        return 0

    bench.engine.programs["python"] = program
    record = bench.run().record
    assert record.status == "finished"
    assert any("for want of memory" in note for note in record.notes)


def test_outputs_are_not_written_through_a_planted_link(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    def program(process: FakeProcess) -> int:
        log = process.spec.mounts[0].source
        os.symlink(tmp_path / "elsewhere", os.path.join(log, "outputs"))
        process.write("x.txt", b"x")
        return 0

    bench.engine.programs["python"] = program
    with pytest.raises(EngineError, match="in the place of"):
        bench.run()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_network_is_named_when_it_was_wanted(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        process.say("socket.gaierror: [Errno -3] Temporary failure in name resolution\n", "stderr")
        return 1

    bench.engine.programs["python"] = program
    finished = bench.run()
    assert any("--network bridge" in note for note in finished.record.notes)
    assert not any("--network" in note for note in bench.run(network="bridge").record.notes)


def test_a_script_outside_git(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)\n")
    bench = Bench(tmp_path)
    finished = bench.run()
    assert finished.record.githash is None
    assert finished.record.launcher == str(tmp_path / "train.py")
    assert any("no git repository" in note for note in finished.record.notes)


def test_a_repository_without_commits(repository: Any) -> None:
    bench = Bench(repository({"train.py": "print(1)\n"}, commit=False))
    finished = bench.run()
    assert finished.record.githash is None
    assert finished.record.launcher == "train.py"
    assert any("no commit yet" in note for note in finished.record.notes)


def test_from_outside_the_repository(bench: Bench, tmp_path: Path) -> None:
    spec = RunSpec(script="project/train.py", cwd=str(tmp_path), base_image="base:1")
    finished = execute(spec, lambda: bench.engine, bench.told)
    assert finished.record.command == ("python", "/workspace/train.py")
    assert any("outside the repository" in note for note in finished.record.notes)


def test_from_a_subdirectory(bench: Bench) -> None:
    spec = RunSpec(script="../train.py", cwd=str(bench.root / "lib"), base_image="base:1")
    finished = execute(spec, lambda: bench.engine, bench.told)
    assert finished.record.command == ("python", "../train.py")
    assert bench.engine.specs[-1].workdir == "/workspace/lib"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 300])
def test_names_that_are_no_directory(bench: Bench, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        bench.run(name=name)


@pytest.mark.parametrize("name", ["a b", "it's", 'quo"te', "line\nbreak", "schön", "$(reboot)"])
def test_odd_names(bench: Bench, name: str) -> None:
    finished = bench.run(name=name)
    assert os.path.basename(finished.log_dir) == name
    assert finished.record.status == "finished"


def test_a_log_directory_that_holds_something(bench: Bench) -> None:
    bench.run(log_dir="runs/one")
    with pytest.raises(UsageError, match="is not empty"):
        bench.run(log_dir="runs/one")


def test_a_log_directory_below_a_file(bench: Bench) -> None:
    (bench.root / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        bench.run(log_dir="file/run")


def test_large_files_are_mounted_not_archived(bench: Bench) -> None:
    large = bench.root / "weights" / "large.bin"
    large.parent.mkdir()
    large.write_bytes(b"\0" * (8 << 20))
    finished = bench.run()
    mounts = {mount.target: mount for mount in bench.engine.specs[-1].mounts}
    assert mounts["/workspace/weights/large.bin"].read_only
    assert [entry.path for entry in finished.record.left_out] == ["weights/large.bin"]
    assert finished.record.inputs[0].sha256 == finished.record.left_out[0].sha256
    assert finished.record.archive
    assert finished.record.archive.size < 100_000


def test_a_dry_run_starts_and_writes_nothing(bench: Bench) -> None:
    plan = dry_run(bench.spec(args=("--x",)), lambda: bench.engine)
    assert plan.container.command == ("python", "train.py", "--x")
    assert bench.engine.builds == []
    assert bench.engine.specs == []
    assert not (bench.root / "data").exists()
