"""An engine that is reached beside something else: waited for, refused, left."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reprorun.engine.fake import FakeEngine
from reprorun.errors import EngineUnavailable, UsageError
from reprorun.model import EngineInfo
from reprorun.workflow.connecting import connecting

PATIENCE = 10  # seconds


class Watched(FakeEngine):
    """Counts how often it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closings = 0
        self.asked = threading.Event()
        self.closed = threading.Event()

    def info(self) -> EngineInfo:
        self.asked.set()
        return super().info()

    def close(self) -> None:
        self.closings += 1
        self.closed.set()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds up who tries to reach an engine."""
    event = threading.Event()
    yield event
    event.set()


def behind(gate: threading.Event, engine: Watched) -> Callable[[], Watched]:
    def connect() -> Watched:
        assert gate.wait(PATIENCE)
        return engine

    return connect


def test_it_is_asked_beside_the_block_and_closed_with_it() -> None:
    engine = Watched()
    with connecting(lambda: engine) as reached:
        assert engine.asked.wait(PATIENCE), "nobody has waited for it yet"
        assert reached() is reached() is engine
        assert engine.closings == 0
    assert engine.closings == 1


def test_it_is_waited_for(gate: threading.Event) -> None:
    engine = Watched()
    with connecting(behind(gate, engine)) as reached:
        threading.Timer(0.05, gate.set).start()
        assert reached() is engine


def test_what_it_raises_comes_where_it_is_waited_for() -> None:
    def nobody() -> FakeEngine:
        raise EngineUnavailable("nobody is there")

    with connecting(nobody) as reached, pytest.raises(EngineUnavailable, match="nobody is there"):
        reached()


def test_an_error_of_the_block_comes_first(gate: threading.Event) -> None:
    engine = Watched()
    with pytest.raises(UsageError), connecting(behind(gate, engine)):
        raise UsageError("no such script")  # and nobody waits for the engine
    assert engine.closings == 0
    gate.set()
    assert engine.closed.wait(PATIENCE), "what is reached too late is closed all the same"
    assert engine.closings == 1


def test_one_that_says_nothing_of_itself_is_closed() -> None:
    class Silent(Watched):
        def info(self) -> EngineInfo:
            raise EngineUnavailable("it does not answer")

    engine = Silent()
    with pytest.raises(EngineUnavailable, match="does not answer"), connecting(lambda: engine) as r:
        r()
    assert engine.closings == 1


def test_exec_imports_what_it_needs_meanwhile(tmp_path: Path) -> None:
    """To log in takes longer than all that it imports."""
    script = (
        "import sys\n"
        "from reprorun.workflow import connecting\n"
        "def begin(connect):\n"
        "    sys.exit('too late' if 'reprorun.workflow.exec' in sys.modules else 'in time')\n"
        "connecting.connecting = begin\n"
        "from reprorun.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, "exec", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == "in time\n"
