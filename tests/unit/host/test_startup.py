"""What a run whose image is there does not import: to start each of these takes too long."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = (
    "import reprorun.cli.exec, reprorun.cli.running, reprorun.workflow.exec, reprorun.engine.docker"
)
SLOW = (
    "docker", "requests", "urllib3", "http.client", "ssl", "jinja2", "rich", "asyncio", "logging",
    "email.parser", "configparser", "importlib.metadata", "concurrent.futures", "numpy",
)  # fmt: skip


@pytest.fixture(scope="module")
def imported() -> set[str]:
    code = f"import sys\n{RUN}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", SLOW)
def test_it_is_not_imported(imported: set[str], name: str) -> None:
    assert "reprorun.engine.client" in imported
    assert name not in imported
