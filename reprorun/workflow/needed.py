"""What the records on this machine need: the images, wheels, layers and files that they name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from reprorun import store
from reprorun.environment.layers import environment_layers
from reprorun.errors import RecordError
from reprorun.known import known_records
from reprorun.model import Lock, Record, Value
from reprorun.plan import ENVIRONMENT_REPOSITORY, TAG_LENGTH
from reprorun.workflow.restore import base_tag


class Needed(Value, frozen=True, kw_only=True):
    """What the records name."""

    images: frozenset[str]  # tags, and ids of base images
    wheels: frozenset[str]  # sha256
    layers: frozenset[str]  # names of notes
    finished: frozenset[str]  # ids of runs that are over and kept all
    inputs: frozenset[str]  # sha256
    archives: frozenset[str]  # sha256


def what_is_needed(directories: Sequence[str]) -> Needed:
    """What the records name that were made on this machine, or lie in one of the directories.

    Raises:
        RecordError: one can't be read, so that nobody knows what it needs.
    """
    return _named_by(_records(directories))


def _records(directories: Sequence[str]) -> list[Record]:
    places = {os.path.realpath(place) for place in known_records()}
    for directory in directories:
        places.update(os.path.realpath(place) for place in store.find_records(directory))
    found = []
    for place in sorted(places):
        try:
            found.append(store.read_record(place))
        except RecordError as error:
            if os.path.exists(os.path.join(place, store.RUN_FILE)):
                raise RecordError(
                    f"{error}\nNobody knows what it needs, so nothing was removed. Mend it, or "
                    "remove it."
                ) from error
    return found


def _named_by(records: Iterable[Record]) -> Needed:
    images: set[str] = set()
    wheels: set[str] = set()
    layers: set[str] = set()
    finished: set[str] = set()
    inputs: set[str] = set()
    archives: set[str] = set()
    for record in records:
        digest = record.environment_digest.removeprefix("sha256:")
        images |= {record.image, f"{ENVIRONMENT_REPOSITORY}:{digest[:TAG_LENGTH]}"}
        wheels |= {package.wheel.sha256 for package in record.packages}
        wheels |= {package.source.sha256 for package in record.packages if package.source}
        inputs |= {entry.sha256 for entry in record.inputs}
        if record.archive:
            archives.add(record.archive.sha256)
        if record.base_image:
            images |= {record.base_image.id, base_tag(record.base_image.digest)}
            lock = Lock(packages=record.packages)
            made = environment_layers(lock, record.base_image, record.import_paths)
            layers |= {layer.note for layer in made}
        if record.status == "finished":
            finished.add(record.id)
    return Needed(
        images=frozenset(images),
        wheels=frozenset(wheels),
        layers=frozenset(layers),
        finished=frozenset(finished),
        inputs=frozenset(inputs),
        archives=frozenset(archives),
    )
