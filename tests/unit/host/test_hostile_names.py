"""Control characters and markup in every text of a record: nothing obeys or runs them.

Each text of `run.json` is replaced in turn, and then every command is asked about the record. What
it answers may be an error; it may not hold the character, nor be a traceback.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reprorun import cli, store
from reprorun.cli.text import printable, printable_lines
from reprorun.engine.fake import FakeProcess
from reprorun.model import Record

from .test_rerun import Again

ESCAPES = "\x1b]0;evil\x07\x1b[2J"
BIDI = "\u202e\u2066\u200f"
EVIL = f"a{ESCAPES}\x9b31m{BIDI}\nFORGED\r\nFORGED\u2028FORGED"
MARKUP = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
HARMLESS = {"\n", "\t"}  # of what we print ourselves


def program(process: FakeProcess) -> int:
    process.say("hello\n")
    process.write("out/result.txt", b"42\n")
    return 0


@pytest.fixture
def original(repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record with something in every field that can be read again."""
    root = repository({"train.py": "print('hello')\n"})
    bench = Again(root, tmp_path / "elsewhere")
    bench.engine.programs["python"] = program
    (tmp_path / "input.csv").write_text("1\n")
    made = bench.first(
        args=("--lr", "1"), env={"A": "1"}, params={"lr": 0.1, "name": "x"},
        inputs=(str(tmp_path / "input.csv"),),
    )  # fmt: skip
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    monkeypatch.chdir(tmp_path / "elsewhere")
    record = tmp_path / "record"
    shutil.copytree(made, record)
    raw = json.loads((record / store.RUN_FILE).read_text())
    (record / store.RUN_FILE).write_text(json.dumps({**raw, **MORE}))
    store.read_record(str(record))
    return record


MORE: dict[str, Any] = {
    "reason": "ended with exit code 1",
    "notes": ["a note"],
    "sub_records": ["sub"],
    "python_source": ".python-version",
    "requirements": "requirements.txt",
    "import_paths": ["src"],
    "packages_resolved": "2024-01-01T00:00:00Z",
    "secrets": ["key"],
    "variations": [{"factor": "timezone", "value": "UTC", "seed": 1}],
    "rerun_of": "0123456789abcdef",
    "left_out": [{"path": "big.bin", "size": 1 << 24, "sha256": "0" * 64, "reason": "large"}],
    "not_kept": [{"path": "pipe", "reason": "not a regular file"}],
    "submodules": [{"path": "sub", "commit": "0" * 40}],
    "differences": [{"what": "host: processor", "original": "a", "now": "b"}],
    "packages": [{
        "name": "six", "version": "1.0", "address": "https://example.invalid/x",
        "wheel": {"name": "six-1.0-py3-none-any.whl", "sha256": "0" * 64},
        "source": {"kind": "sdist", "name": "six-1.0.tar.gz", "sha256": "0" * 64, "commit": "",
                   "built_with": ["setuptools==1"]},
    }],
    "gpus": {"runtime": "nvidia", "devices": ["0"], "nodes": ["/dev/kfd"]},
    "gpus_seen": {"by": "nvidia-smi", "gpus": [{"name": "T4"}], "driver": "1", "cuda": "1",
                  "why": "stuck"},
    "platform": "linux/amd64",
}  # fmt: skip


