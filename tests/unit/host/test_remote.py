"""Runs on an engine that does not see our files: what is sent, what comes home, what is lost."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun import store
from reprorun.engine.fake import FakeEngine, FakeProcess, Program
from reprorun.errors import EngineError, EngineUnavailable, UsageError
from reprorun.model import ContainerSpec, InputFile, Mount, Record, RunSpec
from reprorun.probe.inputs import describe_input
from reprorun.workflow import carrying, sending
from reprorun.workflow.carrying import ARRIVING, LABEL, carry_home
from reprorun.workflow.exec import Finished, execute
from reprorun.workflow.keeper import Keeper
from reprorun.workflow.recover import Recovered, Scope, recover
from reprorun.workflow.report import Silent
from reprorun.workflow.sending import PIECE, content_of_mounts

from ...kit import FAKE_BASE
from .values import ANSWER


class Far(FakeEngine):
    """An engine on another machine. Its connection can break."""

    def __init__(self) -> None:
        programs: dict[str, Program] = {"python": works, "/bin/sh": _answer}
        super().__init__(images={"base:1": FAKE_BASE}, programs=programs, remote=True)
        self.breaks: dict[str, Exception] = {}  # method -> what it raises from then on
        self.tried: list[bool] = []  # containers that were to be made: with mounts?

    def create(self, spec: ContainerSpec) -> str:
        self.tried.append(bool(spec.mounts))
        return super().create(spec)

    def wait(self, container: str) -> Any:
        state = super().wait(container)
        if LABEL in self.containers[container].process.spec.labels:  # else it is asked something
            self._break("wait")
        return state

    def copy_in(self, container: str, pieces: Any) -> None:
        super().copy_in(container, pieces)
        self._break("copy_in")

    def copy_out(self, container: str, path: str) -> Iterator[bytes]:
        whole = b"".join(super().copy_out(container, path))
        if path == "/log/.":
            yield whole[: len(whole) // 2]
            self._break("copy_out")
            yield whole[len(whole) // 2 :]
        else:
            yield whole

    def _break(self, name: str) -> None:
        if name in self.breaks:
            raise self.breaks[name]


def _answer(process: FakeProcess) -> int:
    process.say(json.dumps(ANSWER))
    return 0


def works(process: FakeProcess) -> int:
    process.say("hello\n")
    process.write("/log/direct.txt", b"direct")
    process.write("/log/sub/deep.txt", b"deep")
    process.write("made.txt", b"made")
    return 0


class Bench:
    """A repository, and an engine far away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = Far()

    def run(self, program: Any = works, **fields: Any) -> Finished:
        # the image is asked for its Python first
        self.engine.programs["python"] = program
        spec = RunSpec(script="train.py", cwd=str(self.root), base_image="base:1", **fields)
        return execute(spec, lambda: self.engine, Silent())

    def recover(self) -> list[Recovered]:
        return list(recover(Scope(), lambda: self.engine, Silent()))

    @property
    def log_dir(self) -> Path:
        return self.root / "data/local/experiment/train"

    @property
    def record(self) -> Record:
        return store.read_record(str(self.log_dir))


