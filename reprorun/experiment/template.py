"""wrap_experiment: a function becomes an experiment with a log directory of its own."""

from __future__ import annotations

import copy
import functools
import os
import sys
from typing import Any, Callable, NamedTuple

from reprorun.experiment.archive import ARCHIVE_NAME, make_launcher_archive
from reprorun.experiment.encoder import dump_json
from reprorun.experiment.guest import Guest, current_guest
from reprorun.experiment.log_directory import (
    augmented_name,
    directory_in_container,
    make_log_dir,
)
from reprorun.experiment.metadata import get_metadata
from reprorun.experiment.outputs import logging_to
from reprorun.experiment.signature import arguments, experiment_signature, name_of

SNAPSHOT_MODES = ("all", "last", "gap", "none")


class ExperimentContext:
    """What an experiment is told about its run.

    Args:
        snapshot_dir: The log directory, an absolute path.
        snapshot_mode: Which snapshots to keep: 'all', the 'last' one, one every `snapshot_gap`
            iterations ('gap'), or 'none'.
        snapshot_gap: The distance between snapshots, in iterations.

    Source:
        The semantics follow garage's documentation of `garage.experiment.ExperimentContext`.
    """

    def __init__(self, *, snapshot_dir: str, snapshot_mode: str, snapshot_gap: int) -> None:
        self.snapshot_dir = snapshot_dir
        self.snapshot_mode = snapshot_mode
        self.snapshot_gap = snapshot_gap


class _Options(NamedTuple):
    """What wrap_experiment takes, in that order, and one call may override."""

    log_dir: Any
    prefix: str
    name: str | None
    snapshot_mode: str
    snapshot_gap: int
    archive_launch_repo: bool
    name_parameters: str | None
    use_existing_dir: bool
    x_axis: str


class ExperimentTemplate:
    """A function that makes a log directory and writes down how it was called, then runs.

    Made by `wrap_experiment`. It looks like the function that it wraps, without `ctxt`; all
    arguments are keywords. One positional dictionary overrides the options for that call.

    Args:
        function: The function to wrap; its first parameter is named `ctxt`. None for a decorator
            that is yet to be applied.
        log_dir: The log directory; None for `data/local/{prefix}/{name}` in the current one.
        name: The experiment's name; None for the function's.
        prefix: The directory below `data/local`.
        snapshot_mode: See `ExperimentContext`.
        snapshot_gap: See `ExperimentContext`.
        archive_launch_repo: Whether to keep an archive of the launcher's repository.
        name_parameters: Which parameters to put into the name: None, 'passed' or 'all'.
        use_existing_dir: Whether to log into a directory that exists already.
        x_axis: The key of TensorBoard's x axis.

    Raises:
        ValueError: If the first parameter is not `ctxt`, or there is no such snapshot mode.

    Source:
        The semantics follow garage's documentation of `garage.experiment.ExperimentTemplate`.
    """

    # All from the wrapped function.
    __name__: str
    __qualname__: str
    __signature__: Any

    def __init__(
        self,
        *,
        function: Callable[..., Any] | None,
        log_dir: str | os.PathLike[str] | None,
        name: str | None,
        prefix: str,
        snapshot_mode: str,
        snapshot_gap: int,
        archive_launch_repo: bool,
        name_parameters: str | None,
        use_existing_dir: bool,
        x_axis: str = "TotalEnvSteps",
    ) -> None:
        if function is not None:
            # First, since it copies the function's own attributes, whatever their names.
            functools.update_wrapper(self, function)
            self.__signature__ = experiment_signature(function)
        self.function = function
        self.log_dir = log_dir
        self.name = name
        self.prefix = prefix
        self.snapshot_mode = _checked_mode(snapshot_mode)
        self.snapshot_gap = snapshot_gap
        self.archive_launch_repo = archive_launch_repo
        self.name_parameters = name_parameters
        self.use_existing_dir = use_existing_dir
        self.x_axis = x_axis

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the experiment, or wraps the function if there is none yet."""
        if self.function is None:
            return self._decorate(args, kwargs)
        options = self._options_for(args)
        guest = current_guest()
        params = arguments(self.function, self.__signature__, kwargs, guest.params if guest else {})
        base_name = name_of(self.function) if options.name is None else options.name
        name = augmented_name(base_name, options.name_parameters, self.__signature__, params)
        log_dir = _prepare(options, name, params, guest)
        context = ExperimentContext(
            snapshot_dir=log_dir,
            snapshot_mode=options.snapshot_mode,
            snapshot_gap=options.snapshot_gap,
        )
        with logging_to(log_dir, name, x_axis=options.x_axis):
            return self.function(context, **params)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles by name, as functions are, where the name leads here; by value otherwise.

        By value also from the main script, which is another one where it is unpickled.
        """
        by_value: Any = super().__reduce_ex__(protocol)
        return self.__qualname__ if self._is_importable() else by_value

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.function, **self._options()._asdict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ExperimentTemplate.__init__(self, **state)

    def __copy__(self) -> ExperimentTemplate:
        return type(self)(**self.__getstate__())

    def __deepcopy__(self, memo: dict[int, Any]) -> ExperimentTemplate:
        return type(self)(**copy.deepcopy(self.__getstate__(), memo))

    def _decorate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExperimentTemplate:
        if len(args) != 1 or kwargs or not callable(args[0]):
            raise ValueError("wrap_experiment(...) must be applied to one function, as a decorator")
        return type(self)(**{**self.__getstate__(), "function": args[0]})

    def _options(self) -> _Options:
        return _Options(*(getattr(self, name) for name in _Options._fields))

    def _options_for(self, args: tuple[Any, ...]) -> _Options:
        """Returns the options of one call, with what its positional dictionary overrides."""
        if not args:
            return self._options()
        if len(args) != 1 or not isinstance(args[0], dict):
            raise ValueError(
                f"{self.__name__}() takes keyword arguments only, and one dictionary of options"
            )
        unknown = [str(key) for key in args[0] if key not in _Options._fields]
        if unknown:
            raise ValueError(
                f"unknown option of wrap_experiment: {', '.join(unknown)}; "
                f"it takes: {', '.join(_Options._fields)}"
            )
        options = self._options()._replace(**args[0])
        _checked_mode(options.snapshot_mode)
        return options

    def _is_importable(self) -> bool:
        if self.function is None or self.__module__ == "__main__":
            return False
        found: Any = sys.modules.get(self.__module__)
        for name in getattr(self, "__qualname__", "").split("."):
            found = getattr(found, name, None)
        return found is self


