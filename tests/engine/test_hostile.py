"""Experiments that make too much, odd things, or try to reach the host through their record."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from reprorun import store

from .bench import Bench, Done, client, containers_of, one_message, sha256
from .complete import assert_complete, assert_valid


def run(bench: Bench, text: str, *flags: str) -> Done:
    bench.write({"train.py": text})
    bench.commit()
    return bench.exec("train.py", flags=flags)


# ---------------------------------------------------------------- much


def test_five_megabytes_on_one_line(bench: Bench) -> None:
    done = run(bench, "print('x' * 5_000_000)\n", "-q")
    assert (done.code, len(done.out), set(done.out)) == (0, 5_000_001, {"x", "\n"})
    assert done.console == done.out.encode()


def test_two_thousand_files(bench: Bench) -> None:
    text = (
        "import os\n"
        "for n in range(2000):\n"
        "    os.makedirs(f'out/{n % 20}', exist_ok=True)\n"
        "    open(f'out/{n % 20}/{n}.txt', 'w').write(str(n))\n"
    )
    began = time.monotonic()
    done = run(bench, text)
    assert time.monotonic() - began < 20
    record = assert_complete(done, bench, "train.py")
    found = {output.path: output.sha256 for output in record.outputs}
    assert found == {f"outputs/out/{n % 20}/{n}.txt": sha256(str(n).encode()) for n in range(2000)}
    shown = bench.reprorun("show", str(done.log_dir)).out
    assert "and 1970 more; see run.json" in shown


def test_a_deep_tree_and_long_names(bench: Bench) -> None:
    text = (
        "import os\n"
        "path = '/'.join(['d' * 50] * 60)\n"
        "os.makedirs(path)\n"
        "open(path + '/' + 'f' * 255, 'w').write('deep')\n"
    )
    done = run(bench, text)
    assert done.code == 0, done.err
    (output,) = done.record.outputs
    assert output.path == "outputs/" + "/".join(["d" * 50] * 60) + "/" + "f" * 255
    assert output.sha256 == sha256(b"deep")


# ---------------------------------------------------------------- odd

ODD = """
import os
open("kept.txt", "w").write("kept")
os.symlink("/etc/passwd", "absolute")
os.symlink("../../../etc/passwd", "upwards")
os.symlink("kept.txt", "inside")
os.symlink("nowhere", "dangling")
os.makedirs("deep")
os.symlink("../kept.txt", "deep/up")
os.symlink("/", "root")
os.mkfifo("pipe")
import socket
socket.socket(socket.AF_UNIX).bind("socket")
open(b"caf\\xe9", "w").write("1")
open("line\\nbreak", "w").write("2")
open("\\x1b[31mred", "w").write("3")
os.link("kept.txt", "twin.txt")
open("setuid", "w").write("4")
os.chmod("setuid", 0o6755)
with open("sparse", "wb") as file:
    file.truncate(1 << 20)
