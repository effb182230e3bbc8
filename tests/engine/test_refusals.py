"""What can't be done: an exit code, one or two lines, and a record that is true or none at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .bench import Bench, containers_of, one_message, ordinary_user, socket_path
from .complete import archived, assert_valid
from .disk import small_disk

HELLO = "print('hello')\n"


@pytest.fixture
def hello(bench: Bench) -> Bench:
    """A repository with one script."""
    bench.write({"train.py": HELLO})
    bench.commit()
    return bench


# ---------------------------------------------------------------- the engine


def test_no_engine(hello: Bench, tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/nowhere.sock"
    done = hello.exec("train.py", env={"DOCKER_HOST": nowhere})
    assert (done.code, done.out) == (125, "")
    message = one_message(done.err)
    assert f"no Docker Engine answers at {nowhere}" in message
    assert "systemctl start docker" in message
    assert list(done.log_dir.iterdir()) == []


def test_a_socket_that_nobody_listens_at(hello: Bench, tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "dead.sock"))
    listener.close()
    done = hello.exec("train.py", env={"DOCKER_HOST": f"unix://{tmp_path}/dead.sock"})
    assert done.code == 125
    assert "no Docker Engine answers at" in one_message(done.err)


def test_a_socket_without_permission(user_bench: Bench, tmp_path: Path) -> None:
    bench = user_bench
    bench.write({"train.py": HELLO})
    bench.commit()
    bench.user = ordinary_user(may_use_engine=False)
    with locked_socket(bench.root.parent) as path:
        done = bench.exec("train.py", env={"DOCKER_HOST": f"unix://{path}"})
    assert (done.code, done.out) == (125, "")
    message = one_message(done.err)
    assert f"the engine's socket at unix://{path} may not be opened by this user" in message
    assert "docker group" in message
    assert "usermod -aG docker" in message


@contextmanager
def locked_socket(place: Path) -> Iterator[Path]:
    """The engine's own socket where root can make somebody up who may not use it; else another."""
    if os.getuid() == 0:
        yield socket_path()
        return
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "locked.sock"))
        listener.listen()
        (place / "locked.sock").chmod(0)
        yield place / "locked.sock"


def test_a_base_image_that_does_not_exist(hello: Bench) -> None:
    done = hello.exec("train.py", flags=["--base-image", "reprorun-test/no-such-image:1"])
    assert (done.code, done.out) == (125, "")
    message = one_message(done.err)
    assert "the base image reprorun-test/no-such-image:1 is not on the engine" in message
    assert "--base-image" in message


def test_a_base_image_that_is_missing_when_offline(hello: Bench) -> None:
    flags = ["--offline", "--base-image", "reprorun-test/no-such-image:1"]
    done = hello.exec("train.py", flags=flags)
    assert done.code == 125
    assert "--offline lets none be pulled" in one_message(done.err)


@pytest.mark.parametrize("name", ["UPPER/case:1", "a b", "x\nRUN touch /pwned", "--flag", "a:b:c"])
def test_a_base_image_that_is_no_reference(hello: Bench, name: str) -> None:
    done = hello.exec("train.py", flags=[f"--base-image={name}"])
    assert done.code in (2, 125)
    assert done.out == ""
    one_message(done.err)


def test_a_package_that_does_not_exist(bench: Bench) -> None:
    bench.write({"train.py": HELLO, "requirements.txt": "no-such-package-of-reprorun==1\n"})
    bench.commit()
    done = bench.exec("train.py")
    assert (done.code, done.out) == (125, "")
    assert "Traceback" not in done.err
    assert "no-such-package-of-reprorun" in done.err


# ---------------------------------------------------------------- the script and its repository


@pytest.mark.parametrize("name", ["nowhere.py", "no/where.py", "../nowhere.py", "", "train.py/x"])
def test_a_script_that_is_not_there(hello: Bench, name: str) -> None:
    done = hello.exec(name)
    assert (done.code, done.out) == (2, "")
    one_message(done.err)
    assert list(done.log_dir.iterdir()) == []