def texts(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a JSON value texts are; a key is named by a tuple of it alone."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from texts(each, (*at, number))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts(each, (*at, key))
            if len(at) == 1 and at[0] in ("environment", "params"):
                yield (*at, (key,))


def replaced(value: Any, at: tuple[Any, ...], new: str) -> Any:
    if not at:
        return new
    step = at[0]
    if isinstance(step, tuple):
        return {new if key == step[0] else key: each for key, each in value.items()}
    if isinstance(value, list):
        return [replaced(each, at[1:], new) if n == step else each for n, each in enumerate(value)]
    return {
        key: replaced(each, at[1:], new) if key == step else each for key, each in value.items()
    }


def commands(record: str, made: Path) -> tuple[tuple[str, ...], ...]:
    return (
        ("ls", str(Path(record).parent)),
        ("ls", "--json", str(Path(record).parent)),
        ("show", record),
        ("show", "--json", record),
        ("compare", record, record),
        ("compare", "--json", record, str(made)),
        ("rerun", "--dry-run", "-e", "A=1", record),
        ("rerun", record),
        ("check", "--html", f"{made}/page.html", "--junit-xml", f"{made}/junit.xml", record),
        ("export", "--format", "slsa", record),
        ("export", "--format", "ro-crate", "-o", f"{made}/crate", record),
    )


def test_every_text_of_a_record(
    original: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = json.loads((original / store.RUN_FILE).read_text())
    places = list(texts(raw))
    assert len(places) > 60
    assert {place[0] for place in places} > {"argv", "environment", "packages", "host", "outputs"}
    for place in places:
        (original / store.RUN_FILE).write_text(json.dumps(replaced(raw, place, EVIL)))
        made = tmp_path / "made"
        made.mkdir()
        for words in commands(str(original), made):
            code = cli.run(words)
            out, err = capfd.readouterr()
            assert code in (0, 1, 2, 125), (place, words)
            assert_harmless(out + err, (place, words))
            assert not forged(out + err), (place, words, out, err)
        shutil.rmtree(made)


def test_names_in_errors(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    evil = str(tmp_path / EVIL)
    for words in (
        ("exec", evil), ("rerun", evil), ("check", evil), ("show", evil), ("compare", evil, evil),
        ("ls", evil), ("pack", evil), ("export", "--format", "slsa", evil), ("lock", evil),
        ("sweep", evil), ("sweep", "--resume", evil), ("shell", evil), (EVIL,),
        ("exec", f"--{EVIL}"),
        ("exec", "-e", EVIL, "x.py"), ("exec", "-P", EVIL, "x.py"),
        ("exec", "--gpus", EVIL, "x.py"),
        ("exec", "--secret", EVIL, "x.py"), ("exec", "--secret", f"id={EVIL},src=x", "x.py"),
        ("exec", "--memory", EVIL, "x.py"), ("exec", "--engine", EVIL, "x.py"),
        ("exec", "--input", EVIL, "x.py"), ("exec", "--name", EVIL, "x.py"),
        ("exec", "--base-image", EVIL, "x.py"), ("exec", "--file", EVIL, "x.py"),
        ("sweep", "--grid", EVIL, "x.py"), ("sweep", "--from-file", EVIL, "x.py"),
        ("check", "--vary", EVIL, "x"), ("rerun", "--repo", EVIL, "x"), ("gc", EVIL),
    ):  # fmt: skip
        code = cli.run(words)
        out, err = capfd.readouterr()
        assert code in (2, 125), words
        assert_harmless(out + err, words)


def test_files_with_such_names(
    tmp_path: Path, original: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a run leaves beside what its record lists, compared and shown."""
    other = tmp_path / "other"
    shutil.copytree(original, other)
    for place, text in ((original, "1"), (other, "2")):
        for name in (f"outputs/{EVIL}.csv", f"outputs/{EVIL}.json", f"outputs/{EVIL}/x.txt"):
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{EVIL}\n{text}\n")
        (place / f"outputs/key-{text}.json").write_text(json.dumps({EVIL: {EVIL: EVIL + text}}))
        (place / "outputs/both.json").write_text(json.dumps({EVIL: EVIL + text}))
        (place / "outputs/both.csv").write_text(f"{EVIL!r},x\n{text},{EVIL!r}\n")
        (place / "outputs/both.txt").write_text(f"a\n{EVIL}{text}\n")
        raw = json.loads((place / store.RUN_FILE).read_text())
        raw["outputs"] += [
            {"path": str(path.relative_to(place)), "size": 1, "sha256": "0" * 64}
            for path in sorted((place / "outputs").rglob("*")) if path.is_file()
        ]  # fmt: skip
        (place / store.RUN_FILE).write_text(json.dumps(raw))
    for words in (
        ("compare", str(original), str(other)),
        ("compare", "-v", str(original / "outputs"), str(other / "outputs")),
        ("compare", "--json", str(original), str(other)),
        ("show", str(original)), ("show", "--json", str(original)),
    ):  # fmt: skip
        code = cli.run(words)
        out, err = capfd.readouterr()
        assert code in (0, 1), (words, err)
        assert_harmless(out + err, words)


def forged(text: str) -> list[str]:
    """Lines that a text of the record has added to ours."""
    return [line for line in text.splitlines() if line.startswith("FORGED")]


def assert_harmless(text: str, where: Any) -> None:
    odd = {c for c in text if not c.isprintable()} - HARMLESS
    assert odd == set(), (where, text)
    assert "Traceback" not in text, (where, text)


def test_what_printable_means() -> None:
    assert printable(EVIL).isprintable()
    assert not (set(printable_lines(EVIL)) - HARMLESS) & {c for c in EVIL if not c.isprintable()}
    assert printable("é 猫 ✓") == "é 猫 ✓"
    assert printable("\udce9").isascii()  # of a name that is no UTF-8


def test_the_record_has_no_field_that_is_missed(original: Path) -> None:
    raw = json.loads((original / store.RUN_FILE).read_text())
    empty = {name for name, value in raw.items() if value in ("", [], {}, None)}
    assert set(Record.__struct_fields__) - set(raw) == set()
    assert empty <= {"payloads", "peak_memory"}, empty