os.makedirs("empty")
"""


def test_what_is_no_plain_file(bench: Bench) -> None:
    done = run(bench, ODD)
    assert done.code == 0, done.err
    record = done.record
    assert_valid(done.log_dir)
    outputs = done.log_dir / "outputs"
    names = {output.path for output in record.outputs}
    text = {os.fsdecode(b"caf\xe9"): "1", "line\nbreak": "2", "\x1b[31mred": "3", "setuid": "4"}
    plain = {"kept.txt": "kept", "twin.txt": "kept", **text}
    assert names == {f"outputs/{name}" for name in [*plain, "sparse"]}
    for name, content in plain.items():
        assert (outputs / name).read_text() == content
    assert (outputs / "setuid").stat().st_mode & 0o7777 == 0o755
    for name, target in {
        "inside": "kept.txt",
        "dangling": "nowhere",
        "deep/up": "../kept.txt",
    }.items():
        assert os.readlink(outputs / name) == target
    left = {entry.path.removeprefix("outputs/"): entry.reason for entry in record.not_kept}
    for name, target in {
        "absolute": "/etc/passwd",
        "upwards": "../../../etc/passwd",
        "root": "/",
    }.items():
        assert "leads out" in left[name]
        assert f"(to {target})" in left[name]
        assert not os.path.lexists(outputs / name)
    for name in ("pipe", "socket"):
        assert left[name] == "not a regular file"
        assert not os.path.lexists(outputs / name)
    shown = bench.reprorun("show", str(done.log_dir))
    assert shown.code == 0
    assert "\x1b" not in shown.out
    assert "absolute: a link that leads out of the working tree (to /etc/passwd)" in shown.out


def test_the_host_brings_out_the_same_as_the_guest(bench: Bench) -> None:
    bench.write({"kill.py": "import os\nexec(open('train.py').read())\nos.kill(-1, 9)\n"})
    by_guest = run(bench, ODD)
    by_host = bench.exec("kill.py")
    assert by_host.code == 137, by_host.err
    first, second = by_guest.record, by_host.record
    odd = os.fsdecode(b"caf\xe9")  # for which engines have no words
    kept = {output.path: output.sha256 for output in first.outputs}
    assert kept.pop(f"outputs/{odd}") == sha256(b"1")
    assert {output.path: output.sha256 for output in second.outputs} == kept
    left = {entry.path for entry in first.not_kept} | {"caf\ufffd"}
    assert {entry.path for entry in second.not_kept} == left


# ---------------------------------------------------------------- hostile

CLAIM = '{"reprorun": {"schema": 1, "version": "9"}, "status": "finished", "exit_code": 0}'


@pytest.fixture
def victim(bench: Bench) -> Path:
    """Files of the host that a record must neither show nor change."""
    place = bench.root.parent / "victim"
    place.mkdir()
    (place / "secret.json").write_text('{"password": "hunter2"}')
    (place / "metadata.json").write_text('{"launcher": "x"}')
    (place / "variant.json").write_text('{"password": "hunter2"}')
    (place / "empty").mkdir()
    return place


def unchanged(victim: Path) -> bool:
    names = sorted(str(path.relative_to(victim)) for path in victim.rglob("*"))
    return (
        names == ["empty", "metadata.json", "secret.json", "variant.json"]
        and "hunter2" in (victim / "secret.json").read_text()
        and "hunter2" in (victim / "variant.json").read_text()
    )


def copied(done: Done) -> list[str]:
    """Files of a record that hold the secret."""
    files = [p for p in done.log_dir.rglob("*") if p.is_file() and not p.is_symlink()]
    return [path.name for path in files if b"hunter2" in path.read_bytes()]


def test_a_run_json_of_its_own(bench: Bench) -> None:
    forged = f"open('/log/run.json', 'w').write({CLAIM!r})"
    text = f"import os\nos.remove('/log/run.json')\n{forged}\nexit(3)\n"
    done = run(bench, text)
    assert done.code == 3
    record = done.record
    assert (record.status, record.exit_code) == ("failed", 3)
    assert record.argv == ("train.py",)
    assert record.reprorun.version != "9"
    assert_valid(done.log_dir)


@pytest.mark.parametrize("name", sorted(store.OURS - store.PAYLOADS))
def test_links_in_the_place_of_our_files(bench: Bench, victim: Path, name: str) -> None:
    text = (
        "import os\n"
        f"if os.path.lexists('/log/{name}'): os.remove('/log/{name}')\n"
        f"os.symlink('{victim}/secret.json', '/log/{name}')\n"
    )
    done = run(bench, text)
    assert unchanged(victim)
    assert copied(done) == []
    assert done.record.id
    assert_valid(done.log_dir)


def test_a_directory_in_the_place_of_run_json(bench: Bench) -> None:
    text = "import os\nos.remove('/log/run.json')\nos.makedirs('/log/run.json/x')\n"
    done = run(bench, text)
    assert (done.code, done.out) == (125, "")  # the record can't be written
    message = one_message(done.err)
    assert "run.json: Is a directory" in message
    name = message.rpartition("docker cp ")[2].partition(":")[0]
    with client() as engine:
        engine.containers.get(name).remove(force=True)


@pytest.mark.parametrize("target", ["/etc", "{victim}/empty", "{victim}/secret.json"])
@pytest.mark.parametrize("killed", [False, True])
def test_outputs_that_lead_elsewhere(bench: Bench, victim: Path, target: str, killed: bool) -> None:
    before = sorted(os.listdir("/etc"))
    text = (
        f"import os\nos.symlink('{target.format(victim=victim)}', '/log/outputs')\n"
        "open('passwd', 'w').write('mine')\nopen('reprorun-was-here', 'w').write('mine')\n"
    )
    done = run(bench, text + ("os.kill(-1, 9)\n" if killed else ""))
    assert unchanged(victim)
    assert sorted(os.listdir("/etc")) == before
    assert Path("/etc/passwd").read_text() != "mine"
    assert "Traceback" not in done.err
    record = done.record
    assert_valid(done.log_dir)
    kept = containers_of(record.id)
    for container in kept:
        container.remove(force=True)
    # what could not be brought out is named, or the container with it is kept, and named
    if kept:
        assert done.code == 125
        message = one_message(done.err)
        assert "the outputs could not be brought out" in message
        assert f"`docker cp {kept[0].name}:/workspace .`" in message
        assert (record.status, record.reason) == ("failed", message)
    else:
        assert "outputs" in [entry.path for entry in record.not_kept]


def test_a_sub_record_that_shows_files_of_the_host(bench: Bench, victim: Path) -> None:
    text = (
        "import os\nos.mkdir('/log/sub')\n"
        f"os.symlink('{victim}/metadata.json', '/log/sub/metadata.json')\n"
        f"os.symlink('{victim}/secret.json', '/log/sub/variant.json')\n"
        f"os.symlink('{victim}', '/log/linked')\n"
    )
    done = run(bench, text)
    assert copied(done) == []
    assert done.record.sub_records == ()
    assert unchanged(victim)
    assert json.loads((done.log_dir / "variant.json").read_bytes()) == {}


@pytest.mark.parametrize(
    "report",
    [
        "'not json'",
        """'{"outputs_kept": true, "not_kept": 7}'""",
        """'{"exit_code": 0, "outputs_kept": true, "seconds": "long"}'""",
        "'[' * 100_000",
    ],
)
def test_a_report_of_the_guest_that_is_forged(bench: Bench, report: str) -> None:
    text = (
        "import os\nopen('made.txt', 'w').write('made')\n"
        f"open('/log/.reprorun-guest.json', 'w').write({report})\n"
        "os.kill(-1, 9)\n"
    )
    done = run(bench, text)
    assert done.code == 137, done.err
    assert done.record.exit_code == 137
    assert [output.path for output in done.record.outputs] == ["outputs/made.txt"]
    assert_valid(done.log_dir)


def test_a_report_that_hangs_or_leads_elsewhere(bench: Bench, victim: Path) -> None:
    text = "import os\nos.mkfifo('/log/.reprorun-guest.json')\nos.kill(-1, 9)\n"
    assert run(bench, text).code == 137
    link = f"import os\nos.symlink('{victim}/secret.json', '/log/.reprorun-guest.json')\n"
    bench.write({"train.py": link + "os.kill(-1, 9)\n"})
    done = bench.exec("train.py")
    assert done.code == 137
    assert unchanged(victim)
    assert copied(done) == []


ATTEMPTS = """
import os
path = "/log/launch_archive.tar.xz"
for attempt in (
    lambda: open(path, "r+b").write(b"something else"),
    lambda: os.chmod(path, 0o666),
    lambda: os.utime(path, (1, 1)),
    lambda: os.truncate(path, 0),
    lambda: os.unlink(path),
    lambda: os.rename(path, "/log/mine"),
    lambda: os.rename("/log/other", path),
    lambda: os.link(path, "/log/link"),
    lambda: os.rename("/log", "/logs"),
):
    open("/log/other", "w").close()
    try:
        attempt()
    except OSError as error:
        print(type(error).__name__)
