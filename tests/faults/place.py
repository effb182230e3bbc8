"""A repository, a cache and a state of its own, in which commands are run and killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import docker

import reprorun.cli
from reprorun import store
from reprorun.model import Record

from ..engine.bench import engine_address
from ..kit import BASE
from .steps import Fate, in_a_child, instrument
from .truth import digest_of

SCRIPT = """\
import sys, time
print("first", flush=True)
open("made.txt", "w").write("made")
open("/log/direct.txt", "w").write("direct")
time.sleep(0.2)  # the two streams come in this order
sys.stderr.write("last\\n")
"""
OUTPUTS = {"outputs/made.txt": b"made", "direct.txt": b"direct"}


class Place:
    """Where commands are run.

    Args:
        root: an empty directory.
        env: variables for the commands, such as DOCKER_HOST.
        script: the experiment.
        engine: where its containers are looked for; None: on the one of the tests.
    """

    def __init__(
        self,
        root: Path,
        env: Mapping[str, str] | None = None,
        *,
        script: str = SCRIPT,
        engine: str | None = None,
    ) -> None:
        self.script = script
        self.root = root
        self.project = root / "project"
        self.said = root / "said"
        self.held = root / "state/reprorun/held"
        self.images: set[str] = set()
        self.taken: list[str] = []  # the steps since it was cleared
        self.engine = engine or engine_address()
        self._steps = root / "steps"
        for name in ("project", "cache", "state", "tmp"):
            (root / name).mkdir()
        self.env = {
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache/uv"),
            "XDG_CACHE_HOME": str(root / "cache"),
            "XDG_STATE_HOME": str(root / "state"),
            "TMPDIR": str(root / "tmp"),
            "REPRORUN_BASE_IMAGE": BASE,
            **(env or {}),
        }
        self.change(0)
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "first")):
            who = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
            subprocess.run(["git", *who, *words], check=True, cwd=self.project)
        assert self.run("exec", "--log-dir", "original", "train.py") == 0, self.said.read_text()
        self.original = digest_of(self.project / "original")
        self.note_images()

    def change(self, number: int) -> None:
        """Make other code, so that there is an image to be made."""
        (self.project / "train.py").write_text(f"{self.script}# {number}\n")

    def run(
        self,
        *words: str,
        fate: Fate | None = None,
        steps: bool = False,
        meanwhile: Callable[[int], None] | None = None,
    ) -> int:
        """Run the command in a child.

        Args:
            words: of the command line.
            fate: what happens at one of its steps; see `Steps`.
            steps: note its steps, also when nothing happens.
            meanwhile: done here; is told the child's id.

        Returns:
            Its exit code, negative when a signal ended it.
        """

        def work() -> int:
            os.environ.update(self.env)
            tempfile.tempdir = None
            os.chdir(self.project)
            for number in (signal.SIGINT, signal.SIGTERM):  # which may be ignored where we run
                signal.signal(number, signal.SIG_DFL)
            if steps or fate:
                instrument(self._steps, fate)
            return reprorun.cli.run(words)

        code = in_a_child(work, self.said, meanwhile)
        if steps or fate:
            self.taken += self._steps.read_text().splitlines()
        return code

    def records(self) -> dict[str, Record]:
        """Every record in the project, by its path from there."""
        found = sorted(self.project.rglob(store.RUN_FILE))
        return {
            str(path.parent.relative_to(self.project)): store.read_record(str(path.parent))
            for path in found
        }

    def note_images(self) -> None:
        """Remember which images records name, to be removed in the end."""
        for path in self.project.rglob(store.RUN_FILE):
            with suppress(Exception):
                record = store.read_record(str(path.parent))
                self.images |= {record.image, _environment_of(record)} - {""}

    def clear(self) -> None:
        """Make it as it was before a kill."""
        self.note_images()
        self.taken = []
        for path in self.root.rglob(".reprorun-*.tmp"):
            path.unlink()
        for path in self.held.iterdir():
            path.unlink()
        for path in (self.root / "tmp").iterdir():
            path.unlink() if path.is_file() else shutil.rmtree(path)
        shutil.rmtree(self.project / "data", ignore_errors=True)
        for pack in self.project.glob("*.rrpack"):
            pack.unlink()

    def remove_images(self) -> None:
        """Remove what the engine got."""
        self.note_images()
        client = docker.DockerClient(base_url=self.engine)
        try:
            for prefix in ("reprorun/run", "reprorun/environment"):  # one is made from the other
                for tag in sorted(self.images):
                    if tag.startswith(prefix):
                        with suppress(docker.errors.APIError):
                            client.images.remove(tag)
        finally:
            client.close()


def _environment_of(record: Record) -> str:
    digest = record.environment_digest.removeprefix("sha256:")
    return f"reprorun/environment:{digest[:24]}" if digest else ""