@pytest.fixture
def bench(repository: Any, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("reprorun.workflow.recover.SETTLED", 0.0)
    return Bench(repository({"train.py": "print('hello')\n"}))


def all_is_there(bench: Bench) -> None:
    """What `works` makes, as the record names it, and nothing else."""
    record = bench.record
    assert record.status == "finished"
    assert {output.path for output in record.outputs} == {
        "direct.txt", "sub/deep.txt", "outputs/made.txt"
    }  # fmt: skip
    for output in record.outputs:
        data = (bench.log_dir / output.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == output.sha256
    assert (bench.log_dir / "console.log").read_bytes() == b"hello\n"
    assert not (bench.log_dir / ARRIVING).exists()
    assert bench.engine.containers == {}


# ---------------------------------------------------------------- a run


def test_a_run_comes_home(bench: Bench) -> None:
    finished = bench.run()
    assert finished.exit_code == 0
    all_is_there(bench)
    spec = bench.engine.specs[-1]
    assert (spec.mounts, spec.hosts, spec.own_hosts, spec.labels[LABEL]) == ((), "", True, "1")
    for name in store.OURS - store.PAYLOADS:
        assert (bench.log_dir / name).is_file(), name


def test_that_an_engine_does_not_see_our_files_is_known_for_a_day(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mounting in (1, 0):
        bench.engine.tried.clear()
        assert bench.run().exit_code == 0
        assert bench.engine.tried.count(True) == mounting
    monkeypatch.setattr("reprorun.workflow.same_files.DAY", 0)
    bench.engine.tried.clear()
    assert bench.run().exit_code == 0
    assert bench.engine.tried.count(True) == 1
    assert bench.record.status == "finished"


def test_what_a_run_finds_in_its_log_directory(bench: Bench) -> None:
    found: dict[str, bytes] = {}

    def program(process: FakeProcess) -> int:
        found.update(process.files)
        return 0

    bench.run(program, payloads={"args_data.b64": b"payload"})
    assert found["/log/args_data.b64"] == b"payload"
    assert found["/log/metadata.json"] == (bench.log_dir / "metadata.json").read_bytes()
    archive = (bench.log_dir / "launch_archive.tar.xz").read_bytes()
    assert found["/log/launch_archive.tar.xz"] == archive
    assert not [name for name in found if name.endswith(".tmp")]


def test_the_record_is_written_here_alone(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        for name in ("run.json", "console.log", "Dockerfile", "launch_archive.tar.xz"):
            process.write(f"/log/{name}", b"forged")
        process.write("/log/.reprorun-0123456789abcdef.tmp", b"forged")
        return 0

    assert bench.run(program).exit_code == 0
    assert bench.record.status == "finished"
    for path in bench.log_dir.iterdir():
        assert path.read_bytes() != b"forged", path


def test_a_guest_that_reports(bench: Bench) -> None:
    def program(process: FakeProcess) -> int:
        report = {"started": "x", "ended": "y", "seconds": 1.5, "exit_code": 3, "peak_memory": 7}
        process.write("/log/.reprorun-guest.json", json.dumps(report).encode())
        return 3

    finished = bench.run(program)
    assert finished.exit_code == 3
    assert (bench.record.seconds, bench.record.peak_memory) == (1.5, 7)
    assert not (bench.log_dir / ".reprorun-guest.json").exists()


def test_inputs_arrive_and_are_no_outputs(bench: Bench, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "sub/x.csv").write_bytes(b"1,2\n")
    (bench.root / "near.csv").write_bytes(b"3,4\n")
    found: dict[str, bytes] = {}

    def program(process: FakeProcess) -> int:
        found.update(process.files)
        return 0

    bench.run(program, inputs=(str(data), "near.csv"))
    assert found[f"{data}/sub/x.csv"] == b"1,2\n"
    assert found["/workspace/near.csv"] == b"3,4\n"
    assert bench.record.outputs == ()


def test_an_input_that_changed_meanwhile(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data.csv"
    data.write_bytes(b"1,2\n")
    create = bench.engine.create

    def late(spec: ContainerSpec) -> str:
        if spec.labels.get(LABEL):
            data.write_bytes(b"1,3\n")
        return create(spec)

    monkeypatch.setattr(bench.engine, "create", late)
    with pytest.raises(UsageError, match=f"the input {data} was changed"):
        bench.run(inputs=(str(data),))
    assert bench.record.status == "failed"
    assert bench.engine.containers == {}


def test_an_engine_that_says_too_late_what_it_sees(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another directory of that name is mounted there: no run is started with it."""
    monkeypatch.setattr(FakeEngine, "create", sees_another_directory(FakeEngine.create))
    assert bench.run().exit_code == 0
    all_is_there(bench)


def test_an_engine_that_would_make_what_it_does_not_see(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = replace(bench.engine.info(), lacks=("mount-check",))
    monkeypatch.setattr(bench.engine, "info", lambda: info)
    create = bench.engine.create

    def refuse_mounts(spec: ContainerSpec) -> str:
        assert spec.mounts == ()
        return create(spec)

    monkeypatch.setattr(bench.engine, "create", refuse_mounts)
    assert bench.run().exit_code == 0
    all_is_there(bench)


def sees_another_directory(create: Any) -> Any:
    def patched(self: Far, spec: ContainerSpec) -> str:
        self.remote = False
        try:
            container: str = create(self, spec)
        finally:
            self.remote = True
        return container

    return patched


# ---------------------------------------------------------------- what breaks


@pytest.mark.parametrize("at", ["wait", "copy_out"])
def test_a_connection_that_breaks_loses_nothing(bench: Bench, at: str) -> None:
    bench.engine.breaks[at] = EngineUnavailable("the engine does not answer: cut")
    with pytest.raises(EngineError, match="cut"):
        bench.run()
    assert len(bench.engine.containers) == 1
    assert bench.record.status != "finished"
    assert not (bench.log_dir / "direct.txt").exists()
    assert not (bench.log_dir / ARRIVING).exists()
    bench.engine.breaks.clear()
    assert [each.what for each in bench.recover()] == ["finished"]
    all_is_there(bench)


def test_a_connection_that_breaks_again_while_it_is_recovered(bench: Bench) -> None:
    bench.engine.breaks["wait"] = EngineUnavailable("cut")
    with pytest.raises(EngineUnavailable):
        bench.run()
    bench.engine.breaks = {"copy_out": EngineUnavailable("cut again")}
    assert [each.what for each in bench.recover()] == ["left"]
    assert len(bench.engine.containers) == 1
    bench.engine.breaks.clear()
    assert [each.what for each in bench.recover()] == ["finished"]
    all_is_there(bench)


def test_a_full_disk_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(carrying, "extract", full)
        with pytest.raises(EngineError, match=r"full(.|\n)*`reprorun recover`"):
            bench.run()
    assert bench.record.status == "failed"
    assert [each.what for each in bench.recover()] == ["finished"]
    all_is_there(bench)


def test_what_came_in_part_is_no_output(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command was killed on the way, and somebody has removed the container."""
    bench.engine.breaks["wait"] = EngineUnavailable("cut")
    with monkeypatch.context() as patched:  # it says nothing of its end
        patched.setattr(Keeper, "_end", lambda self, **_: self._part(later=True))
        with pytest.raises(EngineUnavailable):
            bench.run()
    (bench.log_dir / ARRIVING).mkdir()
    (bench.log_dir / ARRIVING / "half.txt").write_bytes(b"half")
    bench.engine.containers.clear()
    assert [each.what for each in bench.recover()] == ["lost"]
    assert bench.record.outputs == ()
    assert not (bench.log_dir / ARRIVING).exists()


def test_a_connection_that_breaks_before_the_start(bench: Bench) -> None:
    bench.engine.breaks["copy_in"] = EngineUnavailable("cut")
    with pytest.raises(EngineUnavailable):
        bench.run()
    assert bench.record.status == "failed"
    assert [each.what for each in bench.recover()] == ["removed"]
    assert bench.engine.containers == {}


# ---------------------------------------------------------------- what comes out of a container


class Hands:
    """An engine that hands out a tar."""

    def __init__(self, whole: bytes) -> None:
        self.whole = whole

    def copy_out(self, container: str, path: str) -> Iterator[bytes]:
        assert path == "/log/."
        yield from (self.whole[at : at + 1000] for at in range(0, len(self.whole), 1000))


def a_tar(*members: tuple[str, bytes, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o4755
            if isinstance(content, str):
                member.linkname = content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def home(whole: bytes, log_dir: Path) -> dict[str, str]:
    left_out = carry_home(Hands(whole), "it", str(log_dir))  # type: ignore[arg-type]
    return {entry.path: entry.reason for entry in left_out}


def test_what_is_hostile_stays_in_the_record(tmp_path: Path) -> None:
    log_dir = tmp_path / "record"
    log_dir.mkdir()
    whole = a_tar(
        ("./", tarfile.DIRTYPE, b""),
        ("./good.txt", tarfile.REGTYPE, b"good"),
        ("./near", tarfile.SYMTYPE, "good.txt"),
        ("../evil.txt", tarfile.REGTYPE, b"evil"),
        ("/etc/evil.txt", tarfile.REGTYPE, b"evil"),
        ("./out", tarfile.SYMTYPE, "../../etc"),
        ("./out/evil.txt", tarfile.REGTYPE, b"evil"),
        ("./pipe", tarfile.FIFOTYPE, b""),
    )
    left_out = home(whole, log_dir)
    assert {"out", "pipe"} <= set(left_out)
    assert "leads out" in left_out["out"]
    assert sorted(os.listdir(tmp_path)) == ["record"]
    assert (log_dir / "good.txt").stat().st_mode & 0o7777 == 0o755
    assert os.readlink(log_dir / "near") == "good.txt"
    assert not os.path.islink(log_dir / "out")


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 4, 6, 9, 12, 13])
def test_a_tar_that_ends_early_changes_nothing(tmp_path: Path, blocks: int) -> None:
    """Also behind the end of a file, where it can be read."""
    whole = a_tar(*((f"./{n}.txt", tarfile.REGTYPE, os.urandom(1024)) for n in range(4)))
    (tmp_path / "0.txt").write_bytes(b"before")
    with pytest.raises(EngineError, match="broke off"):
        home(whole[: blocks * 512], tmp_path)
    assert os.listdir(tmp_path) == ["0.txt"]
    assert (tmp_path / "0.txt").read_bytes() == b"before"


def test_the_launch_archive_is_shared_again(tmp_path: Path) -> None:
    (tmp_path / "launch_archive.tar.xz").write_bytes(b"code")
    whole = a_tar(
        ("./a/launch_archive.tar.xz", tarfile.REGTYPE, b"code"),
        ("./b/launch_archive.tar.xz", tarfile.LNKTYPE, "./a/launch_archive.tar.xz"),
        ("./c/launch_archive.tar.xz", tarfile.REGTYPE, b"edoc"),
        ("./launch_archive.tar.xz", tarfile.LNKTYPE, "./a/launch_archive.tar.xz"),
    )
    assert home(whole, tmp_path) == {}
    outputs, _ = store.list_outputs(str(tmp_path))
    assert [output.path for output in outputs] == ["c/launch_archive.tar.xz"]
    assert (tmp_path / "a/launch_archive.tar.xz").stat().st_nlink == 3


def test_what_came_before_gives_way(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/old.txt").write_bytes(b"old")
    (tmp_path / ARRIVING).mkdir()
    (tmp_path / ARRIVING / "half.txt").write_bytes(b"half")
    home(a_tar(("./sub/new.txt", tarfile.REGTYPE, b"new")), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["sub", "new.txt"]


# ---------------------------------------------------------------- what is sent


def sent(
    *mounts: Mount, user: str = "1000:1001", inputs: tuple[InputFile, ...] = ()
) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    spec = ContainerSpec(image="i", command=(), name="n", mounts=mounts, user=user)
    data = b"".join(content_of_mounts(spec, inputs))
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as tar:
        return {m.name: (m, tar.extractfile(m).read() if m.isreg() else b"") for m in tar}  # type: ignore[union-attr]


def test_inputs_are_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x").write_bytes(b"x")
    (tmp_path / "in/run.sh").write_bytes(b"y")
    (tmp_path / "in/run.sh").chmod(0o755)
    mount = Mount(source=str(tmp_path / "in"), target="/data/in")
    for user, owner in (("1000:1001", 0), ("0:0", 65534)):
        found = sent(mount, user=user)
        assert {m.uid for m, _ in found.values()} == {owner}
        modes = {name: m.mode for name, (m, _) in found.items()}
        assert modes == {"data/in": 0o555, "data/in/x": 0o444, "data/in/run.sh": 0o555}


def test_the_log_directory_and_secrets_are_the_users(tmp_path: Path) -> None:
    log_dir = tmp_path / "log"
    log_dir.mkdir()
    for name in ("run.json", ".reprorun-reserve.tmp", "strange.txt"):
        (log_dir / name).write_bytes(b"x")
    (tmp_path / "token").write_bytes(b"secret")
    found = sent(
        Mount(source=str(log_dir), target="/log", read_only=False),
        Mount(source=str(tmp_path / "token"), target="/run/secrets/token"),
    )
    told = {name: (m.mode, m.uid, m.gid) for name, (m, _) in found.items()}
    assert told == {
        "log": (0o755, 1000, 1001),
        "log/run.json": (0o644, 1000, 1001),
        "run/secrets/token": (0o400, 1000, 1001),
    }


def test_host_names_are_copied_too(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_bytes(b"127.0.0.1 localhost\n")
    for user, owner in (("1000:1001", 0), ("0:0", 65534)):
        hosts = str(tmp_path / "hosts")
        spec = ContainerSpec(image="i", command=(), name="n", hosts=hosts, user=user)
        data = b"".join(content_of_mounts(spec, ()))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            (member,) = tar.getmembers()
        assert (member.name, member.mode, member.uid) == ("etc/hosts", 0o644, owner)


def test_names_that_are_strange(tmp_path: Path) -> None:
    names = [b"new\nline", b"x" * 200, b"no-utf8-\xff", "snö".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    (tmp_path / "link").symlink_to("no-such")
    recorded = describe_input(str(tmp_path), "/data/in")
    found = sent(Mount(source=str(tmp_path), target="/data/in"), inputs=(recorded,))
    for name in names:
        assert found[f"data/in/{os.fsdecode(name)}"][1] == name
    assert found["data/in/link"][0].linkname == "no-such"


def test_a_directory_that_changed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x").write_bytes(b"x")
    (tmp_path / "sub/link").symlink_to("x")
    recorded = describe_input(str(tmp_path), "/data/in")
    mount = Mount(source=str(tmp_path), target="/data/in")
    assert "data/in/sub/x" in sent(mount, inputs=(recorded,))
    (tmp_path / "sub/y").write_bytes(b"")
    with pytest.raises(UsageError, match="was changed after it had been hashed"):
        sent(mount, inputs=(recorded,))


def test_an_input_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{tmp_path}/gone can't be read"):
        sent(Mount(source=str(tmp_path / "gone"), target="/data/in"))


def test_a_file_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 10)
    header = sending._header

    def grow(*args: Any, **kwargs: Any) -> bytes:
        path.write_bytes(b"x" * 11)
        return header(*args, **kwargs)

    monkeypatch.setattr(sending, "_header", grow)
    with pytest.raises(UsageError, match="changed its size"):
        sent(Mount(source=str(path), target="/data/x"))


def test_large_files_are_sent_in_pieces(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(20 * PIECE)
    mount = Mount(source=str(tmp_path / "large"), target="/data/large")
    spec = ContainerSpec(image="i", command=(), name="n", mounts=(mount,), user="1:1")
    sizes = [len(piece) for piece in content_of_mounts(spec, ())]
    assert max(sizes) < 2 * PIECE
    assert sum(sizes) > 20 * PIECE