"""


def test_an_experiment_can_not_write_into_the_archive_that_others_share(bench: Bench) -> None:
    done = run(bench, ATTEMPTS)
    assert done.code == 0, done.err
    assert len(done.out.split()) == 9
    record = done.record
    assert record.archive is not None
    assert record.archive.sha256 == sha256((done.log_dir / store.ARCHIVE_FILE).read_bytes())
    time.sleep(2.1)  # what has just changed may change once more, and nothing is shared
    archives = [bench.exec("train.py").log_dir / store.ARCHIVE_FILE for _ in range(2)]
    assert archives[0].samefile(archives[1])
    assert sha256(archives[0].read_bytes()) == record.archive.sha256


def test_a_flood_of_processes_stays_inside(bench: Bench) -> None:
    text = (
        "import os, time\nmade = 0\n"
        "try:\n"
        "    while made < 6000:\n"
        "        if os.fork() == 0:\n            time.sleep(60)\n            os._exit(0)\n"
        "        made += 1\n"
        "except OSError as error:\n    print(type(error).__name__, 3000 < made < 4096)\n"
        "    os._exit(0)\n"
    )
    done = run(bench, text)
    assert (done.code, done.out) == (0, "BlockingIOError True\n"), done.err
    assert containers_of(done.record.id) == []


def test_control_characters_of_a_name_do_not_reach_the_terminal(bench: Bench) -> None:
    done = run(bench, "import os\nos.symlink('/\\x1b[2J', '\\x1b]0;x\\x07')\n")
    assert done.code == 0
    for text in (done.err, bench.reprorun("show", str(done.log_dir)).out):
        assert "\x1b" not in text
        assert "\x07" not in text


# ---------------------------------------------------------------- what later commands meet

PLANTS = """
import os, socket
for name in {names!r}:
    path = "/log/" + name
    if os.path.lexists(path) and not os.path.isdir(path):
        os.remove(path)
    if {kind!r} == "fifo":
        os.mkfifo(path)
    elif {kind!r} == "socket":
        socket.socket(socket.AF_UNIX).bind(path)
    elif {kind!r} == "device":
        os.mknod(path, 0o020666, 0)  # which needs no right: overlay file systems use it
    elif {kind!r} == "link":
        os.symlink("{victim}/secret.json", path)
    else:
        os.mkdir(path)
