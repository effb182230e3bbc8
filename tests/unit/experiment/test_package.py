"""The package as a whole: its names, and what importing it brings along."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

import reprorun.experiment as experiment


def test_names(monkeypatch):
    host = types.ModuleType("reprorun.launch")
    host.run_experiment = lambda: "started"
    monkeypatch.setitem(sys.modules, "reprorun.launch", host)
    for name in experiment.__all__:
        assert callable(getattr(experiment, name))
    assert experiment.run_experiment() == "started"
    with pytest.raises(AttributeError, match="no_such_name"):
        experiment.no_such_name  # noqa: B018


def test_importing_it_brings_nothing_heavy():
    heavy = (
        "inspect tarfile lzma subprocess hashlib shutil tempfile pathlib logging cloudpickle numpy"
    )
    code = (
        "import sys; before = set(sys.modules); import reprorun.experiment;"
        f"print(*sorted(set({heavy.split()!r}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
