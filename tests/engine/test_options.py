"""Every flag that changes what a run is given or what is said about it; `ls`, `show`, `doctor`."""

from __future__ import annotations

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.files import digest_of

from ..kit import BASE
from .bench import Bench, client, containers_of, one_message, sha256
from .complete import archived, assert_complete
from .proxy import proxy

HELLO = "print('hello')\n"
READS = """
import sys
for path in sys.argv[1:]:
    print(open(path).read(), end='')
    try:
        open(path, 'a')
        print('WRITABLE')
    except OSError as error:
        print('', error.strerror)
"""


@pytest.fixture
def wrapped(bench: Bench) -> Bench:
    """A repository with a wrapped function."""
    bench.take("wrapped")
    bench.commit()
    return bench


@pytest.fixture
def hello(bench: Bench) -> Bench:
    """A repository with a script that knows nothing of reprorun."""
    bench.write({"train.py": HELLO})
    bench.commit()
    return bench


# ---------------------------------------------------------------- -P


def test_a_parameter_is_overridden(wrapped: Bench) -> None:
    flags = ["-P", "lr=0.25", "-P", "layers=[4, 2]", "--param", "label=two words"]
    done = wrapped.exec("train.py", "0.5", flags=flags)
    given = {"lr": 0.25, "layers": [4, 2], "label": "two words"}
    assert done.said() == given
    record = assert_complete(done, wrapped, "train.py")
    assert record.params == given
    assert record.sub_records == ("train_lr=0.25_layers=[4, 2]_label=two words",)
    assert json.loads((done.log_dir / "variant.json").read_bytes()) == given
    assert wrapped.exec("train.py", "0.5").said()["lr"] == 0.5  # and is not built into the image


def test_a_parameter_that_the_function_does_not_take(wrapped: Bench) -> None:
    done = wrapped.exec("train.py", flags=["-P", "rate=1"])
    assert (done.code, done.out) == (2, "")
    said = [line for line in done.err.splitlines() if "error:" in line]
    assert said == [
        "reprorun: error: -P rate=...: train() takes no parameter 'rate'; "
        "it takes: lr, layers, label"
    ]
    assert "Traceback" not in done.err
    assert (done.record.status, done.record.exit_code) == ("failed", 2)
    assert done.record.params == {"rate": 1}


def test_a_parameter_that_nothing_takes(hello: Bench) -> None:
    done = hello.exec("train.py", flags=["-P", "lr=1"])
    assert done.code == 2
    message = one_message(done.err)
    assert message.startswith("-P lr had no effect: train.py called no function wrapped by ")
    assert message in done.record.notes
    assert (done.record.status, done.record.exit_code) == ("finished", 0)  # which is true as well


@pytest.mark.parametrize("given", ["lr", "=1", "lr=[1", "lr=True", "two words=1"])
def test_a_parameter_that_is_no_parameter(hello: Bench, given: str) -> None:
    done = hello.exec("train.py", flags=["-P", given])
    assert (done.code, done.out) == (2, "")
    assert one_message(done.err).startswith(f"-P {given}")
    assert list(done.log_dir.iterdir()) == []


# ---------------------------------------------------------------- -e


def test_variables_are_passed_and_secrets_are_not_kept(bench: Bench) -> None:
    names = ("PLAIN", "EQUALS", "EMPTY", "COPIED", "MY_API_KEY", "NOT_ASKED_FOR")
    bench.write({"train.py": f"import os\nfor n in {names}: print(repr(os.environ.get(n)))\n"})
    bench.commit()
    flags = ["-e", "PLAIN=1", "--env", "EQUALS=a=b", "-e", "EMPTY=", "-e", "COPIED"]
    host = {"COPIED": "from $HOME 'here'", "NOT_ASKED_FOR": "x", "MY_API_KEY": "hunter2"}
    done = bench.exec("train.py", flags=[*flags, "-e", "MY_API_KEY"], env=host)
    told = ["1", "a=b", "", "from $HOME 'here'", "hunter2", None]
    assert done.out.splitlines() == [repr(value) for value in told]
    kept = {name: value for name, value in zip(names, told, strict=True) if value is not None}
    not_kept = {"COPIED": "<redacted>", "MY_API_KEY": "<redacted>"}  # both by name alone
    assert done.record.environment == {**kept, **not_kept}
    for path in done.log_dir.rglob("*"):
        if path.is_file() and path.name != store.CONSOLE_FILE:  # which it printed itself
            assert b"hunter2" not in path.read_bytes(), path.name
    with client() as engine:
        assert "hunter2" not in json.dumps(engine.images.get(done.record.image).attrs)


