"""The fake engine where the contract does not reach: programs that tests bring themselves."""

from __future__ import annotations

from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.model import ContainerSpec

from ...kit import FAKE_BASE


def test_a_program_that_raises_ends_as_programs_do() -> None:
    def broken(process: FakeProcess) -> int:
        raise ValueError("no such thing")

    engine = FakeEngine(images={"base:1": FAKE_BASE}, programs={"broken": broken})
    container = engine.create(ContainerSpec(image="base:1", command=("broken",), name="broken"))
    pieces = engine.attach(container)
    engine.start(container)
    said = b"".join(data for _, data in pieces)
    assert engine.wait(container).exit_code == 1
    assert said.endswith(b"ValueError: no such thing\n")