def test_a_script_that_is_a_directory(hello: Bench) -> None:
    done = hello.exec(".")
    assert done.code == 2
    assert "is a directory" in one_message(done.err)


def test_no_script_at_all(hello: Bench) -> None:
    done = hello.reprorun("exec")
    assert done.code == 2
    assert "Missing argument 'SCRIPT'" in done.err


def test_a_command_and_a_flag_that_nobody_knows(hello: Bench) -> None:
    done = hello.reprorun("exce", "train.py")
    assert done.code == 2
    assert "Did you mean exec?" in one_message(done.err)
    done = hello.reprorun("exec", "--memroy", "1g", "train.py")
    assert done.code == 2
    assert "--memory" in done.err


def test_a_script_outside_git(bench: Bench) -> None:
    bench.write({"train.py": "import helper\n", "helper.py": HELLO, "data/x.csv": "1,2\n"})
    done = bench.exec("train.py")
    assert (done.code, done.out) == (0, "hello\n"), done.err
    record = done.record
    assert f"{bench.root} is no git repository: the whole directory is archived" in done.err
    assert any("is no git repository" in note for note in record.notes)
    assert (record.githash, record.dirty) == (None, False)
    assert record.launcher == str(bench.root / "train.py")
    assert set(archived(done.log_dir)) == {"train.py", "helper.py", "data/x.csv"}
    assert_valid(done.log_dir)


def test_the_runs_of_a_script_outside_git_do_not_archive_each_other(bench: Bench) -> None:
    bench.write({"train.py": HELLO})
    where = "data/local/experiment/train"
    first = bench.exec("train.py", log_dir=where)
    second = bench.exec("train.py", log_dir=f"{where}_1")
    assert set(archived(second.log_dir)) == {"train.py"}
    assert first.record.image == second.record.image


def test_a_script_in_a_home_directory(bench: Bench) -> None:
    bench.write({"train.py": HELLO, ".ssh/id": "secret"})
    done = bench.exec("train.py", env={"HOME": str(bench.root)})
    assert (done.code, done.out) == (2, "")
    message = one_message(done.err)
    assert str(bench.root) in message
    assert "git init" in message
    assert list(done.log_dir.iterdir()) == []


def test_more_than_is_archived_unasked(bench: Bench) -> None:
    bench.write({"train.py": HELLO})
    for number in range(15):
        with (bench.root / f"{number}.bin").open("wb") as file:
            file.truncate(7 << 20)
    done = bench.exec("train.py")
    assert (done.code, done.out) == (2, "")
    message = one_message(done.err)
    assert "holds 105 MiB, more than the 100 MiB" in message
    assert "git init" in message
    assert list(done.log_dir.iterdir()) == []


def test_a_repository_without_a_commit(bench: Bench) -> None:
    bench.git("init", "-q")
    bench.write({"train.py": HELLO})
    done = bench.exec("train.py")
    assert (done.code, done.out) == (0, "hello\n"), done.err
    assert "the repository has no commit yet" in done.err
    assert done.record.githash is None
    assert done.record.launcher == "train.py"
    assert set(archived(done.log_dir)) == {"train.py"}
    assert_valid(done.log_dir)


def test_a_launcher_that_git_ignores_is_kept(bench: Bench) -> None:
    bench.write({"train.py": HELLO, ".gitignore": "*\n"})
    bench.git("init", "-q")
    done = bench.exec("train.py")
    assert (done.code, done.out) == (0, "hello\n"), done.err
    assert set(archived(done.log_dir)) == {"train.py"}


def test_nothing_to_archive(bench: Bench) -> None:
    large = "print('hello')\n" + "#" * (8 << 20)
    bench.write({"train.py": large})
    bench.commit()
    done = bench.exec("train.py")
    assert (done.code, done.out) == (2, "")
    assert "holds no files to archive" in one_message(done.err)
    assert done.record.status == "failed"
    assert "holds no files to archive" in (done.record.reason or "")