@pytest.mark.parametrize("given", ["NOWHERE_TO_BE_FOUND", "=hunter2", "two words=hunter2"])
def test_a_variable_that_is_none(hello: Bench, given: str) -> None:
    done = hello.exec("train.py", flags=["-e", given])
    assert (done.code, done.out) == (2, "")
    assert one_message(done.err).startswith(f"-e {given.partition('=')[0]}: ")
    assert "hunter2" not in done.err


# ---------------------------------------------------------------- --input


def test_inputs_are_mounted_read_only_and_hashed(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "out side"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/a.txt").write_text("a")
    (outside / "b.txt").write_text("b")
    files = {"train.py": READS, ".gitignore": "data\n", "data/sets/c.txt": "c", "data/d.txt": "d"}
    bench.write(files)
    bench.commit()
    flags = [
        word for path in ("data/sets", "data/d.txt", str(outside)) for word in ("--input", path)
    ]
    inside = [f"{outside}/deep/a.txt", f"{outside}/b.txt", "data/sets/c.txt", "data/d.txt"]
    done = bench.exec("train.py", *inside, flags=flags)
    assert done.out == "".join(f"{letter} Read-only file system\n" for letter in "abcd"), done.err
    record = assert_complete(done, bench, "train.py")
    digests = {entry.target: (entry.size, entry.files, entry.sha256) for entry in record.inputs}
    assert digests == {
        "/workspace/data/sets": (1, 1, digest_of("c.txt", sha256(b"c"))),
        "/workspace/data/d.txt": (1, 1, sha256(b"d")),
        str(outside): (2, 2, digest_of("b.txt", sha256(b"b"), "deep/a.txt", sha256(b"a"))),
    }
    assert record.outputs == ()
    assert set(archived(done.log_dir)) == {"train.py", ".gitignore"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere.csv", "there is no such file or directory"),
        ("/etc/passwd", "the container has its own /etc"),
        (".", "is the repository itself"),
        ("/", "the container has its own /"),
    ],
)
def test_an_input_that_can_not_be_shown(hello: Bench, path: str, words: str) -> None:
    done = hello.exec("train.py", flags=["--input", path])
    assert done.code == 2
    assert words in one_message(done.err)
    assert list(done.log_dir.iterdir()) == []


def test_an_input_with_a_comma_and_quotes_in_its_name(bench: Bench, tmp_path: Path) -> None:
    odd = tmp_path / "a,b=\"c\" 'd':e"
    odd.mkdir()
    (odd / "x.txt").write_text("x")
    bench.write({"train.py": READS})
    bench.commit()
    done = bench.exec("train.py", f"{odd}/x.txt", flags=["--input", str(odd)])
    assert done.out == "x Read-only file system\n", done.err


def test_a_large_file_of_the_repository_is_mounted(bench: Bench) -> None:
    content = bytes(range(256)) * (9 << 12)
    script = (
        "import hashlib\nd = open('w/large.bin', 'rb').read()\nprint(hashlib.sha256(d).hexdigest())"
    )
    bench.write({"train.py": script, "w/large.bin": content, "w/small.bin": b"small"})
    bench.commit()
    done = bench.exec("train.py")
    assert (done.code, done.out.strip()) == (0, sha256(content)), done.err
    record = done.record
    (entry,) = record.left_out
    assert (entry.path, entry.size, entry.sha256) == ("w/large.bin", 9 << 20, sha256(content))
    assert entry.reason
    assert [given.target for given in record.inputs] == ["/workspace/w/large.bin"]
    assert set(archived(done.log_dir)) == {"train.py", "w/small.bin"}
    (note,) = [note for note in record.notes if "large.bin" in note]
    assert "w/large.bin (9 MiB)" in note
    assert note in done.err


