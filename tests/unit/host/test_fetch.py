"""Fetching files into the cache: what comes in, what is refused, several runs at once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from reprorun import files
from reprorun.environment import download, wheel_cache
from reprorun.environment import fetch as module
from reprorun.environment.fetch import cached, fetch, keep
from reprorun.errors import LockFailed
from reprorun.model import RemoteFile
from tests.index import Index, Served, make_sdist, make_wheel

from .fetching import (
    FETCH,
    MEGABYTE,
    OTHER,
    big,
    changed,
    got,
    leftovers,
    place,
    process,
    refusal,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("no_waiting")


# ---------------------------------------------------------------- the good case


def test_files_come_into_the_cache(index: Index) -> None:
    served = [index.add(*make_wheel(f"package-{n}", "1.0")) for n in range(9)]
    served.append(index.add(*make_sdist("source", "1+local")))
    paths = got(*(each.remote for each in served))
    for each, path in zip(served, paths, strict=True):
        assert path == str(place(each.remote) / each.filename)
        assert Path(path).read_bytes() == each.data
        assert len(each.requests) == 1
        assert leftovers(each.remote) == []
        assert cached(each.remote) == path


def test_what_is_cached_is_not_asked_for(index: Index, six: Served) -> None:
    got(six.remote)
    index.stop()
    assert got(six.remote) == got(six.remote, offline=True) == [cached(six.remote)]
    assert got(changed(six.remote, url=None)) == [cached(six.remote)]
    assert len(six.requests) == 1


def test_a_file_that_is_wanted_twice_is_fetched_once(six: Served) -> None:
    assert len(set(got(six.remote, six.remote))) == 1
    assert len(six.requests) == 1


def test_nothing_wanted() -> None:
    assert got() == []


def test_size_and_length_may_be_unknown(six: Served) -> None:
    six.faults.length = False
    (path,) = got(changed(six.remote, size=None))
    assert Path(path).read_bytes() == six.data


def test_several_at_a_time_but_not_more(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, running, most = threading.Lock(), 0, 0
    original = download.Downloader.bring

    def counting(*given: Any) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        original(*given)
        with lock:
            running -= 1

    monkeypatch.setattr(download.Downloader, "bring", counting)
    got(*(index.add(*make_wheel(f"package-{n}", "1.0")).remote for n in range(8)))
    assert most == 4


def test_a_mistake_of_ours_reaches_the_caller(six: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*given: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(download.Downloader, "bring", mistaken)
    with pytest.raises(ZeroDivisionError):
        got(six.remote)


def test_uv_resolves_against_the_index(index: Index) -> None:
    index.add(*make_wheel("six", "1.0", requires=["dep.two>=1"]))
    index.add(*make_wheel("six", "2.0"), uploaded="2026-01-01T00:00:00Z")
    index.add(*make_wheel("dep-two", "3.0"), requires_python=">=4")
    index.add(*make_sdist("dep-two", "2.0"))
    uv = os.path.join(os.path.dirname(sys.executable), "uv")
    command = [uv, "pip", "compile", "-", "--format", "pylock.toml", "--no-cache"]
    done = subprocess.run(
        [*command, "--exclude-newer", "2025-01-01"],
        input="six\n",
        text=True,
        capture_output=True,
        check=True,
        env={**os.environ, "UV_DEFAULT_INDEX": index.url},
    )
    for name in ("six-1.0-py3-none-any.whl", "dep_two-2.0.tar.gz"):
        assert index.files[name].url in done.stdout
        assert index.files[name].sha256 in done.stdout
    assert "dep_two-3.0" not in done.stdout
    assert "six-2.0" not in done.stdout


# ---------------------------------------------------------------- progress


def test_progress_of_a_slow_download(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.1)
    served = index.add("numpy-2.2.6-cp311-cp311-manylinux_2_17_x86_64.whl", big(MEGABYTE))
    served.faults.pause = 0.03
    told: list[tuple[str, threading.Thread]] = []

    def progress(text: str) -> None:
        told.append((text, threading.current_thread()))

    began = time.monotonic()
    fetch([served.remote], offline=False, progress=progress)
    assert 2 <= len(told) <= (time.monotonic() - began) / 0.1
    for text, thread in told:
        assert re.fullmatch(r"numpy-2\.2\.6-\.\.\.whl  (0\.\d|1\.0) of 1\.0 MB", text)
        assert thread is threading.current_thread()
    told.clear()
    fetch([served.remote], offline=False, progress=progress)
    assert told == []


# ---------------------------------------------------------------- several runs at once


def test_two_runs_share_one_download(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(20 * MEGABYTE))
    served.faults.pause = 0.002
    runs = [process(served.remote) for _ in range(2)]
    ended = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ended
    assert len({out for out, _ in ended}) == 1
    assert len(served.requests) == 1


def test_the_waiter_goes_on_when_the_other_is_killed(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(4 * MEGABYTE))
    served.faults.pause = 0.05
    killed = process(served.remote)
    wait_until(lambda: len(served.requests) == 1)
    waiter = process(served.remote)
    time.sleep(0.5)
    assert len(served.requests) == 1
    served.faults.pause = 0
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    out, _ = waiter.communicate()
    assert Path(out.strip()).read_bytes() == served.data


def test_a_cache_that_is_emptied_while_we_wait(six: Served) -> None:
    sleeps = 0

    def wait() -> None:
        nonlocal sleeps
        sleeps += 1
        shutil.rmtree(place(six.remote))
        release()

    held = wheel_cache.place_of(six.remote, lambda: None)
    held.__enter__()
    release = lambda: held.__exit__(None, None, None)  # noqa: E731
    with wheel_cache.place_of(six.remote, wait) as directory:
        assert sleeps == 1
        assert os.path.exists(os.path.join(directory, ".lock"))


def test_threads_of_one_process_do_not_disturb_each_other(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(2 * MEGABYTE))
    served.faults.pause = 0.005
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.extend(got(served.remote))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cached(served.remote)] * 3
    assert len(served.requests) == 1


INTERRUPTED = FETCH.replace("import sys", "import sys, os, signal, threading, time") + ""
INTERRUPTED = INTERRUPTED.replace(
    "print(",
    "threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\nprint(",
)


def test_an_interrupt_does_not_wait_for_the_server(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(MEGABYTE))
    served.faults.pause = 20
    began = time.monotonic()
    run = process(served.remote, INTERRUPTED)
    _, said = run.communicate(timeout=15)
    assert "KeyboardInterrupt" in said
    assert time.monotonic() - began < 10


# ---------------------------------------------------------------- files of this machine


def test_files_of_this_machine(tmp_path: Path) -> None:
    for number, form in enumerate(("file://{}", "{}", "file://localhost{}")):
        name, content = make_wheel("own", f"1.{number}")
        path = tmp_path / "with space"
        path.mkdir(exist_ok=True)
        (path / name).write_bytes(content)
        place = str(path / name)
        url = form.format(place.replace(" ", "%20") if "file:" in form else place)
        sha256 = hashlib.sha256(content).hexdigest()
        file = RemoteFile(name=name, sha256=sha256, url=url)
        assert Path(got(file, offline=True)[0]).read_bytes() == content


def test_files_of_this_machine_that_will_not_do(tmp_path: Path) -> None:
    name, content = make_wheel("own", "1.0")
    (tmp_path / name).write_bytes(content)
    file = RemoteFile(name=name, sha256=OTHER, url=f"file://{tmp_path}/{name}")
    text = refusal(file)
    assert OTHER in text
    assert hashlib.sha256(content).hexdigest() in text
    assert leftovers(file) == []
    assert "No such file" in refusal(changed(file, url=f"{tmp_path}/gone"))
    assert "no regular file" in refusal(changed(file, url="file:///dev/zero"))
    right = changed(file, sha256=hashlib.sha256(content).hexdigest())
    assert name in refusal(changed(right, url=f"file://another-host{tmp_path}/{name}"))
    os.mkfifo(tmp_path / "fifo")
    assert "no regular file" in refusal(changed(file, url=str(tmp_path / "fifo")))


def test_keep(tmp_path: Path) -> None:
    name, content = make_wheel("own", "1.0")
    (tmp_path / "built").write_bytes(content)
    sha256, path = keep(name, content)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert Path(path).read_bytes() == content
    assert keep(name, str(tmp_path / "built")) == (sha256, path)
    assert cached(RemoteFile(name=name, sha256=sha256)) == path
    shutil.rmtree(place(RemoteFile(name=name, sha256=sha256)))
    assert keep(name, str(tmp_path / "built")) == (sha256, path)
    with pytest.raises(LockFailed, match="No such file"):
        keep(name, str(tmp_path / "gone"))
    with pytest.raises(LockFailed, match="no name of a wheel"):
        keep("../" + name, content)


# ---------------------------------------------------------------- hostile locks, odd caches


@pytest.mark.parametrize(
    "name",
    ["../x.whl", "/etc/x.whl", "a/b.whl", "a\0b.whl", "", ".", "..", ".lock", ".partial", "a\nb",
     "\x1b[31m.whl", "x" * 300, "~x", "-rf"],
)  # fmt: skip
def test_names_that_are_none(six: Served, name: str) -> None:
    text = refusal(changed(six.remote, name=name))
    assert text.isprintable()
    assert six.requests == []
    with pytest.raises(LockFailed):
        cached(changed(six.remote, name=name))


@pytest.mark.parametrize("sha256", ["", "abc", "../" * 20 + "abcd", "G" * 64, "A" * 64, "0" * 65])
def test_digests_that_are_none(six: Served, sha256: str) -> None:
    assert "sha256" in refusal(changed(six.remote, sha256=sha256))
    assert six.requests == []


def test_links_in_the_cache_are_not_written_through(six: Served, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (".partial", ".lock", ".etag"):
        place(six.remote).mkdir(parents=True)
        (place(six.remote) / name).symlink_to(victim)
        assert "symbolic link" in refusal(six.remote)
        shutil.rmtree(place(six.remote))
    place(six.remote).mkdir()
    (place(six.remote) / six.filename).symlink_to(victim)
    assert cached(six.remote) is None
    assert Path(got(six.remote)[0]).read_bytes() == six.data
    assert not (place(six.remote) / six.filename).is_symlink()
    assert victim.read_text() == "precious"


def test_a_directory_that_is_a_link(six: Served, tmp_path: Path) -> None:
    place(six.remote).parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place(six.remote).symlink_to(elsewhere)
    assert six.filename in refusal(six.remote)
    assert os.listdir(elsewhere) == []


def test_a_cached_file_of_another_size_is_fetched_anew(six: Served) -> None:
    (path,) = got(six.remote)
    os.truncate(path, 10)
    assert cached(six.remote) is None
    assert got(six.remote) == [path]
    assert Path(path).read_bytes() == six.data


def test_a_full_disk(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(MEGABYTE))
    monkeypatch.setattr(wheel_cache.shutil, "disk_usage", lambda path: Usage())
    text = refusal(served.remote)
    assert "the disk is full" in text
    assert served.filename in text
    assert leftovers(served.remote) == []


class Usage:
    free = 1000


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300000, 300000))\n" + FETCH


def test_a_disk_that_fills_up(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(MEGABYTE))
    run = process(served.remote, FULL)
    _, said = run.communicate()
    assert "the disk is full" in said
    assert served.filename in said
    assert leftovers(served.remote) == []
    assert cached(served.remote) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_is_read_only(six: Served) -> None:
    os.chmod(files.cache_directory("wheels"), 0o555)
    assert "XDG_CACHE_HOME" in refusal(six.remote)


# ---------------------------------------------------------------- cost


def test_nothing_slow_is_imported_when_all_is_cached(six: Served) -> None:
    got(six.remote)
    code = FETCH + "sys.exit('requests' in sys.modules or 'urllib3' in sys.modules)"
    run = process(six.remote, code)
    out, said = run.communicate()
    assert run.returncode == 0, said
    assert out.strip() == cached(six.remote)


PEAK = """
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
import reprorun.environment.download
before = peak()
"""


def test_memory_stays_small(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", bytes(200 * MEGABYTE))
    run = process(served.remote, PEAK + FETCH + "print(peak() - before)")
    out, said = run.communicate()
    assert run.returncode == 0, said
    path, grown = out.split()
    assert os.path.getsize(path) == 200 * MEGABYTE
    assert int(grown) < 50 * 1024, f"{grown} KiB more"
