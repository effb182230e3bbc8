"""An engine in memory, for tests without a daemon: same protocol, same contract tests.

Its containers are threads that run a Python function in place of a program (`process`, `shell`).
"""

from __future__ import annotations

import io
import itertools
import os
import tarfile
from collections.abc import Iterable, Iterator

from reprorun.errors import ContainerMissing, EngineError, FilesUnseen
from reprorun.model import Change, ContainerSpec, ContainerState, EngineInfo, Image, ListedContainer

from .images import FakeImages
from .process import Container, FakeConversation, FakeOutput, FakeProcess, Program, now
from .shell import PROGRAMS, not_found
from .tars import pack

__all__ = ["FakeEngine", "FakeProcess", "Program"]


class FakeEngine(FakeImages):
    """The fake engine.

    Args:
        images: base images that are there, by name.
        pullable: base images that a registry would have.
        programs: functions that run in place of programs, by the first word of the command.
            An image's own entry point is passed over.
        refuse_build: an error with which every build fails.
        remote: it is on another machine, which does not see the files of this one.
    """

    def __init__(
        self,
        images: dict[str, Image] | None = None,
        pullable: dict[str, Image] | None = None,
        programs: dict[str, Program] | None = None,
        refuse_build: str | None = None,
        *,
        remote: bool = False,
    ) -> None:
        super().__init__(dict(images or {}), dict(pullable or {}), refuse_build)
        self.programs = {**PROGRAMS, **(programs or {})}
        self.remote = remote
        self.specs: list[ContainerSpec] = []
        self._names = itertools.count()

    def info(self) -> EngineInfo:
        return EngineInfo(
            name="fake",
            version="1",
            api_version="1.0",
            machine="x86_64",
            cpus=4,
            memory=8 << 30,
            remote=self.remote,
        )

    def labelled_containers(self, label: str) -> tuple[ListedContainer, ...]:
        key, _, value = label.partition("=")
        return tuple(
            ListedContainer(
                id=name,
                name=found.process.spec.name,
                image=found.process.spec.image,
                labels=found.process.spec.labels,
                running=self.state(name).running,
            )
            for name, found in self.containers.items()
            if key in found.process.spec.labels and value in ("", found.process.spec.labels[key])
        )

    def create(self, spec: ContainerSpec) -> str:
        image = self.image(spec.image)
        if image is None:
            raise EngineError(f"the engine refused: No such image: {spec.image}")
        if spec.gpus:
            raise EngineError("GPUs were asked for, but the engine has no GPU runtime")
        if spec.mounts and self.remote:
            raise FilesUnseen(f"the engine does not see {spec.mounts[-1].source}")
        program = self.programs.get((*(spec.entrypoint or ()), *spec.command)[0], not_found)
        name = f"fake-{next(self._names)}"
        self.containers[name] = Container(spec, program, self._files.get(image.id, ()))
        self.specs.append(spec)
        return name

    def start(self, container: str) -> None:
        found = self._get(container)
        found.started = now()
        found.thread.start()

    def attach(self, container: str) -> FakeOutput:
        return FakeOutput(self._get(container).process.output)

    def converse(self, container: str) -> FakeConversation:
        return FakeConversation(self._get(container).process)

    def resize(self, container: str, rows: int, columns: int) -> None:
        self._get(container).process.size = (rows, columns)

    def wait(self, container: str) -> ContainerState:
        self._get(container).thread.join()
        return self.state(container)

    def state(self, container: str) -> ContainerState:
        found = self._get(container)
        running = found.started is not None and found.exit_code is None
        code = found.exit_code if found.started else 0  # as Docker has it
        return ContainerState(
            running=running,
            exit_code=code,
            created=found.created,
            started=found.started,
            ended=found.ended,
        )

    def logs(self, container: str) -> Iterator[bytes]:
        yield self._get(container).process.printed

    def stop(self, container: str, grace: float) -> None:
        found = self._get(container)
        found.process.interrupted.set()
        found.thread.join(grace)
        self.kill(container)

    def kill(self, container: str) -> None:
        found = self._get(container)
        if found.thread.is_alive():
            found.process.kill()
            found.thread.join()

    def changes(self, container: str) -> tuple[Change, ...]:
        changes = self._get(container).process.changes
        return tuple(changes[path] for path in sorted(changes))

    def copy_in(self, container: str, pieces: Iterable[bytes]) -> None:
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
            found = {f"/{m.name}": tar.extractfile(m) for m in tar if m.isreg()}
            data = {name: content.read() for name, content in found.items() if content}
        self._get(container).process.files.update(data)

    def copy_out(self, container: str, path: str) -> Iterator[bytes]:
        files = self._get(container).process.files
        place = os.path.normpath(path)
        wanted = {name: data for name, data in files.items() if _is_under(name, place)}
        if not wanted:
            raise EngineError(f"the engine refused: no such file {path}")
        yield pack({os.path.relpath(n, os.path.dirname(path)): d for n, d in wanted.items()})

    def remove(self, container: str) -> None:
        found = self.containers.pop(container, None)
        if found and found.thread.is_alive():
            found.process.kill()

    def close(self) -> None:
        pass

    def _get(self, container: str) -> Container:
        if container not in self.containers:
            raise ContainerMissing(f"the engine has no container {container}")
        return self.containers[container]


def _is_under(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