# ---------------------------------------------------------------- what is said


def test_json_is_exactly_the_record(hello: Bench) -> None:
    done = hello.exec("train.py", flags=["--json"])
    assert done.out == (done.log_dir / store.RUN_FILE).read_text()
    assert json.loads(done.out)["status"] == "finished"
    assert "hello\n" in done.err


def test_quiet_is_only_what_the_experiment_prints(hello: Bench) -> None:
    done = hello.exec("train.py", flags=["-q"])
    assert (done.code, done.out, done.err) == (0, "hello\n", "")


def test_plain_lines_say_each_step(hello: Bench) -> None:
    done = hello.exec("train.py", flags=["--name", "x"], log_dir="data/local/experiment/x")
    steps = [line.split()[1] for line in done.err.splitlines() if line.startswith("reprorun: ")]
    assert [step for step in steps if step not in ("note", "environment", "image")] == [
        "code",
        "running",
        "finished",
        "record",
    ]
    assert done.err.splitlines()[-1].split(None, 2)[2] == "data/local/experiment/x"
    assert "\x1b" not in done.err


def test_verbose_says_the_steps_of_the_build(hello: Bench) -> None:
    done = hello.exec("train.py", flags=["-v", "--rebuild"])
    assert done.code == 0, done.err
    assert "layer: the code" in done.err


# ---------------------------------------------------------------- --dry-run


def test_a_dry_run_starts_nothing(wrapped: Bench, tmp_path: Path) -> None:
    flags = ["--dry-run", "-e", "MY_TOKEN=hunter2", "-P", "lr=1", "--memory", "64m"]
    with proxy(tmp_path) as watched:
        done = wrapped.exec(
            "train.py",
            "two words",
            flags=flags,
            env={"DOCKER_HOST": watched.address},
            log_dir="data",
        )
    assert done.code == 0, done.err
    assert watched.requests
    assert watched.writing() == []
    assert not (wrapped.root / "data").exists()
    dockerfile, _, command = done.out.partition("\n# then\n")
    assert f"\nFROM {BASE} AS environment\n" in dockerfile
    assert wrapped.git("rev-parse", "HEAD") in dockerfile
    assert command.startswith("docker run --rm --init --cap-drop ALL ")
    assert command.endswith(" IMAGE python train.py 'two words'\n")
    assert f" --memory {64 << 20} " in command
    assert "hunter2" not in done.out


def test_a_dry_run_shows_what_is_then_done(hello: Bench) -> None:
    shown = hello.exec("train.py", flags=["--dry-run", "--json"], log_dir="data")
    plan = json.loads(shown.out)
    done = hello.exec("train.py")
    kept = (done.log_dir / store.DOCKERFILE).read_text()
    digest = [line for line in kept.splitlines() if "reprorun.digest=" in line][-1]
    assert [line for line in plan["dockerfile"].splitlines() if "reprorun.digest=" not in line] == [
        line for line in kept.splitlines() if "reprorun.digest=" not in line
    ]
    assert "sha256:" in digest
    assert tuple(plan["container"]["command"]) == done.record.command
    assert plan["container"]["user"] == f"{os.getuid()}:{os.getgid()}"


def test_a_dry_run_without_an_engine(hello: Bench, tmp_path: Path) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/nowhere.sock"}
    done = hello.exec("train.py", flags=["--dry-run"], env=nowhere, log_dir="data")
    assert done.code == 0, done.err
    assert f"FROM {BASE} AS environment" in done.out


