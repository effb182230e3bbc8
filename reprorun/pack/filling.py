"""Putting files, packages and inputs into a pack that is being written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from reprorun.model import InputFile, RemoteFile
from reprorun.pack.contents import FoundFile, check_input, input_files
from reprorun.pack.format import StoredFile, StoredInput, StoredWheel
from reprorun.pack.writing import Writer


def add_files(found: Sequence[FoundFile], below: str, writer: Writer) -> tuple[StoredFile, ...]:
    """Add files.

    Args:
        found: the files.
        below: what comes before their paths in the names of their entries.
        writer: of the pack.

    Raises:
        RecordError: one has changed since it was found.
    """
    return tuple(_add_file(file, f"{below}/{file.path}", writer) for file in found)


def _add_file(file: FoundFile, name: str, writer: Writer) -> StoredFile:
    stored = writer.add_file(name, file.source, file.sha256, executable=file.executable)
    fields = msgspec.structs.asdict(stored)
    return StoredFile(path=file.path, executable=file.executable, **fields)


def add_wheels(
    wheels: Sequence[RemoteFile], paths: Mapping[str, str], writer: Writer
) -> tuple[StoredWheel, ...]:
    """Add packages.

    Args:
        wheels: their files.
        paths: where they are, by sha256.
        writer: of the pack.

    Raises:
        RecordError: one has changed.
    """
    return tuple(_add_wheel(wheel, paths[wheel.sha256], writer) for wheel in wheels)


def _add_wheel(wheel: RemoteFile, path: str, writer: Writer) -> StoredWheel:
    stored = writer.add_file(f"wheels/{wheel.name}", path, wheel.sha256)
    return StoredWheel(name=wheel.name, **msgspec.structs.asdict(stored))


def add_inputs(
    inputs: Sequence[InputFile], writer: Writer, progress: Callable[[str], None]
) -> tuple[StoredInput, ...]:
    """Add inputs.

    Args:
        inputs: as they were found, with the digests that they must have.
        writer: of the pack.
        progress: told which is on its way.

    Raises:
        RecordError: one has changed since it was found.
    """
    return tuple(_add_inputs(inputs, writer, progress))


def _add_inputs(
    inputs: Sequence[InputFile], writer: Writer, progress: Callable[[str], None]
) -> Iterator[StoredInput]:
    for number, entry in enumerate(inputs, 1):
        progress(entry.path)
        name = f"inputs/{number}"
        if os.path.isdir(entry.path):
            found = input_files(entry.path)
            check_input(entry, found)
            files = add_files(found, name, writer)
            yield StoredInput(target=entry.target, sha256=entry.sha256, files=files)
        else:
            file = writer.add_file(name, entry.path, entry.sha256)
            yield StoredInput(target=entry.target, sha256=entry.sha256, file=file)