def wrap_experiment(
    function: Callable[..., Any] | None = None,
    *,
    log_dir: str | os.PathLike[str] | None = None,
    prefix: str = "experiment",
    name: str | None = None,
    snapshot_mode: str = "last",
    snapshot_gap: int = 1,
    archive_launch_repo: bool = True,
    name_parameters: str | None = None,
    use_existing_dir: bool = False,
    x_axis: str = "TotalEnvSteps",
) -> ExperimentTemplate:
    """Makes an experiment of a function; a decorator, with and without parentheses.

    Each call gets a log directory with variant.json, metadata.json and launch_archive.tar.xz, and
    passes an `ExperimentContext` as the function's first argument.

    Args:
        function: The function to wrap; its first parameter is named `ctxt`.
        log_dir: See `ExperimentTemplate`, also for all others.
        prefix: See there.
        name: See there.
        snapshot_mode: See there.
        snapshot_gap: See there.
        archive_launch_repo: See there.
        name_parameters: See there.
        use_existing_dir: See there.
        x_axis: See there.

    Returns:
        The template, or a decorator that makes one.

    Raises:
        ValueError: If the first parameter is not `ctxt`, or there is no such snapshot mode.

    Source:
        The semantics follow garage's documentation of `garage.wrap_experiment`.
    """
    return ExperimentTemplate(
        function=function,
        log_dir=log_dir,
        name=name,
        prefix=prefix,
        snapshot_mode=snapshot_mode,
        snapshot_gap=snapshot_gap,
        archive_launch_repo=archive_launch_repo,
        name_parameters=name_parameters,
        use_existing_dir=use_existing_dir,
        x_axis=x_axis,
    )


def _checked_mode(mode: str) -> str:
    if mode not in SNAPSHOT_MODES:
        wanted = ", ".join(SNAPSHOT_MODES)
        raise ValueError(f"snapshot_mode is {mode!r}; it must be one of {wanted}")
    return mode


def _prepare(options: _Options, name: str, params: dict[str, Any], guest: Guest | None) -> str:
    """Makes the log directory, writes what belongs there before the run, and returns its path."""
    root, metadata = get_metadata()
    log_dir = make_log_dir(_wanted_directory(options, name, guest), options.use_existing_dir)
    # First, since it marks the directory as no part of the code.
    dump_json(os.path.join(log_dir, "metadata.json"), metadata)
    dump_json(os.path.join(log_dir, "variant.json"), params)
    if options.archive_launch_repo and guest is not None:
        _take_over_archive(guest.log_dir, log_dir)
    elif options.archive_launch_repo and root is not None:
        make_launcher_archive(git_root_path=root, log_dir=log_dir)
    return log_dir


def _wanted_directory(options: _Options, name: str, guest: Guest | None) -> str:
    if guest is not None:
        return directory_in_container(guest.log_dir, options.log_dir, name)
    if options.log_dir is not None:
        return os.fsdecode(options.log_dir)
    return os.path.join(os.getcwd(), "data", "local", options.prefix, name)


def _take_over_archive(record: str, log_dir: str) -> None:
    """Gives the log directory the archive that the host made before the container was started."""
    source, target = (os.path.join(place, ARCHIVE_NAME) for place in (record, log_dir))
    if not os.path.exists(source):
        return  # the run was started without one, and its record says so
    if os.path.lexists(target):
        os.unlink(target)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        import shutil

        shutil.copyfile(source, target)