# ---------------------------------------------------------------- names and directories


def test_runs_of_one_name_get_a_directory_each(hello: Bench) -> None:
    where = "data/local/experiment/my run"
    for suffix in ("", "_1", "_2"):
        done = hello.exec("train.py", flags=["--name", "my run"], log_dir=where + suffix)
        assert assert_complete(done, hello, "train.py").dirty is False
    names = [path.name for path in (hello.root / "data/local/experiment").iterdir()]
    assert sorted(names) == ["my run", "my run_1", "my run_2"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 201])
def test_a_name_that_is_none(hello: Bench, name: str) -> None:
    done = hello.exec("train.py", flags=["--name", name], log_dir="data")
    assert done.code == 2
    assert "can't be the name of a directory" in one_message(done.err)
    assert not (hello.root / "data").exists()


def test_a_record_is_never_written_over(hello: Bench) -> None:
    first = hello.exec("train.py")
    before = {path: path.read_bytes() for path in first.log_dir.iterdir()}
    again = hello.exec("train.py", log_dir=first.log_dir)
    assert again.code == 2
    assert "is not empty" in one_message(again.err)
    assert {path: path.read_bytes() for path in first.log_dir.iterdir()} == before


# ---------------------------------------------------------------- building only what is new


def test_equal_inputs_build_nothing_and_pull_nothing(hello: Bench, tmp_path: Path) -> None:
    assert hello.exec("train.py").code == 0
    with proxy(tmp_path) as watched:
        done = hello.exec("train.py", flags=["--offline"], env={"DOCKER_HOST": watched.address})
    assert done.code == 0, done.err
    made = ("/images/load", "/images/create", "/build")
    assert not [line for line in watched.requests if any(word in line for word in made)]
    kinds = [line.split("?")[0].rpartition("/")[2] for line in watched.writing()]
    assert sorted(kinds) == sorted(["create", "attach", "start", "wait", done_name(watched)])


def done_name(watched: Any) -> str:
    """What the container is called in the request that removes it."""
    (removed,) = [line for line in watched.requests if line.startswith("DELETE ")]
    return str(removed.split("?")[0].rpartition("/")[2])


def test_a_change_builds_the_code_alone(hello: Bench, tmp_path: Path) -> None:
    first = hello.exec("train.py")
    hello.write({"train.py": f"print('changed')  # {uuid.uuid4()}: no image of it is there yet\n"})
    with proxy(tmp_path) as watched:
        second = hello.exec("train.py", env={"DOCKER_HOST": watched.address})
    assert second.out == "changed\n"
    assert len([line for line in watched.requests if "/images/load" in line]) == 1
    assert first.record.environment_digest == second.record.environment_digest
    assert first.record.image != second.record.image


def test_rebuild_gives_the_same_image(hello: Bench) -> None:
    first, second = (
        hello.exec("train.py").record,
        hello.exec("train.py", flags=["--rebuild"]).record,
    )
    assert first.image == second.image
    with client() as engine:
        assert engine.images.get(second.image).labels["reprorun.digest"].startswith("sha256:")
    assert containers_of(second.id) == []


def test_project_settings_count_after_flags_and_variables(bench: Bench) -> None:
    settings = '[tool.reprorun]\nmemory = "100m"\nshm-size = "70m"\ntimeout = "1h"\n'
    bench.write({"train.py": HELLO, "pyproject.toml": settings})
    bench.commit()
    done = bench.exec("train.py", flags=["--timeout", "2m"], env={"REPRORUN_MEMORY": "90m"})
    assert done.code == 0, done.err
    limits = done.record.limits
    assert (limits.memory, limits.shm_size, limits.timeout) == (90 << 20, 70 << 20, 120.0)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--memory", "lots"),
        ("--cpus", "-1"),
        ("--timeout", "soon"),
        ("--network", "vpn"),
        ("--gpus", "device="),
        ("--python", "2"),
        ("--as-of", "yesterday"),
    ],
)
def test_a_value_that_is_none(hello: Bench, flag: str, value: str) -> None:
    done = hello.exec("train.py", flags=[flag, value])
    assert done.code == 2
    message = one_message(done.err)
    assert flag in message
    assert value in message


