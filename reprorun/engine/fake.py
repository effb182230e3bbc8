"""An engine in memory, for tests without a daemon: same protocol, same contract tests.

Its containers are threads that run a Python function in place of a program. `sh -c SCRIPT` is
understood as far as the contract tests need it: echo (with `>&2` and `>FILE`), exit, sleep, rm,
cat, `stty size`, `kill -KILL $$` and `trap '' INT`, separated by semicolons.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import queue
import shlex
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import msgspec

from reprorun.engine.images import read_saved, write_loadable
from reprorun.engine.protocol import Layer, Progress, Stream
from reprorun.errors import BuildFailed, EngineError, FilesUnseen, ImageMissing
from reprorun.model import (
    Change,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    Image,
    ImageSpec,
    ListedContainer,
)

Program = Callable[["FakeProcess"], int]
"""Runs in place of a program and returns its exit code."""

INTERRUPTED = 130
KILLED = 137


class Killed(BaseException):
    """Unwinds a program that was interrupted or killed."""


class FakeProcess:
    """What a program sees of its container."""

    def __init__(self, spec: ContainerSpec, base: Iterable[str]) -> None:
        self.spec = spec
        self.output: queue.Queue[tuple[Stream, bytes] | None] = queue.Queue()
        self.input: queue.Queue[bytes | None] = queue.Queue()
        self.printed = b""
        self.size = (0, 0)  # rows and columns of its terminal
        self.interrupted = threading.Event()
        self.killed = threading.Event()
        self.ignores_interrupts = False
        self.changes: dict[str, Change] = {}
        self.files: dict[str, bytes] = {}
        self._base = frozenset(base)

    def say(self, text: str, stream: Stream = "stdout") -> None:
        """Print."""
        if self.spec.tty:
            stream, text = "stdout", text.replace("\n", "\r\n")
        self.printed += text.encode()
        self.output.put((stream, text.encode()))

    def read(self) -> bytes:
        """A piece of its input as it was sent; empty at the end, as where nothing can be sent."""
        piece = self.input.get() if self.spec.interactive else None
        if self.killed.is_set():
            raise Killed
        return piece or b""

    def write(self, path: str, data: bytes) -> None:
        """Write a file, in a mounted directory or in the container's own file system."""
        target = os.path.join(self.spec.workdir, path)
        for mount in self.spec.mounts:
            inside = os.path.relpath(target, mount.target)
            if not inside.startswith(".."):
                if mount.read_only:
                    raise OSError(f"{path}: read-only file system")
                destination = os.path.normpath(os.path.join(mount.source, inside))
                os.makedirs(os.path.dirname(destination), exist_ok=True)
                with open(destination, "wb") as file:
                    file.write(data)
                return
        known = target in self._base or target in self.files
        self.files[target] = data
        self.changes[target] = Change(path=target, kind="changed" if known else "added")

    def remove(self, path: str) -> None:
        """Remove a file of the container's own file system."""
        target = os.path.join(self.spec.workdir, path)
        self.files.pop(target, None)
        self.changes.pop(target, None)
        if target in self._base:
            self.changes[target] = Change(path=target, kind="deleted")

    def kill(self) -> None:
        """End the program, whatever it waits for."""
        self.killed.set()
        self.interrupted.set()
        self.input.put(None)

    def sleep(self, seconds: float) -> None:
        """Sleep; ends early, and the program with it, when the container is stopped."""
        waiting_for = self.killed if self.ignores_interrupts else self.interrupted
        if waiting_for.wait(seconds):
            raise Killed


class FakeOutput:
    """What a program says, from its queue."""

    def __init__(self, pieces: queue.Queue[tuple[Stream, bytes] | None]) -> None:
        self._pieces = pieces

    def __iter__(self) -> FakeOutput:
        return self

    def __next__(self) -> tuple[Stream, bytes]:
        piece = self._pieces.get()
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        pass


class FakeConversation(FakeOutput):
    """The same, and what it reads."""

    def __init__(self, process: FakeProcess) -> None:
        super().__init__(process.output)
        self._input = process.input

    def send(self, data: bytes) -> None:
        self._input.put(data)

    def send_end(self) -> None:
        self._input.put(None)

    def close(self) -> None:
        self.send_end()
        self._pieces.put(None)


class _Container:
    def __init__(self, spec: ContainerSpec, program: Program, base: Iterable[str]) -> None:
        self.process = FakeProcess(spec, base)
        self.program = program
        self.started: str | None = None
        self.ended: str | None = None
        self.exit_code: int | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            code = self.program(self.process)
        except Killed:
            code = KILLED if self.process.killed.is_set() else INTERRUPTED
        self.ended = _now()
        self.exit_code = code
        self.process.output.put(None)


class _Tar:
    """A layer."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._data = b"".join(pieces)
        self.diff_id = f"sha256:{hashlib.sha256(self._data).hexdigest()}"
        self.size = len(self._data)
        self.names = frozenset(f"/{name}" for name in _unpack(self._data))

    def pieces(self) -> Iterator[bytes]:
        yield self._data


def _config(image: Image) -> bytes:
    """An image's settings as engines have them."""
    return msgspec.json.encode(
        {
            "architecture": image.machine,
            "os": "linux",
            "config": {"Env": image.env, "Labels": image.labels},
            "rootfs": {"type": "layers", "diff_ids": image.layers},
        }
    )


