"""Secrets: what is passed without being kept, what is refused, and what a re-run asks for again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import pytest

from reprorun import store
from reprorun.cli.dry_run import plan_as_json, plan_as_text
from reprorun.cli.secrets import (
    bare_names,
    looks_secret,
    refuse_login,
    refuse_secret_args,
    refuse_secret_params,
    with_secrets,
)
from reprorun.engine.fake import FakeProcess
from reprorun.environment.credentials import expanded, has_variable
from reprorun.environment.resolve import told_in_private
from reprorun.errors import LockFailed, UsageError
from reprorun.files import SCRATCH_PREFIX
from reprorun.model import Mount, Secret
from reprorun.workflow.exec import dry_run

from .test_exec import Bench
from .test_rerun import Again, differing

MARK = "hunter2"


@pytest.fixture
def bench(repository: Any, tmp_path: Path) -> Again:
    root = repository({"train.py": "print('hello')\n", ".gitignore": "*.env\n"})
    made = Again(root, tmp_path / "elsewhere")
    made.engine.programs["python"] = _quiet
    return made


def _quiet(process: FakeProcess) -> int:
    return 0


def secret(place: Path, name: str = "key") -> Secret:
    path = place / f"{name}.txt"
    path.write_text(MARK)
    return Secret(id=name, source=str(path))


def holds_mark(directory: str) -> list[str]:
    files = [path for path in Path(directory).rglob("*") if path.is_file()]
    return [path.name for path in files if MARK.encode() in path.read_bytes()]


# ---------------------------------------------------------------- -e KEY


def test_a_bare_name_is_the_last_word() -> None:
    assert bare_names(("A", "B=1", "C", "C=2", "B")) == ("A", "B")
    assert bare_names(("A=", "A")) == ("A",)
    assert bare_names(()) == ()


def test_what_is_passed_by_name_alone_is_not_kept(bench: Again) -> None:
    finished = bench.run(env={"HOME_TOWN": MARK, "MODE": "x"}, passed=("HOME_TOWN",))
    assert bench.created[-1].env["HOME_TOWN"] == MARK
    assert finished.record.environment == {"HOME_TOWN": "<redacted>", "MODE": "x"}
    assert holds_mark(finished.log_dir) == []


def test_a_re_run_keeps_no_more_than_its_original(bench: Again) -> None:
    original = bench.first(env={"HOME_TOWN": MARK}, passed=("HOME_TOWN",))
    message = bench.refusal(original)
    assert "-e HOME_TOWN" in message
    again = bench.rerun(original, env={"HOME_TOWN": "hunter2!"})
    assert bench.created[-1].env["HOME_TOWN"] == "hunter2!"
    assert again.record.environment == {"HOME_TOWN": "<redacted>"}
    assert holds_mark(again.log_dir) == []
    assert differing(again) == {"variables: HOME_TOWN": ("<redacted>", "given anew")}


def test_a_dry_run_does_not_show_it(bench: Bench) -> None:
    spec = bench.spec(env={"HOME_TOWN": MARK, "MODE": "x"}, passed=("HOME_TOWN",))
    plan = dry_run(spec, lambda: bench.engine)
    assert "--env HOME_TOWN " in plan_as_text(plan)
    assert "MODE=x" in plan_as_text(plan)
    assert MARK not in plan_as_text(plan) + plan_as_json(plan)


# ---------------------------------------------------------------- --secret


def test_a_secret_is_mounted_and_its_name_is_kept(bench: Again, tmp_path: Path) -> None:
    finished = bench.run(secrets=(secret(tmp_path),))
    mount = Mount(source=str(tmp_path / "key.txt"), target="/run/secrets/key", read_only=True)
    assert mount in bench.created[-1].mounts
    assert finished.record.secrets == ("key",)
    assert holds_mark(finished.log_dir) == []
    assert str(tmp_path / "key.txt") not in Path(finished.log_dir, store.RUN_FILE).read_text()


def test_a_re_run_wants_the_secret_again(bench: Again, tmp_path: Path) -> None:
    original = bench.first(secrets=(secret(tmp_path), secret(tmp_path, "other")))
    message = bench.refusal(original, secrets=(secret(tmp_path),))
    assert "--secret id=other,src=FILE" in message
    assert "id=key" not in message
    again = bench.rerun(original, secrets=(secret(tmp_path), secret(tmp_path, "other")))
    assert again.record.secrets == ("key", "other")
    assert differing(again) == {
        "secrets: key": ("given", "given anew"),
        "secrets: other": ("given", "given anew"),
    }
    assert all(each.wanted for each in again.record.differences)


def test_one_more_secret_is_a_difference(bench: Again, tmp_path: Path) -> None:
    again = bench.rerun(bench.first(), secrets=(secret(tmp_path),))
    assert differing(again) == {"secrets: key": ("-", "given")}


def test_a_secret_that_the_archive_would_hold(bench: Again) -> None:
    with pytest.raises(UsageError, match="git does not ignore"):
        bench.run(secrets=(secret(bench.root),))
    (bench.root / "mine.env").write_text(MARK)
    ignored = Secret(id="mine", source=str(bench.root / "mine.env"))
    assert bench.run(secrets=(ignored,)).exit_code == 0


def test_a_secret_in_an_input(bench: Again, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(UsageError, match="lies in the input"):
        bench.run(secrets=(secret(data),), inputs=(str(data),))


# ---------------------------------------------------------------- the flag


def taken(*entries: str) -> tuple[tuple[Secret, ...], list[str]]:
    """The secrets, and what their files hold while the command runs."""
    found: list[Any] = []

    @click.command()
    @with_secrets
    def command(secrets: tuple[Secret, ...]) -> None:
        found.append((secrets, [Path(each.source).read_text() for each in secrets]))
        for each in secrets:
            assert Path(each.source).stat().st_mode & 0o077 == 0 or "src" in str(entries)

    words = [word for entry in entries for word in ("--secret", entry)]
    with command.make_context("test", words) as context:
        command.invoke(context)
    secrets, texts = found[0]
    return secrets, texts


def test_a_file_and_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF", "of the host")
    path = Path(secret(tmp_path).source)
    link = tmp_path / "link"
    link.symlink_to(path)
    secrets, texts = taken(f"id=a,src={link}", "id=b,env=HF", f"source={path},id=c.d")
    assert [each.id for each in secrets] == ["a", "b", "c.d"]
    assert texts == [MARK, "of the host", MARK]
    assert secrets[0].source == str(path)
    assert SCRATCH_PREFIX in secrets[1].source
    assert not os.path.exists(secrets[1].source)  # it is gone with the command
    assert "of the host" not in repr(secrets)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("hunter2", "give it as id=NAME,src=FILE"),
        ("id=a", "give it as"),
        ("id=a,src=", "give it as"),
        ("id=a,src=x,env=Y", "give it as"),
        ("id=a,value=hunter2", "give it as"),
        ("id=../a,src=/dev/null", "a name is of letters"),
        ("id=a/b,env=HOME", "a name is of letters"),
        ("id=a,src=/nowhere", "there is no file /nowhere"),
        ("id=a,src=/etc", "there is no file /etc"),
        ("id=a,src=/dev/zero", "there is no file /dev/zero"),
        ("id=a,env=NOWHERE_TO_BE_FOUND", "the host has no variable"),
    ],
)
def test_what_is_no_secret(entry: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        taken(entry)
    assert MARK not in str(caught.value)


def test_two_of_one_name() -> None:
    with pytest.raises(UsageError, match="given twice"):
        taken("id=a,env=HOME", "id=a,env=PATH")


# ---------------------------------------------------------------- where all is kept


@pytest.mark.parametrize(
    "name",
    ["api_key", "apiKey", "API_KEY", "hf_token", "token", "password", "db_password", "dbPassword",
     "wandb-api-key", "secret", "client_secret", "aws_secret_access_key", "private_key",
     "credentials", "HFToken", "authToken"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name, "hunter2hunter2")
    with pytest.raises(UsageError, match="looks like a secret") as caught:
        refuse_secret_params({"lr": 0.1, name: "hunter2hunter2"})
    assert MARK not in str(caught.value)
    assert "--secret id=" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tokens", "8"), ("n_tokens", 512), ("tokenizer", "bert-base"), ("token", 3),
     ("eos_token", "endoftext"), ("pad_token", "paddingpadding"), ("token_type", "character"),
     ("token", "char"), ("sort_key", "length"), ("key", "name"), ("author", "me"),
     ("password", ""), ("password", None), ("monkey", "x"), ("secretary", "x"), ("", "x"),
     ("use_private_key", True)],
)  # fmt: skip
def test_names_of_other_things(name: str, value: Any) -> None:
    assert not looks_secret(name, value)
    refuse_secret_params({name: value})


def test_a_list_of_them() -> None:
    with pytest.raises(UsageError, match="--grid password"):
        refuse_secret_params({"password": ["hunter2", "hunter3"]}, "--grid")


@pytest.mark.parametrize(
    "args",
    [["--token", "hunter2hunter2"], ["--password=hunter2"], ["-x", "--api-key", "hunter2"],
     ["--hf_token=hunter2hunter2", "x"], ["password=hunter2"], ["+db.password=hunter2"]],
)  # fmt: skip
def test_arguments_that_look_secret(args: list[str]) -> None:
    with pytest.raises(UsageError, match="this argument looks like a secret") as caught:
        refuse_secret_args(args)
    assert MARK not in str(caught.value)


@pytest.mark.parametrize(
    "args",
    [[], ["--token"], ["--password", "--verbose"], ["password", "x"], ["--tokens", "hunter2"],
     ["--max-tokens=100000000"], ["--", "a=b"], ["--seed", "1", "--token"]],
)  # fmt: skip
def test_arguments_that_do_not(args: list[str]) -> None:
    refuse_secret_args(args)


# ---------------------------------------------------------------- addresses


def test_variables_in_an_address() -> None:
    host = {"P": "hunter2", "A_1": "x"}
    assert expanded("https://u:${P}@h/${A_1}/$P/${p}", host) == "https://u:hunter2@h/x/$P/${p}"
    assert not has_variable("https://h/$P")
    with pytest.raises(LockFailed, match=r"asks for \$\{NOT_THERE\}"):
        expanded("https://${NOT_THERE}@h", host)


def test_what_is_filled_in_is_not_on_a_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P", MARK)
    options = (
        *("--index", "https://a.example.invalid", "--prerelease", "allow"),
        *("--index", "https://u:${P}@b.example.invalid", "--no-index"),
        *("--default-index", "https://c.example.invalid"),
    )
    left, variables = told_in_private(options)
    assert left == [
        *("--prerelease", "allow", "--no-index", "--default-index", "https://c.example.invalid")
    ]
    both = f"https://a.example.invalid https://u:{MARK}@b.example.invalid"
    assert variables == {"UV_INDEX": both}
    assert told_in_private(left) == (left, {})


def test_a_reference_with_a_login() -> None:
    with pytest.raises(UsageError, match="docker login") as caught:
        refuse_login("user:hunter2@registry.example.invalid/x")
    assert MARK not in str(caught.value)
    for plain in (None, "python:3.11", f"localhost:5000/x@sha256:{'0' * 64}"):
        refuse_login(plain)
