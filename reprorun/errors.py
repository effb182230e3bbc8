"""The tree of errors: each says what was found, what was wanted, what to try, and its exit code.

    ReprorunError                  1
    ├── UsageError                 2    what the user asked for can't be done as asked
    │   └── RecordError            2    a record that is not what it claims to be
    └── EngineError                125  the engine or the build failed, as docker says it
        ├── EngineUnavailable           no engine answers, or it refuses us
        ├── FilesUnseen                 the engine does not see what is to be mounted
        ├── ImageMissing                an image that is neither there nor to be had
        ├── BuildFailed                 the image could not be built
        └── LockFailed                  the packages could not be resolved or fetched

A failing experiment is an `Outcome` and a mismatch is a `Verdict`; neither is an exception.
"""

from __future__ import annotations


class ReprorunError(Exception):
    """What a user can act on. `str(error)` is one or two lines, without a traceback."""

    exit_code = 1


class UsageError(ReprorunError):
    """What was asked for can't be done as asked."""

    exit_code = 2


class RecordError(UsageError):
    """A record that can't be read, or is not what it claims to be."""


class EngineError(ReprorunError):
    """The engine failed, or refused."""

    exit_code = 125


class EngineUnavailable(EngineError):
    """No engine answers at the address, or it refuses us."""


class FilesUnseen(EngineError):
    """What a container is to have mounted is not where its engine is."""


class ImageMissing(EngineError):
    """An image that the engine does not have and that can't be pulled."""


class ContainerMissing(EngineError):
    """A container that the engine does not have."""


class BuildFailed(EngineError):
    """An image could not be built; the message ends with the last lines of the build."""


class LockFailed(EngineError):
    """The packages that the experiment needs could not be resolved or fetched."""