class FakeEngine:
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
        self.images = dict(images or {})
        self.pullable = dict(pullable or {})
        self.programs = {"sh": _shell, "sleep": _sleep, **(programs or {})}
        self.refuse_build = refuse_build
        self.remote = remote
        self.containers: dict[str, _Container] = {}
        self.specs: list[ContainerSpec] = []
        self.builds: list[str] = []
        self._files: dict[str, frozenset[str]] = {}  # of images
        self._tars: dict[str, _Tar] = {}  # layers, by digest
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

    # ------------------------------------------------------------ images

    def image(self, ref: str) -> Image | None:
        by_id = {image.id: image for image in self.images.values()}
        return self.images.get(ref) or self.images.get(f"{ref}:latest") or by_id.get(ref)

    def pull(self, ref: str, progress: Progress, *, platform: str | None = None) -> Image:
        of_platform = f"{ref} for {platform}"  # how tests say that there is one
        found = self.pullable.get(of_platform) or self.pullable.get(ref)
        if found is None:
            raise ImageMissing(f"the base image {ref} is not on the engine: no such image")
        progress(f"pulled {ref}")
        self.images[ref] = found
        return self.images[ref]

    def push(self, image: str, repository: str, progress: Progress) -> str:
        found = self._named(image)
        ref = f"{repository}@{found.id}"
        self.pullable[ref] = found
        return ref

    def name_image(self, image: str, tag: str) -> None:
        self.images[tag] = self._named(image)

    def _named(self, image: str) -> Image:
        found = self.image(image)
        if found is None:
            raise EngineError(f"the engine refused: No such image: {image}")
        return found

    def labelled_images(self, label: str) -> tuple[Image, ...]:
        name, _, value = label.partition("=")
        return tuple(
            msgspec.structs.replace(image, tags=(tag,))
            for tag, image in self.images.items()
            if name in image.labels and value in ("", image.labels[name])
        )

    def tagged_images(self, repository: str) -> tuple[Image, ...]:
        return tuple(
            msgspec.structs.replace(image, tags=(tag,))
            for tag, image in self.images.items()
            if tag.rpartition(":")[0] == repository
        )

    def save(self, image: str) -> Iterator[bytes]:
        found = self.image(image)
        if found is None:
            raise EngineError(f"the engine refused: No such image: {image}")
        for digest in found.layers:
            if digest not in self._tars:
                raise EngineError(f"the layer {digest} of {image} was made up for a test")
        tars = [self._tars[digest] for digest in found.layers]
        yield from write_loadable([], _config(found), tars)

    def load_image(self, pieces: Iterable[bytes], tag: str) -> Image:
        config, layers = read_saved(pieces, _Tar)
        told = msgspec.json.decode(config)
        self._tars.update((layer.diff_id, layer) for layer in layers)
        return self._store(
            tag,
            layers=tuple(layer.diff_id for layer in layers),
            labels=told["config"].get("Labels") or {},
            env=tuple(told["config"].get("Env") or ()),
            machine=told["architecture"],
            inside=frozenset().union(*(layer.names for layer in layers)),
        )

    def remove_image(self, ref: str) -> None:
        image = self.image(ref)
        users = [c for c in self.containers.values() if self.image(c.process.spec.image) == image]
        if image and users and sum(other == image for other in self.images.values()) == 1:
            raise EngineError(f"the engine refused: conflict: a container uses {ref}")
        self.images = {
            tag: image for tag, image in self.images.items() if ref not in (tag, image.id)
        }

    def make(
        self, spec: ImageSpec, layers: Sequence[Layer], held: int, progress: Progress
    ) -> Image:
        if self.refuse_build:
            raise BuildFailed(f"the image {spec.tag} could not be built: {self.refuse_build}")
        parent = self.image(spec.parent)
        if parent is None:
            raise BuildFailed(f"the image {spec.tag} could not be built: no image {spec.parent}")
        own, inside = [str(layer.diff_id) for layer in layers[:held]], self._inside(parent, layers)
        for layer in layers[held:]:
            data = b"".join(layer.pieces())
            if len(data) != layer.size:
                raise BuildFailed(f"{layer.title}: {len(data)} bytes came, {layer.size} were said")
            own.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
            layer.made(own[-1])
            self._tars[own[-1]] = _Tar([data])
            inside |= self._tars[own[-1]].names
        env = dict(entry.partition("=")[::2] for entry in parent.env)
        return self._put(
            spec.tag,
            layers=(*parent.layers, *own),
            labels={**parent.labels, **spec.labels},
            env=tuple(f"{name}={value}" for name, value in {**env, **spec.env}.items()),
            machine=parent.machine,
            inside=inside,
        )

    @contextmanager
    def named(self, image: str) -> Iterator[str]:
        yield image

    def _inside(self, parent: Image, layers: Sequence[Layer]) -> frozenset[str]:
        known = [self._tars[d].names for layer in layers if (d := str(layer.diff_id)) in self._tars]
        return self._files.get(parent.id, frozenset()).union(*known)

    def _put(self, tag: str, **fields: Any) -> Image:
        self.builds.append(tag)
        return self._store(tag, **fields)

    def _store(
        self,
        tag: str,
        *,
        layers: tuple[str, ...],
        labels: dict[str, str],
        env: tuple[str, ...],
        machine: str,
        inside: frozenset[str],
    ) -> Image:
        identity = repr((layers, sorted(labels.items()), env)).encode()
        image = Image(
            id=f"sha256:{hashlib.sha256(identity).hexdigest()}",
            layers=layers,
            labels=labels,
            env=env,
            machine=machine,
        )
        self.images[tag] = image
        self._files[image.id] = inside
        return image

    def build(
        self, context: Iterable[bytes], tag: str, progress: Progress, *, network: bool = False
    ) -> Image:
        files = _unpack(b"".join(context))
        if self.refuse_build:
            raise BuildFailed(f"the image {tag} could not be built: {self.refuse_build}")
        base: Image | None = None
        layers: tuple[str, ...] = ()
        inside: frozenset[str] = frozenset()
        labels: dict[str, str] = {}
        for line in files["Dockerfile"].decode().replace("\\\n", "").splitlines():
            progress(line)
            words = shlex.split(line, comments=True)
            if words[:1] == ["FROM"]:
                base = self.image(words[1])
                if base is None:
                    raise BuildFailed(f"the image {tag} could not be built: no image {words[1]}")
                layers, inside = base.layers, self._files.get(base.id, inside)
            elif words[:1] == ["ADD"]:
                data = files[words[1]]
                layers = (*layers, f"sha256:{hashlib.sha256(data).hexdigest()}")
                inside |= {os.path.join(words[2], name) for name in _unpack(data)}
            elif words[:1] == ["LABEL"]:
                labels.update(
                    (name, value) for name, _, value in (w.partition("=") for w in words[1:])
                )
        if base is None:
            raise BuildFailed(f"the image {tag} could not be built: no FROM")
        return self._put(
            tag,
            layers=layers,
            labels={**base.labels, **labels},
            env=base.env,
            machine=base.machine,
            inside=inside,
        )

    # ------------------------------------------------------------ containers

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
        program = self.programs.get((*(spec.entrypoint or ()), *spec.command)[0], _not_found)
        name = f"fake-{next(self._names)}"
        self.containers[name] = _Container(spec, program, self._files.get(image.id, ()))
        self.specs.append(spec)
        return name

    def start(self, container: str) -> None:
        found = self._get(container)
        found.started = _now()
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
            running=running, exit_code=code, started=found.started, ended=found.ended
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
        yield _pack({os.path.relpath(n, os.path.dirname(path)): d for n, d in wanted.items()})

    def remove(self, container: str) -> None:
        found = self.containers.pop(container, None)
        if found and found.thread.is_alive():
            found.process.kill()

    def close(self) -> None:
        pass

    def _get(self, container: str) -> _Container:
        if container not in self.containers:
            raise EngineError(f"the engine refused: No such container: {container}")
        return self.containers[container]


