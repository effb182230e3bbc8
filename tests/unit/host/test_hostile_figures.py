"""The page of figures says what the figures say, and what there are none of."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/reliability"


@pytest.fixture
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("reliability", str(SCRIPT))
    spec = importlib.util.spec_from_loader("reliability", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_page(script: ModuleType, tmp_path: Path) -> None:
    counts = {"kills": 200, "lost": 1, "false": 0, "left": 2}
    target = {"inputs": 3_600_000, "crashes": 4, "seconds": 3600.0}
    for name, figures in {
        "a": {"kind": "kills", "date": "2024-01-01", "commands": {"exec": counts}},
        "b": {"kind": "fuzz", "date": "2024-01-02", "python": "3.11", "seed": 0,
              "targets": {"record": target}},
        "c": {"kind": "something else"},
    }.items():  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(figures))
    lines = list(script.page(script.read(tmp_path)))
    assert "| kills survived | 200 | 197 | 3 | 2024-01-01 |" in lines
    assert "| inputs fuzzed, without a crash | 3,600,000 | 3,599,996 | 4 | 2024-01-02 |" in lines
    assert "| record | 3,600,000 | 4 | 1,000 | 17 min |" in lines
    assert sum(line.startswith("Missing: ") for line in lines) == 4  # of six kinds


def test_figures_of_a_report_of_pytest(script: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(
        "<testsuites><testsuite><testcase classname='a'/><testcase classname='a'><failure/>"
        "</testcase><testcase classname='b'><skipped/></testcase></testsuite></testsuites>"
    )
    tried = script.from_junit(str(report), "attacks")["tried"]
    assert tried == {"a": {"tried": 2, "held": 1}, "b": {"tried": 1, "held": 0}}