def test_a_python_that_the_base_image_has_not(hello: Bench) -> None:
    done = hello.exec("train.py", flags=["--python", "3.99"])
    assert done.code == 2
    assert "--python 3.99 was asked for, but the base image" in one_message(done.err)


# ---------------------------------------------------------------- ls, show, doctor


def test_ls_lists_what_there_is(hello: Bench) -> None:
    hello.write({"bad name.py": "raise SystemExit(3)\n"})
    first = hello.exec("train.py", "a b", log_dir="data/local/experiment/train")
    second = hello.exec("bad name.py", log_dir="data/local/experiment/bad name")
    listed = hello.reprorun("ls")
    header, *lines = listed.out.splitlines()
    assert header.split()[:3] == ["RECORD", "STATUS", "EXIT"]
    assert [line.split("  ")[0] for line in lines] == [
        "data/local/experiment/train",
        "data/local/experiment/bad name",
    ]
    assert " finished  0 " in lines[0]
    assert lines[0].endswith("train.py 'a b'")
    assert " failed    3 " in lines[1]
    rows = json.loads(hello.reprorun("ls", "--json").out)
    assert [row["id"] for row in rows] == [first.record.id, second.record.id]
    assert [row["path"] for row in rows] == [
        "data/local/experiment/train",
        "data/local/experiment/bad name",
    ]


def test_show_says_what_a_record_holds(bench: Bench) -> None:
    bench.write({"train.py": "open('made.txt', 'w').write('made')\n"})
    bench.commit()
    done = bench.exec("train.py", "a b", flags=["-e", "A=1"])
    shown = bench.reprorun("show", str(done.log_dir))
    assert shown.code == 0, shown.err
    record = done.record
    for text in (
        record.id,
        "finished in ",
        "exit code 0",
        "train.py 'a b'",
        "A=1",
        f"commit {record.githash}",
        BASE,
        "network none",
        f"outputs/made.txt                4 B  sha256 {sha256(b'made')[:12]}",
    ):
        assert text in shown.out, text
    assert "missing" not in shown.out
    raw = bench.reprorun("show", "--json", str(done.log_dir))
    assert json.loads(raw.out) == json.loads((done.log_dir / store.RUN_FILE).read_bytes())


def test_show_of_what_is_no_record(hello: Bench) -> None:
    done = hello.reprorun("show", ".")
    assert done.code == 2
    assert "is no record: it has no run.json" in one_message(done.err)


def test_doctor_finds_everything_well(hello: Bench) -> None:
    done = hello.reprorun("doctor")
    assert done.code == 0, done.out + done.err
    with client() as engine:
        version = engine.version()["Version"]
    assert f"docker {version}" in done.out
    assert f"{BASE} is on the engine" in done.out
    assert sys.executable.rsplit("/", 1)[0] in done.out
    checks = json.loads(hello.reprorun("doctor", "--json").out)
    assert {check["name"] for check in checks} >= {"python", "git", "uv", "engine", "base image"}
    assert not [check for check in checks if check["state"] == "bad"]


def test_doctor_says_how_to_mend(hello: Bench, tmp_path: Path) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/nowhere.sock"}
    done = hello.reprorun("doctor", env=nowhere)
    assert done.code == 1
    lines = done.out.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("MISSING")]
    assert "no Docker Engine answers at" in lines[at]
    assert "systemctl start docker" in lines[at + 1]

    missing = hello.reprorun("doctor", env={"REPRORUN_BASE_IMAGE": "reprorun-test/nowhere:1"})
    assert missing.code == 0
    assert "reprorun-test/nowhere:1 is not on the engine" in missing.out
    assert "scripts/base-image" in missing.out
