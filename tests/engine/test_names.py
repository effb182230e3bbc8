"""Names that shells, Dockerfiles, tars and terminals take for something else."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from reprorun import store

from .bench import Bench, client, one_message
from .complete import archived, assert_valid

TELL = "import json, os, sys\nprint(json.dumps([sys.argv, sorted(os.listdir('/'))]))\n"
NAMES = [
    "two words.py",
    "it's.py",
    'say "hi".py',
    "line\nbreak.py",
    "ünï-日本-🐍.py",
    "$(touch pwned).py",
    "`touch pwned`.py",
    '"; touch pwned; ".py',
    "a\\b.py",
    "%s{{ 7*7 }}.py",
    "\x1b[31mred.py",
    "-rf.py",
    "--privileged",
]
ARGS = [
    "two words", "", "-x", "--", "it's", '"', "a\nb", "ü", "$(touch pwned)", "`touch pwned`",
    "; touch pwned", "&& touch pwned", "*", "~", "$HOME", "\\", "{{ 7*7 }}", "%s",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_script_of_an_odd_name(bench: Bench, name: str) -> None:
    bench.write({name: TELL})
    bench.commit()
    done = bench.exec(name, *ARGS, flags=["--"])
    argv, top = done.said()
    assert argv == [f"./{name}" if name.startswith("-") else name, *ARGS]
    assert "pwned" not in top
    assert not list(bench.root.parent.rglob("pwned*"))
    record = done.record
    assert record.argv == (name, *ARGS)
    assert set(archived(done.log_dir)) == {name}
    assert record.outputs == ()
    assert_valid(done.log_dir)
    shown = bench.reprorun("show", str(done.log_dir))
    assert shown.code == 0, shown.err
    for text in (shown.out, done.err):  # nothing that a terminal would obey
        assert "\x1b" not in text
    command = next(line for line in shown.out.splitlines() if line.startswith("command"))
    assert "touch pwned" in command  # on one line, whatever breaks the name has


@pytest.mark.parametrize("name", [*NAMES[:10], "-x", "a:b", "a,b=c"])
def test_a_directory_of_an_odd_name(bench: Bench, name: str) -> None:
    directory = os.path.splitext(name)[0]
    bench.write({f"{directory}/train.py": f"{TELL}open('made.txt', 'w').write('made')\n"})
    bench.commit()
    log_dir = bench.records / directory / "run"
    done = bench.exec("train.py", cwd=directory, log_dir=log_dir)
    argv, top = done.said()
    assert argv == ["train.py"]
    assert "pwned" not in top
    assert not [path for path in bench.root.parent.rglob("pwned*") if path.is_file()]
    assert done.record.cwd == directory
    assert (log_dir / "outputs" / directory / "made.txt").read_text() == "made"


@pytest.mark.parametrize("what", ["script", "argument", "variable", "directory"])
def test_what_is_no_text_is_refused_not_changed(bench: Bench, what: str) -> None:
    odd = os.fsdecode(b"caf\xe9")
    bench.write({"train.py": TELL, f"{odd}.py": TELL, f"{odd}/train.py": TELL})
    bench.commit()
    commands: dict[str, Any] = {
        "script": {"script": f"{odd}.py"},
        "argument": {"script": "train.py"},
        "variable": {"script": "train.py", "flags": ["-e", f"A={odd}"]},
        "directory": {"script": "train.py", "cwd": odd},
    }
    options = commands[what]
    args = [odd] if what == "argument" else []
    done = bench.exec(options.pop("script"), *args, **options)
    assert (done.code, done.out) == (2, "")
    assert "caf\\udce9" in one_message(done.err)
    assert "is not UTF-8" in done.err


def test_other_files_may_have_names_that_are_no_text(bench: Bench) -> None:
    odd = os.fsdecode(b"caf\xe9")
    script = "import os\nprint(sorted(os.listdir(b'.')) == [b'caf\\xe9', b'train.py'])\n"
    bench.write({"train.py": script, odd: "x"})
    bench.commit()
    done = bench.exec("train.py")
    assert done.out == "True\n", done.err
    assert odd in archived(done.log_dir)


def test_a_launcher_made_to_break_out_of_the_dockerfile(bench: Bench) -> None:
    directory = 'x"\nRUN touch /pwned\nENV EVIL="1'
    name = f"{directory}/train.py\nUSER root\nRUN touch pwned #"
    bench.write({name: TELL + "print(os.environ.get('EVIL'))\n"})
    bench.commit()
    done = bench.exec(name, "arg\nRUN touch /pwned")
    assert done.code == 0, done.err
    told, evil = done.out.splitlines()
    argv, top = json.loads(told)
    assert argv == [name, "arg\nRUN touch /pwned"]
    assert "pwned" not in top
    assert evil == "None"
    dockerfile = (done.log_dir / store.DOCKERFILE).read_text()
    kinds = {line.split()[0] for line in dockerfile.splitlines() if line and line[0] not in " #"}
    assert kinds == {"FROM", "ADD", "ENV", "WORKDIR", "ENTRYPOINT", "LABEL"}
    assert "pwned" not in dockerfile
    with client() as engine:
        history = engine.images.get(done.record.image).history()
    assert not [layer for layer in history if "pwned" in layer["CreatedBy"]]


def test_names_that_end_up_in_labels_and_variables(bench: Bench) -> None:
    evil = 'x"\nRUN touch /pwned\n$(touch pwned) ${HOME}'
    bench.write({"train.py": f"import os\nassert os.environ['EVIL'] == {evil!r}\n{TELL}"})
    bench.commit()
    where = "data/local/experiment"
    name = 'run "\nRUN touch pwned $(touch pwned)'
    done = bench.exec(
        "train.py", flags=["--name", name, "-e", f"EVIL={evil}"], log_dir=f"{where}/{name}"
    )
    _, top = done.said()
    assert "pwned" not in top
    assert done.record.environment == {"EVIL": evil}
    assert [path.name for path in (bench.root / where).iterdir()] == [name]
    assert "pwned" not in (done.log_dir / store.DOCKERFILE).read_text()