print("planted")
"""
READ_LATER = (
    "progress.csv", "metrics.json", "x.npy", "x.pkl", "x.png", "events.out.tfevents.1", "x.sqlite",
    "x.zip", "x.h5", "x.ipynb", "README", "report.html",
)  # fmt: skip
OF_OURS = tuple(sorted(store.OURS - store.PAYLOADS - {"run.json", store.ARCHIVE_FILE}))


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "link", "directory"])
def test_no_command_hangs_or_shows_the_host(
    bench: Bench, victim: Path, kind: str, tmp_path: Path
) -> None:
    names = (*READ_LATER, *OF_OURS)
    text = PLANTS.format(names=names, kind=kind, victim=victim)
    done = run(bench, text)
    assert "planted" in done.out, done.err
    place = str(done.log_dir)
    began = time.monotonic()
    for words in (
        ("ls",), ("ls", "--json", str(bench.records)), ("show", place), ("show", "--json", place),
        ("show", "--diff", place), ("compare", place, place),
        ("compare", "--json", place, str(bench.root)),
        ("export", "--format", "ro-crate", "-o", f"{tmp_path}/crate", place),
        ("export", "--format", "slsa", place), ("rerun", "--dry-run", place),
        ("check", "--html", f"{tmp_path}/page.html", place),
        ("pack", "-o", f"{tmp_path}/run.rrpack", place), ("recover",),
    ):  # fmt: skip
        after = bench.reprorun(*words)
        assert "Traceback" not in after.err, (words, after.err)
        assert "hunter2" not in after.out + after.err, words
        assert after.code in (0, 1, 2, 125), words
    assert time.monotonic() - began < 60
    made = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink()]
    kept = [p for p in made if b"hunter2" in p.read_bytes() and victim not in p.parents]
    assert kept == []
    assert unchanged(victim)
    for container in containers_of(done.record.id):
        container.remove(force=True)


def test_no_program_is_left_that_runs_as_the_user(bench: Bench) -> None:
    """A file that is setuid in the log directory would run as the user for everybody."""
    text = (
        "import os, shutil\nos.makedirs('/log/deep/er')\n"
        "for path in ('/log/sh', '/log/deep/er/sh', 'sh'):\n"
        "    shutil.copy('/bin/sh', path)\n    os.chmod(path, 0o6755)\n"
        "os.chmod('/log/deep', 0o2777)\n"
    )
    done = run(bench, text)
    assert done.code == 0, done.err
    odd = {
        str(path.relative_to(done.log_dir)): oct(path.lstat().st_mode)
        for path in done.log_dir.rglob("*")
        if path.is_file() and path.lstat().st_mode & 0o6000
    }
    assert odd == {}
    assert os.access(done.log_dir / "sh", os.X_OK)  # what is not harmful stays


SWAP = """
import ctypes, os, threading, time
libc = ctypes.CDLL(None)
os.symlink("{victim}/empty", "/log/.swap")
os.makedirs("/log/outputs", exist_ok=True)
end = time.monotonic() + 4
names = [b"/log/console.log", b"/log/outputs", b"/log/run.json", b"/log/Dockerfile"]
rounds = 0
while time.monotonic() < end:
    for name in names:
        libc.renameat2(-100, b"/log/.swap", -100, name, 2)  # exchange
        libc.renameat2(-100, b"/log/.swap", -100, name, 2)
    print("round", rounds)
    rounds += 1
os.kill(-1, 9) if {killed} else None
"""


@pytest.mark.parametrize("killed", [False, True])
def test_files_that_are_exchanged_while_the_host_writes(
    bench: Bench, victim: Path, killed: bool
) -> None:
    done = run(bench, SWAP.format(victim=victim, killed=killed))
    assert unchanged(victim)
    assert copied(done) == []
    assert "Traceback" not in done.err
    if (done.log_dir / "run.json").is_file() and not (done.log_dir / "run.json").is_symlink():
        assert done.record.status in ("finished", "failed")
        for container in containers_of(done.record.id):
            container.remove(force=True)