# ---------------------------------------------------------------- programs


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def _not_found(process: FakeProcess) -> int:
    process.say(f"{process.spec.command[0]}: not found\n", "stderr")
    return 127


def _sleep(process: FakeProcess) -> int:
    process.sleep(float(process.spec.command[1]))
    return 0


def _shell(process: FakeProcess) -> int:
    for statement in process.spec.command[2].split(";"):
        words = shlex.split(statement)
        if not words:
            continue
        if words[0] == "exit":
            return int(words[1])
        _SHELL[words[0]](process, words[1:])
    return 0


def _echo(process: FakeProcess, words: list[str]) -> None:
    if words and words[-1] == ">&2":
        process.say(" ".join(words[:-1]) + "\n", "stderr")
    elif words and words[-1].startswith(">"):
        process.write(words[-1][1:], (" ".join(words[:-1]) + "\n").encode())
    else:
        process.say(" ".join(words) + "\n")


def _kill(process: FakeProcess, words: list[str]) -> None:
    process.killed.set()
    raise Killed


def _trap(process: FakeProcess, words: list[str]) -> None:
    process.ignores_interrupts = words == ["", "INT"]


def _cat(process: FakeProcess, words: list[str]) -> None:
    while piece := process.read():
        process.say(piece.decode())


def _stty(process: FakeProcess, words: list[str]) -> None:
    process.say(f"{process.size[0]} {process.size[1]}\n")


_SHELL: dict[str, Callable[[FakeProcess, list[str]], None]] = {
    "echo": _echo,
    "sleep": lambda process, words: process.sleep(float(words[0])),
    "rm": lambda process, words: process.remove(words[0]),
    "kill": _kill,
    "cat": _cat,
    "stty": _stty,
    "trap": _trap,
}


# ---------------------------------------------------------------- tars


def _unpack(data: bytes) -> dict[str, bytes]:
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            files[member.name] = content.read() if content else b""
    return files


def _pack(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _is_under(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