# ---------------------------------------------------------------- the log directory


def test_a_log_directory_that_can_not_be_written(user_bench: Bench) -> None:
    bench = user_bench
    bench.write({"train.py": HELLO})
    bench.commit()
    locked = bench.root.parent / "locked"
    locked.mkdir(mode=0o555)
    for log_dir in (locked, locked / "deep/run"):
        done = bench.exec("train.py", log_dir=log_dir)
        assert (done.code, done.out) == (2, "")
        message = one_message(done.err)
        assert f"the log directory {log_dir} can't be written: Permission denied" in message
        assert "--log-dir" in message
    assert list(locked.iterdir()) == []


def test_a_log_directory_below_a_file(hello: Bench) -> None:
    done = hello.exec("train.py", log_dir=hello.root / "train.py" / "run")
    assert done.code == 2
    assert "can't be written: Not a directory" in one_message(done.err)


# ---------------------------------------------------------------- a disk that is full


def test_a_disk_that_outputs_fill_up(bench: Bench, tmp_path: Path) -> None:
    text = (
        "print('before')\nfor n in range(8): open(f'{n}.bin', 'wb').write(bytes([n]) * (1 << 20))\n"
    )
    bench.write({"train.py": text})
    bench.commit()
    with small_disk(tmp_path / "small", "2m") as disk:
        done = bench.exec("train.py", log_dir=disk / "run")
        try:
            assert done.code == 125, done.err
            message = one_message(done.err)
            assert "is full" in message
            assert "--log-dir" in message
            record = done.record
            assert record.status == "failed"
            assert "is full" in (record.reason or "")
            assert record.ended is not None
            assert_valid(done.log_dir)
            # nothing is lost: the container still holds what it made
            (kept,) = containers_of(record.id)
            assert f"`docker cp {kept.name}:/workspace .`" in done.err
            pieces, _ = kept.get_archive("/workspace/7.bin")
            assert b"\x07" * 4096 in b"".join(pieces)
        finally:
            for container in containers_of(done.record.id):
                container.remove(force=True)


def test_a_disk_that_the_console_fills_up(bench: Bench, tmp_path: Path) -> None:
    bench.write({"train.py": "for n in range(5000): print('x' * 1000)\nprint('end')\n"})
    bench.commit()
    with small_disk(tmp_path / "small", "2m") as disk:
        done = bench.exec("train.py", log_dir=disk / "run")
        assert done.out.endswith("x\nend\n")  # the experiment went on to its end
        assert "console.log is incomplete: No space left on device" in done.err
        record = done.record
        assert_valid(done.log_dir)
        assert (done.code, record.status, record.exit_code) == (0, "finished", 0)
        assert any("console.log is incomplete" in note for note in record.notes)


def test_a_disk_that_is_full_from_the_start(hello: Bench, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k") as disk:
        (disk / "filler").write_bytes(b"x" * (48 << 10))
        with (disk / "filler").open("ab", buffering=0) as file:
            try:
                while file.write(b"x" * 4096) == 4096:
                    pass
            except OSError:
                pass
        done = hello.exec("train.py", log_dir=disk / "run")
        assert (done.code, done.out) == (125, ""), done.err
        assert "is full" in one_message(done.err)


def test_what_the_experiment_itself_can_not_write(bench: Bench, tmp_path: Path) -> None:
    text = (
        "from reprorun import wrap_experiment\n@wrap_experiment\ndef train(ctxt):\n"
        "    open(ctxt.snapshot_dir + '/big', 'wb').write(bytes(4 << 20))\ntrain()\n"
    )
    bench.write({"train.py": text})
    bench.commit()
    with small_disk(tmp_path / "small", "2m") as disk:
        done = bench.exec("train.py", log_dir=disk / "run")
        assert done.code != 0
        assert "No space left on device" in done.err
        record = done.record
        assert record.status == "failed"
        assert record.reason
        assert_valid(done.log_dir)
        for container in containers_of(record.id):
            container.remove(force=True)
