"""A lab whose commands run in a child, where something happens at one of their steps."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import reprorun.cli

from .lab import Lab
from .steps import Fate, in_a_child, instrument

SCRIPT = """\
import sys, time
print("first", flush=True)
open("made.txt", "w").write("made")
open("/log/direct.txt", "w").write("direct")
time.sleep(0.2)  # the two streams come in this order
sys.stderr.write("last\\n")
"""


class Place(Lab):
    """Where that is done.

    Args:
        place: an empty directory.
        address: of the engine; None: of that of the tests.
        env: more variables for the commands.
    """

    def __init__(
        self, place: Path, address: str | None = None, *, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(place, address)
        self.env.update(env or {})
        self.said = place / "said"
        self.taken: list[str] = []  # the steps since it was cleared
        self.original = ""  # digest of the record `original`
        self._text = ""
        self._steps = place / "steps"

    def begin(self, text: str = SCRIPT) -> None:
        """Commit an experiment, and make the record `original` of it."""
        self._text = text
        self.script(text)
        code = self.command("exec", "--log-dir", "original", "train.py")
        assert code == 0, self.said.read_text()
        self.original = digest_of(self.root / "original")

    def change(self, number: int) -> None:
        """Make other code, so that there is an image to be made."""
        self.write({"train.py": f"{self._text}# {number}\n"})

    def command(
        self,
        *words: str,
        fate: Fate | None = None,
        steps: bool = False,
        meanwhile: Callable[[int], None] | None = None,
    ) -> int:
        """Run `reprorun WORDS...` in a child.

        Args:
            words: of the command line.
            fate: what happens at one of its steps; see `Steps`.
            steps: note its steps, also when nothing happens.
            meanwhile: done here; is told the child's id.

        Returns:
            Its exit code, negative when a signal ended it.
        """

        def work() -> int:
            os.environ.clear()
            os.environ.update(self.env)
            tempfile.tempdir = None
            os.chdir(self.root)
            for number in (signal.SIGINT, signal.SIGTERM):  # which may be ignored where we run
                signal.signal(number, signal.SIG_DFL)
            if steps or fate:
                instrument(self._steps, fate)
            return reprorun.cli.run(words)

        code = in_a_child(work, self.said, meanwhile)
        if steps or fate:
            self.taken += self._steps.read_text().splitlines()
        return code

    def clear(self) -> None:
        """Make it as it was before a kill."""
        self.taken = []
        for path in (*self.place.rglob(".reprorun-*.tmp"), *self.held.iterdir()):
            path.unlink()
        for path in (self.place / "tmp").iterdir():
            path.unlink() if path.is_file() else shutil.rmtree(path)
        shutil.rmtree(self.root / "data", ignore_errors=True)
        for pack in self.root.glob("*.rrpack"):
            pack.unlink()


def digest_of(directory: Path) -> str:
    """Of all that is in a directory."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()
