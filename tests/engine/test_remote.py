"""Runs on an engine that does not see our files: over ssh, with records that are hidden from it.

The command runs in a mount namespace of its own, in which other disks lie over the directories of
records and data. The engine, at the far end of ssh, has empty directories there.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from msgspec.structs import replace

from reprorun import store
from reprorun.probe.hardware import find_hardware
from reprorun.workflow.carrying import ARRIVING

from .bench import PATIENCE, REPRORUN, Bench, Done, client, containers_of, one_message, sha256
from .test_no_network import LOOK, has_a_loopback_alone
from .ways import Sshd, running_sshd

MANY, LARGE = 10_000, 200_000_000
OUTPUTS = f"""\
import os, sys, time
print("begun", flush=True)
os.mkdir("small")
for n in range({MANY}):
    with open("small/%d.txt" % n, "w") as file:
        file.write(str(n) * 7)
with open("/log/large.bin", "wb") as file:
    for n in range({LARGE} // 1000):
        file.write(b"%010d" % n * 100)
time.sleep(float(os.environ.get("LINGER", "0")))
print("done", flush=True)
"""


class Away:
    """Where the command runs. Its records and data are seen by nobody else."""

    def __init__(self, bench: Bench, sshd: Sshd, data: Path) -> None:
        self.bench, self.sshd, self.data = bench, sshd, data
        mount = 'mount -t tmpfs tmpfs "$0" && mount -t tmpfs tmpfs "$1" && echo ready && exec sleep'
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{mount} 3600"]
        self._sleeper = subprocess.Popen(
            [*words, str(bench.records), str(data)], stdout=subprocess.PIPE
        )
        assert self._sleeper.stdout
        assert self._sleeper.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """The disks go with the last who sees them."""
        self._sleeper.kill()
        self._sleeper.communicate()

    def seen(self, path: Path) -> Path:
        """A path as the command sees it."""
        return Path(f"/proc/{self._sleeper.pid}/root{path}")

    def words(self, *words: str) -> list[str]:
        """The words that run the command there."""
        there = ("nsenter", "--target", str(self._sleeper.pid), "--mount")
        in_root = ("sh", "-c", 'cd "$0" && exec "$@"', str(self.bench.root))
        return [*there, *in_root, REPRORUN, *words]

    def env(self, more: dict[str, str]) -> dict[str, str]:
        return {**self.bench.env, **self.sshd.env, **more}

    def reprorun(self, *words: str, log_dir: Path | None = None, **env: str) -> Done:
        """Run it to its end."""
        done = subprocess.run(
            self.words(*words), env=self.env(env), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr, self.seen(log_dir or self.data))

    def exec(self, script: str, *flags: str, name: str = "run") -> Done:
        """Run `reprorun exec`."""
        log_dir = self.bench.records / name
        words = ("exec", "--log-dir", str(log_dir), *flags, script)
        return self.reprorun(*words, log_dir=log_dir)

    @contextmanager
    def started(self, script: str, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """The same while it runs; with where its record is to be seen."""
        log_dir = self.bench.records / "run"
        words = self.words("exec", "--log-dir", str(log_dir), *flags, script)
        with subprocess.Popen(
            words, env=self.env({}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                yield process, self.seen(log_dir)
            finally:
                process.kill()


@pytest.fixture
def away(bench: Bench, tmp_path: Path) -> Iterator[Away]:
    data = tmp_path / "data"
    data.mkdir()
    with running_sshd() as sshd:
        made = Away(bench, sshd, data)
        try:
            yield made
            keep_records(made)
        finally:
            made.close()


def keep_records(away: Away) -> None:
    """What they say of the engine is needed when the session ends."""
    for number, path in enumerate(sorted(away.seen(away.bench.records).rglob(store.RUN_FILE))):
        kept = away.bench.records / f"kept-{number}"
        kept.mkdir()
        (kept / store.RUN_FILE).write_bytes(path.read_bytes())


def nothing_is_left(log_dir: Path) -> None:
    assert containers_of(store.read_record(str(log_dir)).id) == []
    unfinished = [path.name for path in log_dir.rglob("*") if path.name.endswith(".tmp")]
    assert unfinished == []


def is_true(log_dir: Path) -> None:
    """Every output is there as the record names it, and there is nothing else."""
    record = store.read_record(str(log_dir))
    for output in record.outputs:
        data = (log_dir / output.path).read_bytes()
        assert (len(data), sha256(data)) == (output.size, output.sha256), output.path
    listed, _ = store.list_outputs(str(log_dir))
    assert listed == record.outputs


# ---------------------------------------------------------------- a run

TRAIN = """\
import os, stat, sys
import reprorun

@reprorun.wrap_experiment
def train(ctxt, seed=1):
    with open(os.path.join(ctxt.snapshot_dir, "weights.txt"), "w") as file:
        file.write(str(seed))

train(seed=2)
given = sys.argv[1]
names = sorted(os.path.join(place, name) for place, _, files in os.walk(given) for name in files)
with open("made.txt", "w") as file:
    file.write("".join(open(name).read() for name in [*names, "near.csv"]))
os.symlink("made.txt", "link.txt")
with open("/log/direct.txt", "w") as file:
    file.write("direct")
for name in [*names, "near.csv"]:
    try:
        open(name, "a").write("spoilt")
        print("written", name)
    except OSError as error:
        print(type(error).__name__)
print(os.getuid(), os.stat("/log").st_uid, stat.filemode(os.stat("/log").st_mode))
print("token", open("/run/secrets/token").read())
sys.exit(3)
"""


def test_a_run_as_if_it_were_here(away: Away) -> None:
    data = away.data / "set"
    (away.seen(data) / "sub").mkdir(parents=True)
    for name, text in (("a.csv", "1\n"), ("sub/b.csv", "2\n"), ("../token", "hush")):
        (away.seen(data) / name).write_text(text)
    away.bench.write({"train.py": TRAIN, "near.csv": "3\n", ".gitignore": "near.csv\n"})
    away.bench.commit()
    log_dir = away.bench.records / "run"
    flags = ("--input", str(data), "--input", "near.csv")
    secret = ("--secret", f"id=token,src={away.data}/token")
    words = ("exec", "--log-dir", str(log_dir), *flags, *secret, "train.py", str(data))
    done = away.reprorun(*words, log_dir=log_dir)
    assert (done.code, done.record.status) == (3, "failed"), done.err
    uid = os.getuid()
    refusals = ["PermissionError"] * 3
    assert done.out.splitlines() == [*refusals, f"{uid} {uid} drwxr-xr-x", "token hush"]
    assert done.console.decode() == done.out
    assert (done.log_dir / "direct.txt").read_text() == "direct"
    assert (done.log_dir / "outputs/made.txt").read_text() == "1\n2\n3\n"
    assert os.readlink(done.log_dir / "outputs/link.txt") == "made.txt"
    (sub,) = done.record.sub_records
    assert (done.log_dir / sub / "weights.txt").read_text() == "2"
    archives = [place / "launch_archive.tar.xz" for place in (done.log_dir, done.log_dir / sub)]
    assert os.path.samefile(*archives)
    assert {entry.target for entry in done.record.inputs} == {str(data), "/workspace/near.csv"}
    assert done.record.peak_memory
    # the far machine is this one: what it says of itself is what we measure
    assert done.record.engine is not None
    assert done.record.engine.remote
    assert done.record.host == replace(find_hardware(), gpus=(), gpu_driver=None)
    is_true(done.log_dir)
    nothing_is_left(done.log_dir)


def test_it_has_no_network_either(away: Away) -> None:
    away.bench.write({"train.py": LOOK})
    away.bench.commit()
    done = away.exec("train.py")
    assert done.code == 0, done.err
    has_a_loopback_alone(json.loads(done.out))
    assert not done.record.not_kept
    assert not [name for name in os.listdir(done.log_dir) if "hosts" in name]


@pytest.mark.long
def test_the_same_record_as_here(away: Away) -> None:
    """Over ssh or not: what the record says of the run is the same but for times."""
    away.bench.write({"train.py": "print('hello')\nopen('x.txt', 'w').write('kept')\n"})
    away.bench.commit()
    far = away.exec("train.py").record
    near = away.bench.exec("train.py").record
    assert far.outputs == near.outputs
    assert (far.image, far.archive, far.status) == (near.image, near.archive, near.status)
    assert (far.notes, far.not_kept) == (near.notes, near.not_kept)


@pytest.mark.long
def test_run_again_and_checked(away: Away) -> None:
    away.bench.write({"train.py": "import os\nprint('hello')\nopen('x.txt', 'w').write('kept')\n"})
    away.bench.commit()
    first = away.exec("train.py")
    assert first.code == 0, first.err
    place, again = away.bench.records / "run", away.bench.records / "again"
    rerun = away.reprorun("rerun", "--log-dir", str(again), str(place), log_dir=again)
    assert (rerun.code, rerun.out) == (0, "hello\n"), rerun.err
    is_true(rerun.log_dir)
    check = away.reprorun("check", str(place))
    assert check.code == 0, check.out + check.err
    varied = away.reprorun("check", "--vary", "user", str(place))
    assert varied.code == 0, varied.out + varied.err
    nothing_is_left(first.log_dir)


@pytest.mark.long
def test_a_sweep(away: Away) -> None:
    away.bench.write({"train.py": TRAIN.split("given =")[0]})
    away.bench.commit()
    place = away.bench.records / "sweep"
    done = away.reprorun("sweep", "--log-dir", str(place), "--grid", "seed=1,2", "train.py")
    assert done.code == 0, done.err
    records = [Path(found) for found in store.find_records(str(away.seen(place)))]
    assert len(records) == 2
    found = {path.read_text() for path in away.seen(place).rglob("weights.txt")}
    assert found == {"1", "2"}
    for path in records:
        is_true(path)
        nothing_is_left(path)


def test_a_shell_has_copies(away: Away) -> None:
    data = away.data / "set"
    away.seen(data).mkdir()
    (away.seen(data) / "a.csv").write_text("1\n")
    away.bench.write({"train.py": "open('x.txt', 'w').write('kept')\n"})
    away.bench.commit()
    done = away.exec("train.py", "--input", str(data))
    assert done.code == 0, done.err
    before = digests(done.log_dir)
    script = (
        f"cat {data}/a.csv /record/outputs/x.txt; ls /log; id -u; echo mine >/log/mine; "
        f"for f in {data}/a.csv /record/run.json; do (echo no >$f) 2>/dev/null && echo written; "
        "done; cat; exit 7"
    )
    words = ("shell", str(away.bench.records / "run"), "--", "sh", "-c", script)
    shell = subprocess.run(
        away.words(*words), env=away.env({}), input=b"typed\n", capture_output=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert shell.returncode == 7, shell.stderr
    ours = "launch_archive.tar.xz\nmetadata.json\nrun.json\n"
    assert shell.stdout.decode() == f"1\nkept{ours}{os.getuid()}\ntyped\n"
    assert b"the shell has copies of them" in shell.stderr
    assert digests(done.log_dir) == before
    assert shells_there() == []


def digests(directory: Path) -> dict[str, str]:
    """Everything that lies in a directory."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): sha256(path.read_bytes()) for path in files}


def shells_there() -> list[str]:
    with client() as engine:
        return [name for name in carried(engine) if name.endswith("-shell")]


def carried(engine: docker.DockerClient) -> list[str]:
    """The names of containers whose files are carried; some may go while we look."""
    label = {"label": "reprorun.carried"}
    found = engine.containers.list(all=True, filters=label, ignore_removed=True)
    return [str(container.name) for container in found]


# ---------------------------------------------------------------- what breaks


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def cut(sshd: Sshd) -> None:
    """As a network that fails: the connection ends, whoever had it lives on."""
    sshd.stop()
    sshd.start()


def all_came_home(log_dir: Path) -> None:
    record = store.read_record(str(log_dir))
    assert (record.status, record.exit_code) == ("finished", 0)
    assert len(record.outputs) == MANY + 1
    for number in range(0, MANY, 97):
        assert (log_dir / f"outputs/small/{number}.txt").read_text() == str(number) * 7
    expected = hashlib.sha256()
    for number in range(LARGE // 1000):
        expected.update(b"%010d" % number * 100)
    large = next(output for output in record.outputs if output.path == "large.bin")
    assert (large.size, large.sha256) == (LARGE, expected.hexdigest())
    assert (log_dir / "console.log").read_bytes() == b"begun\ndone\n"
    is_true(log_dir)
    nothing_is_left(log_dir)


@pytest.mark.long
def test_many_outputs_and_a_large_one(away: Away) -> None:
    away.bench.write({"train.py": OUTPUTS})
    away.bench.commit()
    done = away.exec("train.py")
    assert (done.code, done.out) == (0, "begun\ndone\n"), done.err
    all_came_home(done.log_dir)


@pytest.mark.parametrize("when", [pytest.param("running", marks=pytest.mark.long), "coming home"])
def test_a_connection_that_breaks_loses_nothing(away: Away, when: str) -> None:
    away.bench.write({"train.py": OUTPUTS})
    away.bench.commit()
    linger = "2" if when == "running" else "0"
    with away.started("train.py", "-e", f"LINGER={linger}") as (process, log_dir):
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        if when == "coming home":
            wait_until(lambda: any((log_dir / ARRIVING).glob("outputs/*")))
        cut(away.sshd)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 125, err.decode()
    assert one_message(err.decode())
    assert store.read_record(str(log_dir)).status in ("lost", "failed")
    assert not (log_dir / "outputs").exists()
    assert len(containers_of(store.read_record(str(log_dir)).id)) == 1
    done = away.reprorun("recover")
    assert done.code == 0, done.err
    all_came_home(log_dir)


@pytest.mark.long
def test_a_command_that_is_killed_while_it_fetches(away: Away) -> None:
    away.bench.write({"train.py": OUTPUTS})
    away.bench.commit()
    with away.started("train.py") as (process, log_dir):
        wait_until(lambda: process.poll() is not None or (log_dir / ARRIVING).exists())
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (log_dir / ARRIVING).exists()
    done = away.reprorun("recover")
    assert done.code == 0, done.err
    all_came_home(log_dir)


@pytest.mark.long
def test_an_interrupt_brings_home_what_there_is(away: Away) -> None:
    away.bench.write(
        {"train.py": "import time\nopen('x.txt', 'w').write('kept')\nprint('begun', flush=True)\n"
         "time.sleep(60)\n"}
    )  # fmt: skip
    away.bench.commit()
    with away.started("train.py") as (process, log_dir):
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (log_dir / "outputs/x.txt").read_text() == "kept"
    assert store.read_record(str(log_dir)).status == "interrupted"
    nothing_is_left(log_dir)


def test_the_engine_keeps_no_container(away: Away) -> None:
    """Of a run that could not be started, either."""
    away.bench.write({"train.py": "print('hello')\n"})
    away.bench.commit()
    done = away.exec("train.py", "--gpus", "device=no-such")
    assert done.code == 125, done.err
    with client() as engine:
        assert f"reprorun-{done.record.id}" not in carried(engine)
