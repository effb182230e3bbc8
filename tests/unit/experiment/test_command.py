"""to_local_command: what a shell makes of it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from reprorun.experiment import to_local_command


def test_plain():
    command = to_local_command({"seed": 1, "name": "a"})
    assert command == "python -m reprorun.experiment_wrapper  --seed 1  --name a"


def test_none_dictionaries_and_lists():
    params = {
        "none": None,
        "opt": {"_name": "adam", "lr": 0.1, "no": None},
        "list": [1, "a b"],
        "empty": [],
        "flag": True,
    }
    command = to_local_command(params, python_command="nice python3", script="some.script")
    assert command == (
        "nice python3 -m some.script  --opt adam  --opt_lr 0.1"
        "  --list 1 'a b'  --empty  --flag True"
    )


@pytest.mark.parametrize(
    "text",
    ["", "a b", "it's", '"', "$(touch hacked)", "`id`", "a\nb", ";rm -rf", "\\", "é", "*", "!"],
)
def test_a_shell_gives_back_every_value(text, tmp_path, monkeypatch):
    monkeypatch.setenv("REPRORUN_ENV", json.dumps({"VALUE": text}))
    (tmp_path / "show.py").write_text(
        "import json, os, sys; print(json.dumps([os.environ['VALUE'], sys.argv[1:]]))"
    )
    command = to_local_command(
        {"text": text, "list": [text, "x"]}, shlex.quote(sys.executable), "show"
    )
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, check=True, capture_output=True, encoding="utf-8"
    )
    assert json.loads(done.stdout) == [text, ["--text", text, "--list", text, "x"]]
    assert [path.name for path in tmp_path.iterdir() if path.name == "hacked"] == []


def test_commands_before_and_after_are_announced(capsys):
    params = {"pre_commands": ["make"], "seed": 1, "post_commands": None}
    assert to_local_command(params).endswith("wrapper  --seed 1")
    assert capsys.readouterr().out == (
        "Not executing the pre_commands: ['make'], nor post_commands: None\n"
    )
    assert params == {"pre_commands": ["make"], "seed": 1, "post_commands": None}


def test_nothing_is_announced_without_them(capsys):
    to_local_command({"pre_commands": None})
    assert capsys.readouterr().out == ""


def test_environment(monkeypatch):
    monkeypatch.setenv("REPRORUN_ENV", '{"A": "1", "B": "x y"}')
    assert to_local_command({}) == "A=1 B='x y' python -m reprorun.experiment_wrapper"


@pytest.mark.parametrize(
    "text",
    ["{'A': '1'}", "__import__('os')", "[]", '{"A": 1}', '{"A B": "1"}', '{"1A": ""}', '{"A;": ""}',
     '{"": ""}', '{"A\\n": ""}', '{"A": "\\u0000"}'],
)  # fmt: skip
def test_environment_that_is_refused(monkeypatch, text):
    monkeypatch.setenv("REPRORUN_ENV", text)
    with pytest.raises(ValueError, match=r"REPRORUN_ENV.*JSON object of strings"):
        to_local_command({})
